package authz_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
)

const random = "q7Zt0xV9kLm3Rb8sWd2YfH5u"

// TestSuspects: names on allowed requests that look like credentials and that no source reads are
// remembered, headers within the discovery window only, and never a value.
func TestSuspects(t *testing.T) {
	t.Parallel()
	suspects := &authz.Suspects{}
	k := newKit(t, places, func(o *authz.Options) {
		o.Suspects = suspects
		app := o.Tenants["acme"].Apps["places"]
		app.DiscoverUntil = t0.Add(4 * time.Hour)
		o.Tenants["acme"].Apps["places"] = app
	})
	late := func(r *request.Request) { r.Received = t0.Add(5 * time.Hour) }
	for _, r := range []request.Request{
		at("/?debug_token=1&page=2&q=hello&x="+random, header("x-internal-auth", "abc"), header("x-blob", random),
			header("x-color", "blue"), header("user-agent", random), header("if-none-match", random)),
		at("/?debug_token=1", header("cookie", "csrftoken="+random+"; theme=dark; legacy_sid=x; blob="+random+"; wp_1=alice; next=alice")),
		at("/?api_key=alice"),
		at("/?stolen_session=x&api_key=locked"), // refused
		at("/", late, header("x-late-token", random)),
		at("/?" + strings.Repeat("k", 100) + "token=x"),
	} {
		k.Decide(t.Context(), r)
	}
	names, more := suspects.Of(passes.App{Tenant: "acme", App: "places"})
	var got []string
	for _, n := range names {
		got = append(got, fmt.Sprintf("%s %s by %s, %d", n.Place, n.Name, n.Why, n.Count))
	}
	want := []string{
		"query debug_token by name, 2",
		"cookie blob by value, 1",
		"cookie legacy_sid by name, 1",
		"header x-blob by value, 1",
		"header x-internal-auth by name, 1",
		"query " + strings.Repeat("k", 64) + " by name, 1",
		"query x by value, 1",
	}
	if diff := cmp.Diff(want, got); diff != "" || more {
		t.Errorf("more %t; suspects (-want +got):\n%s", more, diff)
	}
	if text := fmt.Sprintf("%+v", names); strings.Contains(text, random) {
		t.Errorf("the report holds a value: %s", text)
	}
	for i := range 300 {
		k.Decide(t.Context(), at(fmt.Sprintf("/?token%d=x", i)))
	}
	if names, more = suspects.Of(passes.App{Tenant: "acme", App: "places"}); len(names) != 200 || !more {
		t.Errorf("%d names are remembered, more %t; want 200 and more", len(names), more)
	}
}
