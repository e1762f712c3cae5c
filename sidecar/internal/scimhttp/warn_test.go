package scimhttp_test

import (
	"strings"
	"testing"
)

// TestWarningIsVisible: a request that an overlay lets pass names the rules and the deviations in the answer,
// and the rules in the audit record. Another client of the tenant is refused, and the refusal names the
// overlay to set.
func TestWarningIsVisible(t *testing.T) {
	s := serveOverlays(t, il1, "entra")
	ada := s.createUser("ada")
	g := s.createGroup("staff", ada)
	remove := ops(obj{"op": "Remove", "path": "members", "value": refs(ada)})
	got := s.do("PATCH", "/Groups/"+g, remove).want(204)
	const header = "IL1-3.3.3-op, IL1-3.3.3-remove-value, OP_CASE, REMOVE_VALUE_ARRAY"
	if h := got.header.Get("SCIM-Profile-Deviation"); h != header {
		t.Errorf("header %q, want %q", h, header)
	}
	r := s.last()
	if !strings.HasSuffix(r.Decision, " warn IL1-3.3.3-op IL1-3.3.3-remove-value") || r.ClientID != "idp-acme" {
		t.Errorf("the record says %q of %q, want the rules and the client", r.Decision, r.ClientID)
	}
	got = s.do("PATCH", "/Users/"+ada, ops(op("replace", "title", "x"))).want(200)
	if h, r := got.header.Get("SCIM-Profile-Deviation"), s.last(); h != "" || strings.Contains(r.Decision, "warn") {
		t.Errorf("a request that conforms: header %q, record %q, want no warning", h, r.Decision)
	}
	s.token = "acme-other"
	got = s.do("PATCH", "/Groups/"+g, remove).want(400)
	if h := got.header.Get("SCIM-Profile-Deviation"); h != "" {
		t.Errorf("a refusal has the header %q, want none", h)
	}
	if d := got.str("detail"); !strings.HasSuffix(d, "; or set dialects for this client, to the one that it is: entra, jumpcloud") {
		t.Errorf("detail %q, want the overlays that allow it", d)
	}
}

// TestParserRefusalNamesOverlay: what the parser refuses names the overlays that accept the whole request,
// and none for what no overlay accepts.
func TestParserRefusalNamesOverlay(t *testing.T) {
	s := serve(t, base)
	u := s.createUser("ada")
	for _, tt := range []struct {
		name string
		body any
		want string
	}{
		{"boolean as text", ops(op("replace", "active", "False")), "one that it is: entra, okta, onelogin"},
		{"password", ops(op("replace", "password", "x")), ""},
		{"looks like active", ops(obj{"op": "replace", "value": obj{"actve": false}}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := s.do("PATCH", "/Users/"+u, tt.body).want(400).str("detail")
			if tt.want == "" && strings.Contains(d, "dialects") || !strings.HasSuffix(d, tt.want) {
				t.Errorf("detail %q, want it to end with %q", d, tt.want)
			}
		})
	}
	bob := person("bob")
	bob["password"] = "x"
	if d := s.do("POST", "/Users", bob).want(400).str("detail"); !strings.HasSuffix(d, "set dialects: [okta] for this client") {
		t.Errorf("detail %q, want it to name okta", d)
	}
}

// TestUnknownPath: the interoperability profile has invalidSyntax for every unknown attribute.
func TestUnknownPath(t *testing.T) {
	for profile, want := range map[string]string{
		base: "invalidPath", il1: "invalidPath", "scim-interop-01": "invalidSyntax", "ipsie-al-draft-00": "invalidSyntax",
	} {
		s := serve(t, profile)
		u := s.createUser("ada")
		s.do("PATCH", "/Users/"+u, ops(op("replace", "badge", "7"))).wantError(400, want)
	}
}
