package bundle_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
)

// TestRehearsal: a rehearsal ends with the compilation and the tests, after its time, beyond its memory, or when nobody
// waits for it. It says why a bundle is refused.
func TestRehearsal(t *testing.T) {
	good, err := bundle.Archive(os.DirFS("../../examples/policies/template"))
	if err != nil {
		t.Fatal(err)
	}
	failing := rulesOf(t, fstest.MapFS{"policy/b_test.rego": {Data: []byte("package policy.test\n\ntest_no if false\n")}},
		goodRule).Raw
	const none = math.MaxUint64
	for name, tt := range map[string]struct {
		raw    []byte // nil: it never comes
		r      bundle.Rehearsal
		closes bool
		want   int
		says   string
	}{
		"good":      {raw: good, r: bundle.Rehearsal{Tests: true, After: time.Minute, Beyond: none}, want: bundle.Rehearsed},
		"no bundle": {raw: []byte("x"), r: bundle.Rehearsal{After: time.Minute, Beyond: none}, want: bundle.Rehearsed},
		"failing":   {raw: failing, r: bundle.Rehearsal{After: time.Minute, Beyond: none}, want: bundle.Rehearsed},
		"failing test": {
			raw: failing, r: bundle.Rehearsal{Tests: true, After: time.Minute, Beyond: none}, want: bundle.Refused,
			says: `{"stage":"test","message":"1 of 2 tests failed: data.policy.test.test_no"}`,
		},
		"too long":  {r: bundle.Rehearsal{After: time.Millisecond, Beyond: none}, want: bundle.Refused, says: "within 1ms"},
		"too large": {r: bundle.Rehearsal{After: time.Minute, Beyond: 1 << 20}, want: bundle.Refused, says: "more than 1 MiB"},
		"abandoned": {closes: true, r: bundle.Rehearsal{After: time.Minute, Beyond: none}, want: bundle.Abandoned},
	} {
		t.Run(name, func(t *testing.T) {
			in, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			if tt.closes {
				_ = writer.Close()
			} else if tt.raw != nil {
				if err := bundle.WriteArchive(writer, tt.raw); err != nil {
					t.Fatal(err)
				}
			}
			var out strings.Builder
			if got := tt.r.Run(t.Context(), in, &out); got != tt.want || !strings.Contains(out.String(), tt.says) {
				t.Errorf("%d and %q, want %d and %q", got, out.String(), tt.want, tt.says)
			}
		})
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
