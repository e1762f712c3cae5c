package plugins_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// late is a worker that begins when somebody opens a pipe for writing.
func late(pipe string) int {
	f, err := os.Open(pipe)
	if err != nil {
		return 1
	}
	defer f.Close()
	return plugins.RunWorker(context.Background(), os.Stdin, os.Stdout)
}

// TestStart: Start does not wait for a plugin. Who calls it does, and so does Wait.
func TestStart(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := plugins.Start(t.Context(), plugins.Options{
		Plugins: []plugins.Config{Local(t, "", Handmade(Seq(Unreachable())).Write(t), HandmadeManifest(), nil)},
		Self:    []string{os.Args[0], "plugin-late", pipe}, CompileTimeout: 5 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	if h.Started() == nil || h.Ready() == nil {
		t.Error("a plugin that is still loading counts as loaded")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if h.Wait(ended) == nil {
		t.Error("Wait returns nil before the plugin is loaded")
	}
	called := make(chan abi.KindResult, 1)
	go func() { called <- revoke(t, h, request(""))[0] }()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := h.Wait(t.Context()); err != nil || h.Started() != nil || h.Ready() != nil {
		t.Errorf("Wait = %v, Started %v, Ready %v, want nil", err, h.Started(), h.Ready())
	}
	if got := <-called; got.Code != abi.CodeTrap {
		t.Errorf("the call that came while the plugin was loading: %+v, want that the plugin got it and trapped", got)
	}
}
