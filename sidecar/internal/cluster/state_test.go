package cluster_test

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// of returns what a core says of another, nil if it is not in the table.
func of(s *cluster.State, name string) *cluster.CoreState {
	for i := range s.Cores {
		if s.Cores[i].Name == name {
			return &s.Cores[i]
		}
	}
	return nil
}

// TestState: a core tells the position, the lag and the configuration of each other core. One that is silent is
// missing, also after another removed it, until a process of its name is back. One that left in order is not missing.
func TestState(t *testing.T) {
	nodes := three(t)
	deactivate(t, nodes[1].store, "ada")
	var s cluster.State
	eventually(t, "all cores have told a their position", func() bool {
		s = nodes[0].State()
		for _, c := range s.Cores {
			if c.Behind == nil || *c.Behind > 0 || *c.Applied == 0 || c.Silent || c.MayDecide <= 0 {
				return false
			}
		}
		return len(s.Cores) == 3
	})
	if this := of(&s, "a"); !this.This || of(&s, "b").This || s.Left <= 0 || len(s.Gone) > 0 || len(s.Missing()) > 0 {
		t.Errorf("state %+v, want a as this one, and nobody missing", s)
	}
	nodes[1].Drain()
	err := <-nodes[1].ended
	nodes[1].ended <- nil
	if err != nil {
		t.Fatal(err)
	}
	nodes[2].stop()
	eventually(t, "c is silent", func() bool { s = nodes[0].State(); c := of(&s, "c"); return c != nil && c.Silent })
	if got := s.Missing(); !slices.Equal(got, []string{"c"}) || len(s.Gone) != 1 || !s.Gone[0].InOrder {
		t.Errorf("missing %q, gone %+v, want c, and b gone in good order", got, s.Gone)
	}
	eventually(t, "c is removed", func() bool { s = nodes[0].State(); return of(&s, "c") == nil })
	if got := s.Missing(); !slices.Equal(got, []string{"c"}) || len(s.Gone) != 2 || s.Gone[1].InOrder {
		t.Errorf("missing %q, gone %+v, want c, removed", got, s.Gone)
	}
	start(t, nodes[0].log.Shared, nodes[0].post.bus, "c")
	eventually(t, "c is back", func() bool { s = nodes[0].State(); return of(&s, "c") != nil })
	if got := s.Missing(); len(got) > 0 || len(s.Gone) != 1 {
		t.Errorf("missing %q, gone %+v, want only b gone", got, s.Gone)
	}
}

// TestConfigurationDiffers: a core names the parts of its configuration that another one has differently, as soon as
// that told them.
func TestConfigurationDiffers(t *testing.T) {
	shared, b := storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}
	parts := map[string]map[string]string{
		"a": {"acme": "1", "acme/apps/crm": "1"}, "b": {"acme": "1", "acme/apps/crm": "1"},
		"c": {"acme": "1", "acme/apps/crm": "2", "other": "1"},
	}
	nodes := map[string]*node{}
	for _, name := range []string{"a", "b", "c"} {
		nodes[name] = startWith(t, shared, b, name, func(o *cluster.Options) {
			o.Version, o.Config = "v-"+name, func() map[string]string { return parts[name] }
		})
	}
	want := []string{"acme/apps/crm: c has another one than a", "other: c has another one than a"}
	var s cluster.State
	eventually(t, "a knows what differs", func() bool { s = nodes["a"].State(); return len(s.Differs) == 2 })
	if !slices.Equal(s.Differs, want) || of(&s, "b").Version != "v-b" || of(&s, "b").Config != of(&s, "a").Config {
		t.Errorf("differs %q, table %+v, want %q", s.Differs, s.Cores, want)
	}
}

// TestClocksDiffer: a core says once how far the clock of another is from its own, and again when that changes.
func TestClocksDiffer(t *testing.T) {
	var text strings.Builder
	n := startWith(t, storetest.SharedLog(t), &bus{fns: map[*post]func([]byte){}}, "a", func(o *cluster.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&text, nil))
	})
	for i, ahead := range []time.Duration{time.Hour, time.Hour, 0, -10 * time.Minute} {
		if _, err := n.store.HeartbeatCore(t.Context(), store.Core{
			ID: "b-1", Name: "b", Number: uint64(i), Lease: term.Lease, Clock: time.Now().Add(ahead),
		}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a knows the clock of b", func() bool {
			s := n.State()
			b := of(&s, "b")
			return b != nil && b.Ahead != nil && math.Abs(*b.Ahead-ahead.Seconds()) < 10
		})
	}
	s := n.State()
	if this := of(&s, "a"); this.Ahead != nil {
		t.Errorf("the clock of a is %v before itself, want nothing", *this.Ahead)
	}
	n.stop() // nobody writes the log any more
	err := <-n.ended
	n.ended <- err
	if got := strings.Count(text.String(), "the clock of another core differs"); got != 2 {
		t.Errorf("a says it %d times, want 2:\n%s", got, text.String())
	}
}

// TestOtherMessages: what an older core tells is a confirmation as ever, and what nobody can read changes nothing.
func TestOtherMessages(t *testing.T) {
	nodes := three(t)
	for _, text := range []string{`{"Core":"x-1","Position":7}`, `{`, `{"Core":"` + nodes[1].ID() + `","Position":1}`} {
		if err := nodes[0].post.Send(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	deactivate(t, nodes[0].store, "ada")
	if a, err := nodes[0].Confirm(t.Context()); err != nil || a.Cores != 3 || len(a.Unconfirmed) > 0 {
		t.Errorf("Confirm = %+v, %v, want all three cores", a, err)
	}
}
