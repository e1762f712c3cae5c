package bundle_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// TestRehearse: a rehearsal ends with the compilation, whatever becomes of it, after its time, or beyond its memory.
func TestRehearse(t *testing.T) {
	good, err := bundle.Archive(os.DirFS("../../examples/policies/template"))
	if err != nil {
		t.Fatal(err)
	}
	// waits is a compilation that does not end: it has no input yet.
	waits, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for name, tt := range map[string]struct {
		from  string
		after time.Duration
		limit uint64
		want  bundle.Rehearsal
	}{
		"good":      {string(good), time.Minute, bundle.MaxRehearsal, bundle.Rehearsed},
		"no bundle": {"x", time.Minute, bundle.MaxRehearsal, bundle.Rehearsed},
		"too long":  {"", 50 * time.Millisecond, bundle.MaxRehearsal, bundle.TooLong},
		"too large": {"", time.Minute, 1, bundle.TooLarge},
	} {
		var in io.Reader = strings.NewReader(tt.from)
		if tt.from == "" {
			in = waits
		}
		if got := bundle.Rehearse(t.Context(), in, tt.after, tt.limit); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestLimited: nobody waits for a compiler longer than the limit, or than the context.
func TestLimited(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	endless := func(context.Context) (*policies.Rules, error) {
		<-release
		return nil, nil
	}
	var refused *bundle.Error
	if _, err := bundle.Limited(t.Context(), time.Millisecond, endless); !errors.As(err, &refused) || refused.Stage != "compile" {
		t.Errorf("after the limit: %v, want that it is refused", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Limited(ctx, time.Hour, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
