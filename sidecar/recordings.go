package sidecar

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/durable"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/recording"
)

// openRecordings opens the recordings of rule inputs.
func (s *Server) openRecordings(ctx context.Context) error {
	dir := filepath.Join(s.opts.Config.DataDir, "recordings")
	key, err := recordingKey(durable.Disk{}, dir, s.opts.Config.TokenKeys.KeyEncryptionKeyFile)
	if err != nil {
		return fmt.Errorf("opening the recordings: %w", err)
	}
	s.recordings, err = recording.New(recording.Options{
		Dir: dir, Key: key, Now: s.opts.Now, Logger: s.opts.Logger, Metrics: s.registry,
	})
	if err != nil {
		return err
	}
	s.onClose(s.recordings.Close)
	s.configureRecordings(ctx, s.opts.Config)
	return nil
}

// recordingKey derives the key from the key-encryption key, or keeps one of its own beside the recordings.
func recordingKey(disk durable.Disk, dir, keyFile string) ([]byte, error) {
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the key-encryption key: %w", err)
		}
		k, err := oauth.NewKeyEncryptionKey(text)
		if err != nil {
			return nil, err
		}
		return k.Subkey("recordings"), nil
	}
	file := filepath.Join(dir, "key")
	key, err := os.ReadFile(file)
	switch {
	case err == nil && len(key) == 32:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s has %d bytes and not 32: remove it with the recordings", file, len(key))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key = make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if err := disk.MakeDir(dir); err != nil {
		return nil, err
	}
	if err := disk.Replace(file, key); err != nil {
		return nil, err
	}
	return key, nil
}

func (s *Server) configureRecordings(ctx context.Context, cfg *config.Config) {
	tenants := map[string]int64{}
	for i := range cfg.Tenants {
		if p := cfg.Tenants[i].Policy; p != nil && p.Record != nil {
			tenants[cfg.Tenants[i].Name] = int64(p.Record.MaxBytes)
		}
	}
	if err := s.recordings.Configure(tenants); err != nil {
		s.opts.Logger.LogAttrs(ctx, slog.LevelError, "some recordings are still there", slog.Any("error", err))
	}
}

// ruleInput returns what the rules see of a request, if its tenant records it.
func (s *Server) ruleInput(in *policies.Input) []byte {
	if !s.recordings.On(in.Tenant) {
		return nil
	}
	doc, err := s.policy.InputDocument(in)
	if err != nil {
		return nil // rules that read it have no verdict either
	}
	return doc
}

// decided writes the record of a decision, and the recording of what the rules saw.
func (s *Server) decided(a *authz.Answered) {
	s.decisions.decided(a)
	s.trail.note(a)
	d := a.Decision
	if d.Input == nil {
		return
	}
	e := &recording.Entry{
		ID: a.Request.ID, Time: a.Request.Received.UTC(), Client: d.Claims.ClientID, Route: d.Route,
		Resource: decisionlog.SCIMID(a.Resource), Profile: s.profileOf(d.Tenant), Allowed: !a.Refused,
		Final: d.Final, Document: d.Input,
	}
	for _, v := range d.Violated {
		if v.Mode == policies.ModeEnforce.String() {
			e.Rules = append(e.Rules, v.Rule)
		}
	}
	s.recordings.Add(d.Tenant, e)
}

func (s *Server) profileOf(tenant string) string {
	cfg := s.now().config
	for i := range cfg.Tenants {
		if cfg.Tenants[i].Name == tenant {
			return cfg.Tenants[i].Profile
		}
	}
	return ""
}
