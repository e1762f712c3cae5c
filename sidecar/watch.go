package sidecar

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long the watched files must not change before they are read, because an editor or a
	// certificate tool changes several files one after the other.
	settle = 250 * time.Millisecond
	// maxWatched bounds how much of a watched file counts as its content.
	maxWatched = 1 << 20
)

// watchFiles reloads when the content of the configuration, or of a file that it names, has changed. It
// watches the folders, because most tools replace a file, and a mounted volume replaces a link.
func (s *Server) watchFiles(ctx context.Context) {
	if s.opts.Load == nil || len(s.opts.Watch) == 0 {
		return
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "files are not watched: send SIGHUP after a change",
			slog.String("error", err.Error()))
		return
	}
	defer w.Close() //nolint:errcheck // it has nothing to lose
	s.follow(ctx, w)
	seen := s.opened
	timer := time.NewTimer(settle) // a file may have changed before it was watched
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-w.Events:
			if !ok {
				return
			}
			timer.Reset(settle)
		case err := <-w.Errors: // events may be lost
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "watching files", slog.Any("error", err))
			timer.Reset(settle)
		case <-timer.C:
			if now := s.digests(); now != seen {
				_ = s.Reload(ctx) // it has logged the error, and status shows it
				s.follow(ctx, w)
				seen = s.digests()
			}
		}
	}
}

// watched returns the files whose content counts.
func (s *Server) watched() []string { return append(s.now().config.Files(), s.opts.Watch...) }

// follow watches the folders of all watched files. A folder that is watched already stays so.
func (s *Server) follow(ctx context.Context, w *fsnotify.Watcher) {
	folders := map[string]bool{}
	for _, f := range s.watched() {
		folders[filepath.Dir(f)] = true
	}
	if dir := s.now().config.TenantsDir; dir != "" {
		folders[dir] = true // the first file of a tenant is noticed too
	}
	for dir := range folders {
		if err := w.Add(dir); err != nil {
			s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "a folder is not watched: send SIGHUP after a change",
				slog.String("folder", dir), slog.String("error", err.Error()))
		}
	}
}

// digests is one hash over the content of every watched file. A file that cannot be read counts as empty.
func (s *Server) digests() [sha256.Size]byte {
	all := sha256.New()
	for _, name := range s.watched() {
		one := sha256.New()
		if f, err := os.Open(name); err == nil {
			_, _ = io.Copy(one, io.LimitReader(f, maxWatched)) // a change shows later
			_ = f.Close()
		}
		all.Write(one.Sum(nil))
	}
	return [sha256.Size]byte(all.Sum(nil))
}
