package passes_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/passes"
)

// TestMissing compares needs with declarations: a superset is fine, an entry too few is named.
func TestMissing(t *testing.T) {
	t.Parallel()
	need := append(passes.New([]string{"x-key", "authorization"}, []string{"/login", "/a b"}, []string{"/download"}),
		passes.Upstream("wiki:80"))
	upstreams := map[string]bool{"wiki:80": true, "chat:80": true}
	base := fmt.Sprintf("base:%d", passes.Base)
	newer := fmt.Sprintf("base:%d", passes.Base+1)
	for name, c := range map[string]struct {
		declared string
		want     passes.List
	}{
		"the same":            {need.String(), nil},
		"more":                {"header:more " + need.String() + " body:/x stream:/y unknown:z", nil},
		"newer base":          {strings.Replace(need.String(), base, newer, 1), nil},
		"every header":        {base + " header:* body:/login body:/a%20b stream:/download upstream:wiki:80", nil},
		"another order":       {"upstream:wiki:80 stream:/download body:/a%20b body:/login header:x-key header:authorization " + base, nil},
		"nothing":             {"", need},
		"no base":             {strings.TrimPrefix(need.String(), base), passes.List{base}},
		"older base":          {strings.Replace(need.String(), base, "base:0", 1), passes.List{base}},
		"base is no number":   {strings.Replace(need.String(), base, "base:x", 1), passes.List{base}},
		"a header too few":    {strings.Replace(need.String(), "header:x-key", "", 1), passes.List{"header:x-key"}},
		"a part of a name":    {strings.Replace(need.String(), "x-key", "x-key2", 1), passes.List{"header:x-key"}},
		"a body too few":      {strings.Replace(need.String(), "body:/login", "", 1), passes.List{"body:/login"}},
		"a stream as a body":  {strings.Replace(need.String(), "stream:", "body:", 1), passes.List{"stream:/download"}},
		"headers do not help": {base + " header:*", passes.List{"body:/a%20b", "body:/login", "stream:/download", "upstream:wiki:80"}},
		"no upstream":         {strings.Replace(need.String(), "upstream:wiki:80", "", 1), passes.List{"upstream:wiki:80"}},
		"another app's upstream": {
			strings.Replace(need.String(), "wiki", "chat", 1), passes.List{"upstream:wiki:80"},
		},
		"nobody's upstream":      {strings.Replace(need.String(), "wiki", "wiki2", 1), nil},
		"its own and another's":  {need.String() + " upstream:chat:80", passes.List{"upstream:wiki:80"}},
		"another's and nobody's": {strings.Replace(need.String(), "wiki", "chat", 1) + " upstream:x", passes.List{"upstream:wiki:80"}},
		"too long":               {need.String() + strings.Repeat(" x", 64<<10), need},
	} {
		if diff := cmp.Diff(c.want, (&passes.Need{List: need, Upstreams: upstreams}).Missing(c.declared)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestEnvoys remembers each Envoy by its address, and forgets those that send no checks any more.
func TestEnvoys(t *testing.T) {
	t.Parallel()
	var outdated []string
	e := &passes.Envoys{Outdated: func(e passes.Envoy) { outdated = append(outdated, e.Address) }}
	app, now := passes.App{Tenant: "acme", App: "wiki"}, time.Unix(1_800_000_000, 0)
	need := passes.Need{List: passes.New([]string{"x-key"}, nil, nil)}
	old := passes.New(nil, nil, nil).String()
	for range 3 {
		if got := e.Missing(app, "10.0.0.1", old, &need, now); !slices.Equal(got, passes.List{"header:x-key"}) {
			t.Fatalf("Missing() = %v, want the header", got)
		}
	}
	if got := e.Missing(app, "10.0.0.2", need.String(), &need, now); got != nil {
		t.Fatalf("Missing() = %v of another Envoy, want nil", got)
	}
	if want := []string{"10.0.0.1"}; !slices.Equal(outdated, want) {
		t.Errorf("outdated Envoys were reported as %v, want each once: %v", outdated, want)
	}

	// A new configuration needs more.
	more := passes.Need{List: passes.New([]string{"x-key", "x-more"}, nil, nil)}
	needs := func(passes.App) *passes.Need { return &more }
	if got := e.Lacking(needs, now); len(got) != 2 || !slices.Equal(got[1].Missing, passes.List{"header:x-more"}) {
		t.Errorf("Lacking() = %+v, want both Envoys and what each lacks", got)
	}
	if got := e.Missing(app, "10.0.0.2", need.String(), &more, now); !slices.Equal(got, passes.List{"header:x-more"}) {
		t.Errorf("Missing() = %v after the needs have changed, want the new header", got)
	}
	// The Envoy at this address was restarted with a new configuration.
	e.Missing(app, "10.0.0.2", more.String(), &more, now)
	later := now.Add(11 * time.Minute)
	e.Missing(app, "10.0.0.2", more.String(), &more, later)
	if got := e.Connected(later); len(got) != 1 || got[0].Address != "10.0.0.2" || got[0].Missing != nil {
		t.Errorf("Connected() = %+v, want the second Envoy only, lacking nothing", got)
	}
	if got := e.Lacking(needs, later); len(got) != 0 {
		t.Errorf("Lacking() = %+v, want none", got)
	}
	for i := range 200 {
		e.Missing(app, fmt.Sprint(i), old, &need, later)
	}
	if got := len(e.Connected(later)); got > 64 {
		t.Errorf("%d Envoys are remembered, want at most 64", got)
	}
}
