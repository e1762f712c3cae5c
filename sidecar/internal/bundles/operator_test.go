package bundles_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// TestRollbackTo: a rollback goes to the revision of this name, also if the digest of a newer one begins with it. The
// beginning of a digest names a revision too, if it is long enough not to be a name.
func TestRollbackTo(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	two := pack(t, "two", "2", "")
	sum := sha256.Sum256(two)
	digest := hex.EncodeToString(sum[:])
	name := digest[:8]
	for _, raw := range [][]byte{pack(t, name, "1", ""), two, pack(t, "three", "3", "")} {
		if _, err := w.m.Push(t.Context(), "acme", raw, w.record); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		to, want string
		err      error
	}{{name, name, nil}, {digest[:9], "two", nil}, {digest[:1], "", bundles.ErrNoRevision}, {"four", "", bundles.ErrNoRevision}} {
		s, err := w.m.Rollback(t.Context(), "acme", tt.to, w.record)
		if !errors.Is(err, tt.err) || err == nil && s.Active.Revision != tt.want {
			t.Errorf("to %s: %+v, %v, want %q, %v", tt.to, s.Active, err, tt.want, tt.err)
		}
	}
}

// TestRefusedAgain: the same bytes of a source come into force when what kept them out was mended: at a reload if the
// configuration was it, and when an operator asks.
func TestRefusedAgain(t *testing.T) {
	for name, again := range map[string]func(*world) error{
		"reload": func(w *world) error {
			w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(w.dir + "/b.tar.gz")})
			return w.m.Fetch(w.t.Context(), "acme")
		},
		"activate": func(w *world) error {
			_, err := w.m.FetchNow(w.t.Context(), "acme", w.record)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if err := os.WriteFile(w.dir+"/b.tar.gz", routed(1, "/one"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.tenants(bundles.Tenant{Name: "acme", Source: bundles.File(w.dir + "/b.tar.gz")})
			w.unfit = []string{"there is no such app"}
			if err := w.m.Fetch(t.Context(), "acme"); stageOf(err) != bundles.StageLocalWrites {
				t.Fatalf("%v, want that the routes do not fit", err)
			}
			w.unfit = nil
			if err := again(w); err != nil || w.active() != "1" || w.m.Status()[0].Fault != "" {
				t.Errorf("%v, %+v, want the bundle in force", err, w.m.Status()[0])
			}
		})
	}
}

// TestLocalSources: nothing outside of a folder comes into a bundle, and what is no file is not waited for.
func TestLocalSources(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "bundle")
	for _, step := range []error{
		os.MkdirAll(folder+"/policy", 0o700),
		os.WriteFile(dir+"/secret.json", []byte(`{"password": "x"}`), 0o600),
		os.WriteFile(folder+"/.manifest", []byte(`{"revision":"1","roots":["policy"],"metadata":{"serial":1}}`), 0o600),
		os.WriteFile(folder+"/.linked", []byte("package policy\n"), 0o600),
		os.Symlink("../.linked", folder+"/policy/rules.rego"), // as Kubernetes does
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if got, err := bundles.Dir(folder).Fetch(t.Context(), bundles.Mark{}); err != nil || len(got.Raw) == 0 {
		t.Errorf("a link within the folder: %v", err)
	}
	if err := os.Symlink("../../secret.json", folder+"/policy/data.json"); err != nil {
		t.Fatal(err)
	}
	for source, want := range map[bundles.Source]string{
		bundles.Dir(folder): "escapes", bundles.Dir(dir + "/none"): "no such file", bundles.File(folder): "no plain file",
	} {
		if got, err := source.Fetch(t.Context(), bundles.Mark{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v, want %q", source, len(got.Raw), err, want)
		}
	}
}

// meanwhile is a source that lets somebody else ask it between a question and its answer.
type meanwhile struct {
	bundles.Source
	once func()
}

func (m *meanwhile) Fetch(ctx context.Context, last bundles.Mark) (bundles.Fetched, error) {
	got, err := m.Source.Fetch(ctx, last)
	if do := m.once; do != nil {
		m.once = nil
		do()
	}
	return got, err
}

// TestFetchNowBesideTheSchedule: if the schedule gets the answer of the source first, an operator who asks at the same
// time learns what is in force, and not that something came between.
func TestFetchNowBesideTheSchedule(t *testing.T) {
	w := newWorld(t)
	one, two := pack(t, "one", "1", ""), pack(t, "two", "2", "")
	source := &meanwhile{Source: &answers{list: []any{one, two, nil}}}
	source.once = func() {
		if err := w.m.Fetch(t.Context(), "acme"); err != nil {
			t.Error(err)
		}
	}
	w.tenants(bundles.Tenant{Name: "acme", Source: source})
	s, err := w.m.FetchNow(t.Context(), "acme", w.record)
	if err != nil || s.Active == nil || s.Active.Revision != "two" {
		t.Errorf("%+v, %v, want the bundle that the schedule fetched", s, err)
	}
}

// TestRollbackDuringActivation: a rollback that comes while a bundle is compiled waits for it, and then removes it. So
// the bundle does not come into force after the operator has gone back.
func TestRollbackDuringActivation(t *testing.T) {
	w := newWorld(t)
	w.tenants(bundles.Tenant{Name: "acme"})
	if err := w.push("one", "1", ""); err != nil {
		t.Fatal(err)
	}
	compiling, release := make(chan struct{}), make(chan struct{})
	w.m.CompileWith(func(ctx context.Context, b *bundle.Bundle) (*policies.Rules, error) {
		if b.Revision == "two" {
			close(compiling)
			<-release
		}
		return b.Rules(ctx)
	})
	two := pack(t, "two", "2", "")
	answers := make(chan error, 2)
	go func() {
		_, err := w.m.Push(t.Context(), "acme", two, w.record)
		answers <- err
	}()
	<-compiling
	go func() {
		_, err := w.m.Rollback(t.Context(), "acme", "", w.record)
		answers <- err
	}()
	close(release)
	if err := errors.Join(<-answers, <-answers); err != nil {
		t.Fatal(err)
	}
	want := []string{"acme one false", "acme two false", "acme one true"}
	if s := w.m.Status()[0]; w.active() != "one" || s.After != "two" || !slices.Equal(w.changes, want) {
		t.Errorf("%+v, recorded %q, want %q", s, w.changes, want)
	}
}
