package authz_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// routeParameter is a parameter of the query that some router takes for the path.
type routeParameter struct {
	name, under string
	// onAnyPath says that a word without a slash is a route of an application in a folder on any path, because the
	// parameter has no other use.
	onAnyPath bool
}

func routeParameters() []routeParameter {
	return []routeParameter{
		{"rest_route", "/wp-json", true},
		{"pagename", "", true},
		{"_route_", "", true},
		{"_url", "", true},
		{"routestring", "", true},
		{"kohana_uri", "", true},
		{"cmd", "/api/method", true},
		{"_action", "/_actions", true},
		{"__elgg_uri", "", true},
		{"q", "", false},
		{"s", "", false},
		{"r", "", true},
		{"p", "", false},
		{"route", "", true},
		{"action", "/actions", false},
		{"url", "/api", false},
		{"it", "", true},
		{"controller", "", true},
	}
}

// routedRequest is a request whose query names a route of an application.
type routedRequest struct{ entry, target string }

// routedRequests returns requests for routes of one and two words, as routers of front controllers read them: at a
// front controller, and at any path that the server rewrites to one and leaves the query as it is.
func routedRequests() (out []routedRequest) {
	fronts := []string{"/", "/index.php", "/index.php/any", "/Index.PHP", "/index", "/;x/"}
	for _, p := range routeParameters() {
		for _, word := range []string{"wipe", "users/wipe"} {
			for _, folder := range []string{"", "/shop"} {
				paths := fronts
				if folder == "" || p.onAnyPath || strings.Contains(word, "/") {
					paths = append([]string{"/any/page", "/any"}, fronts...)
				}
				for _, path := range paths {
					values := []string{word, "/" + word, strings.ToUpper(word), strings.Replace(word, "wipe", "%77ipe", 1)}
					value := values[len(out)%len(values)]
					out = append(out, routedRequest{folder + p.under + "/" + word, folder + path + "?x=1&" + p.name + "=" + value})
				}
			}
		}
	}
	return out
}

// TestRoutesOfTheQuery: whatever router reads the query, an entry denies the methods that it denies at the path, a read
// that it lists too, and no others. A credential of a body place counts there with every method.
func TestRoutesOfTheQuery(t *testing.T) {
	t.Parallel()
	kits := map[string]*kit{}
	of := func(entry string, methods ...string) *kit {
		key := fmt.Sprint(entry, methods)
		if kits[key] == nil {
			kits[key] = newKit(t, func(o *authz.Options) {
				app := o.Tenants["acme"].Apps["app"]
				app.LocalWrites = []authz.LocalWrite{{Path: entry, Methods: methods}}
				if len(methods) == 0 {
					app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
						In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: entry, Format: request.Form},
					}})
				}
				o.Tenants["acme"].Apps["app"] = app
			})
		}
		return kits[key]
	}
	count := 0
	for _, c := range routedRequests() {
		for method, denied := range map[string][2]bool{ // by an entry without methods, and by one of GET
			http.MethodGet: {false, true}, http.MethodHead: {false, true}, "GET with a body": {true, true},
			http.MethodPost: {true, true}, http.MethodPut: {true, false},
		} {
			r := appReq(method, c.target, header("content-length", "0"))
			if verb, _, found := strings.Cut(method, " "); found {
				r = appReq(verb, c.target, body(form, "x=1"))
			}
			for i, k := range []*kit{of(c.entry), of(c.entry, http.MethodGet)} {
				count++
				if d := k.Decide(t.Context(), r); d.Allowed() == denied[i] || denied[i] && d.Reason != authz.ReasonLocal {
					t.Errorf("%s %s, entry %s %d: %d %s (%s), want it denied: %t", method, c.target, c.entry, i, d.Status, d.Reason, d.Detail, denied[i])
				}
			}
			r.Query += "&token=locked"
			if d := of(c.entry).Decide(t.Context(), r); d.Allowed() {
				t.Errorf("%s %s with the token of a locked user: allowed", method, c.target)
			}
		}
	}
	if count < 3000 {
		t.Errorf("%d requests, the test proves too little", count)
	}
}

// TestParametersThatAreNoRoutes: words of a search and flags are no routes below the path that they stand at.
func TestParametersThatAreNoRoutes(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/api/v1/users"},
			{Path: "/shop/users"},
			{Path: "/unsubscribe/mail", Methods: []string{"GET"}},
			{Path: "/draft"},
			{Path: "/groups/{id}"},
		}
		o.Tenants["acme"].Apps["app"] = app
	})
	for _, target := range []string{
		"/api/v1/search?q=users", "/api/v1/orders?s=users", "/api/v1/?q=user", "/shop/cart?users", "/shop/cart/?users", "/posts/7?draft",
		"/shop/cart?action=users", "/search?q=unsubscribe", "/groups?p=2", "/search?q=api&s=v1",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if d := k.Decide(t.Context(), appReq(method, target, header("content-length", "0"))); !d.Allowed() {
				t.Errorf("%s %s: %d %s (%s)", method, target, d.Status, d.Reason, d.Detail)
			}
		}
	}
}

// TestOtherRouters: in a write, a path in any parameter may be the route, apart from return addresses. Words are routes
// in the parameters that the operator names, with every method.
func TestOtherRouters(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["bare"]
		app.RouteParameters = []string{"rt", "Event", "page_id"}
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/account/email"}, {Path: "/wipe", Methods: []string{"GET"}}, {Path: "/7"}, {Path: "/bin/save"}, {Path: "/shop/close"},
		}
		app.Subjects = append(app.Subjects, authz.SubjectSource{Kind: authz.SourceOpaque, Source: request.Source{
			In: request.InBody, Name: "token", Body: request.BodyRoute{Method: "POST", Path: "/sso", Format: request.Form},
		}})
		o.Tenants["acme"].Apps["bare"] = app
	})
	const local = authz.ReasonLocal
	empty := header("content-length", "0")
	decide(t, k, []place{
		refused("a path in any parameter", local, appReq("POST", "/x?endpoint=/account/email", empty)),
		refused("without its first slash", local, appReq("PUT", "/index.php?a=1&do=account%2Femail", empty)),
		refused("below", local, appReq("POST", "/x?page=account/email/7", empty)),
		refused("action of XWiki", local, appReq("POST", "/bin/preview/XWiki/carl?action_save=1", empty)),
		refused("named, a word", local, appReq("POST", "/x?RT=wipe", empty)),
		refused("named, a word of a read", local, appReq("GET", "/x/y?rt=wipe")),
		refused("named, in a folder", local, appReq("POST", "/shop/x?rt=close", empty)),
		refused("named, a dot for the slash", local, appReq("POST", "/x?event=account.email", empty)),
		refused("named, in the spelling of PHP", local, appReq("POST", "/x?page.id=7", empty)),
		refused("named, credential", authz.ReasonLocked, appReq("GET", "/x?rt=sso&token=locked")),

		served("a word in another parameter", "", appReq("POST", "/x?page=wipe", empty)),
		served("a path of a read", "", appReq("GET", "/x?file=account/email")),
		served("another path", "", appReq("POST", "/x?file=docs/account/email", empty)),
		served("return address", "", appReq("POST", "/signin/?next=/account/email", empty)),
		served("return address, script", "", appReq("POST", "/wp-login.php?redirect_to=%2Faccount%2Femail", empty)),
		served("number of another parameter", "", appReq("POST", "/x?id=7", empty)),
	})
}
