package scimhttp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// TestDiscovery: the documents of RFC 7644 §4 have the members that strict clients need.
func TestDiscovery(t *testing.T) {
	s := serve(t, il1)
	t.Run("ServiceProviderConfig is correct", func(t *testing.T) {
		a := s.do("GET", "/ServiceProviderConfig", nil).want(200)
		for name, want := range map[string]bool{
			"patch": true, "bulk": false, "filter": true, "changePassword": false, "sort": false, "etag": true,
		} {
			part, _ := a.body[name].(map[string]any)
			if part["supported"] != want {
				t.Errorf("%s.supported is %v, want %v", name, part["supported"], want)
			}
		}
		schemes, _ := a.body["authenticationSchemes"].([]any)
		if len(schemes) != 1 {
			t.Fatalf("authenticationSchemes %v", a.body["authenticationSchemes"])
		}
		sc, _ := schemes[0].(map[string]any)
		if sc["type"] != "oauthbearertoken" || sc["primary"] != true || sc["name"] == "" || sc["description"] == "" {
			t.Errorf("scheme %v, want a primary oauthbearertoken with name and description", sc)
		}
		if v := a.meta("version"); v == "" || v != a.header.Get("ETag") {
			t.Errorf("meta.version %q, ETag %q, want the same", v, a.header.Get("ETag"))
		}
		if a.meta("location") != "https://acme.test/scim/v2/ServiceProviderConfig" {
			t.Errorf("meta.location %q", a.meta("location"))
		}
	})
	t.Run("every schema a type names is served", func(t *testing.T) {
		types := s.do("GET", "/ResourceTypes", nil).want(200)
		if types.total() != 2 {
			t.Errorf("%d types, want 2", types.total())
		}
		for _, rt := range types.resources() {
			if rt["id"] != rt["name"] {
				t.Errorf("type id %v, name %v", rt["id"], rt["name"])
			}
			byID := s.do("GET", "/ResourceTypes/"+rt["id"].(string), nil).want(200)
			if diff := cmp.Diff(rt, byID.body); diff != "" {
				t.Errorf("by id (-list +one):\n%s", diff)
			}
			if v := byID.meta("version"); v == "" || v != byID.header.Get("ETag") {
				t.Errorf("%v: meta.version %q, ETag %q, want the same", rt["id"], v, byID.header.Get("ETag"))
			}
			urns := []string{rt["schema"].(string)}
			if exts, ok := rt["schemaExtensions"].([]any); ok {
				for _, e := range exts {
					urns = append(urns, e.(map[string]any)["schema"].(string))
				}
			}
			for _, urn := range urns {
				got := s.do("GET", "/Schemas/"+urn, nil).want(200)
				if v := got.meta("version"); got.id() != urn || v == "" || v != got.header.Get("ETag") {
					t.Errorf("schema %s has id %s, meta.version %q, ETag %q", urn, got.id(), v, got.header.Get("ETag"))
				}
				if got := s.raw("GET", "/Schemas/"+strings.ReplaceAll(urn, ":", "%3A"), nil).want(200); got.id() != urn {
					t.Errorf("schema %s by its encoded URN has id %s", urn, got.id())
				}
			}
		}
	})
	t.Run("schemas list", func(t *testing.T) {
		a := s.do("GET", "/Schemas?count=1&startIndex=2&attributes=name", nil).want(200)
		if a.total() != 3 || len(a.resources()) != 3 {
			t.Errorf("total %d, resources %d, want 3: paging is ignored", a.total(), len(a.resources()))
		}
		want := []string{scim.GroupURN, scim.UserURN, scim.EnterpriseUserURN} // no messages (RFC 7644 §3.1)
		if diff := cmp.Diff(want, sorted(a.ids()...)); diff != "" {
			t.Errorf("schemas (-want +got):\n%s", diff)
		}
		if strings.Contains(string(a.raw), `"name":"password"`) {
			t.Error("a schema has the attribute password, want none")
		}
		for _, name := range []string{"userName", "displayName", "active", "emails", "members", "manager"} {
			if !strings.Contains(string(a.raw), `"name":"`+name+`"`) {
				t.Errorf("no attribute %s", name)
			}
		}
	})
	refused := []struct {
		method, path string
		status       int
	}{
		{"GET", filter("Schemas", `id pr`), 403},
		{"GET", filter("ResourceTypes", `id pr`), 403},
		{"GET", "/Schemas/urn:none", 404},
		{"GET", "/Schemas/" + scim.ListURN, 404},
		{"GET", "/ResourceTypes/Device", 404},
		{"GET", "/ServiceProviderConfig/x", 404},
		{"POST", "/Schemas", 405},
		{"PUT", "/ServiceProviderConfig", 405},
		{"DELETE", "/ResourceTypes/User", 405},
		{"GET", "/Me", 501},
		{"PATCH", "/Me", 501},
		{"POST", "/Bulk", 501},
		{"POST", "/.search", 501},
		{"POST", "/Users/.search", 501},
		{"PATCH", "/Users", 405},
		{"DELETE", "/Groups", 405},
		{"POST", "/Users/abc", 405},
		{"OPTIONS", "/Users", 405},
		{"GET", "/User", 404},
		{"GET", "/Group/abc", 404},
		{"GET", "/users", 404},
		{"GET", "/Users/a/b", 404},
	}
	for _, tt := range refused {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			var body any
			if tt.method == "POST" || tt.method == "PUT" || tt.method == "PATCH" {
				body = obj{}
			}
			a := s.do(tt.method, tt.path, body).wantError(tt.status, "")
			if tt.status == 405 && a.header.Get("Allow") == "" {
				t.Error("Allow is empty with 405, want the methods")
			}
		})
	}
	t.Run("without a token", func(t *testing.T) {
		anon := *s
		anon.token = ""
		a := anon.do("GET", "/ServiceProviderConfig", nil).wantError(401, "")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer realm="acme"`) {
			t.Errorf("challenge %q", a.header.Get("WWW-Authenticate"))
		}
	})
}

// TestHead: HEAD has the status and the header fields of GET, and no body.
func TestHead(t *testing.T) {
	s := serve(t, il1)
	id, gid := s.createUser("ada"), s.createGroup("staff")
	for _, path := range []string{
		"/Users", "/Users/" + id, "/Groups", "/Groups/" + gid, "/Users/nobody", filter("Users", `userName eq "x"`),
		"/ServiceProviderConfig", "/Schemas", "/Schemas/" + scim.UserURN, "/ResourceTypes", "/ResourceTypes/User",
	} {
		get, head := s.do("GET", path, nil), s.do("HEAD", path, nil)
		if head.status != get.status || len(head.raw) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes, GET: %d", path, head.status, len(head.raw), get.status)
		}
		for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "ETag"} {
			if g, h := get.header.Get(name), head.header.Get(name); g != h {
				t.Errorf("HEAD %s: %s %q, GET %q", path, name, h, g)
			}
		}
	}
}

// TestServiceProviderConfigClaimsTheProfile: the answer claims a profile only to a client for whom every rule
// is enforced, and the interoperability profile only if nothing of it is missing.
func TestServiceProviderConfigClaimsTheProfile(t *testing.T) {
	for _, tt := range []struct {
		profile string
		interop any
	}{
		{il1, nil}, {"ipsie-al-draft-00", true}, {"scim-interop-01", true},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			s := serveOverlays(t, tt.profile, "google")
			a := s.do("GET", "/ServiceProviderConfig", nil).want(200)
			if a.body[scimhttp.ConformanceURN] != nil || a.body["interopProfileConformant"] != nil {
				t.Errorf("to a client with an overlay it claims %s", a.raw)
			}
			s.token = "acme-other"
			a = s.do("GET", "/ServiceProviderConfig", nil).want(200)
			claim, _ := a.body[scimhttp.ConformanceURN].(obj)
			if claim["profile"] != tt.profile || claim["revision"] != policies.Revision(tt.profile) {
				t.Errorf("to a strict client it claims %v, want %s", claim, tt.profile)
			}
			if got := a.body["interopProfileConformant"]; got != tt.interop {
				t.Errorf("interopProfileConformant %v, want %v", got, tt.interop)
			}
			if urns, _ := a.body["schemas"].([]any); len(urns) != 2 || urns[1] != scimhttp.ConformanceURN {
				t.Errorf("schemas %v, want the extension's URN", a.body["schemas"])
			}
			lines, ok := claim["incomplete"].([]any)
			if bulk := slices.Contains(lines, any("AL-4.3-bulk")); !ok || bulk != (tt.profile == "ipsie-al-draft-00") {
				t.Errorf("incomplete %v, want Bulk exactly where the profile requires it", claim["incomplete"])
			}
		})
	}
}

// TestBaseProfileClaimsNothing: client libraries that refuse unknown extensions can read the answer.
func TestBaseProfileClaimsNothing(t *testing.T) {
	a := serve(t, base).do("GET", "/ServiceProviderConfig", nil).want(200)
	urns, _ := a.body["schemas"].([]any)
	if len(urns) != 1 || a.body[scimhttp.ConformanceURN] != nil || a.body["interopProfileConformant"] != nil {
		t.Errorf("rfc7644 claims %s", a.raw)
	}
}

// TestStaticTokensEndTheClaim: a tenant that allows another credential than OAuth does not conform to IPSIE.
func TestStaticTokensEndTheClaim(t *testing.T) {
	for _, profile := range []string{il1, "ipsie-al-draft-00", "scim-interop-01"} {
		s := newService(t, storetest.New(t))
		var err error
		if s.dialect, err = policies.NewDialect(profile); err != nil {
			t.Fatal(err)
		}
		s.start(profile, func(o *scimhttp.Options) { o.StaticTokens = func(string) bool { return true } })
		a := s.do("GET", "/ServiceProviderConfig", nil).want(200)
		claims := a.body[scimhttp.ConformanceURN] != nil || a.body["interopProfileConformant"] != nil
		if claims != (profile == "scim-interop-01") {
			t.Errorf("%s with static tokens claims %s", profile, a.raw)
		}
	}
}
