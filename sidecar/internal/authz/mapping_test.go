package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store/subject"
)

// TestMappedNames: locks and directory are asked for the mapped name, whichever credential has it.
func TestMappedNames(t *testing.T) {
	locks := lockSwitch{"locked@corp.example": {State: "deactivated"}}
	k := newKit(t, func(o *authz.Options) {
		o.Locks, o.Directory = locks, directory{"alice@corp.example": true, "locked@corp.example": true}
		tenant := o.Tenants["acme"]
		for name, app := range tenant.Apps {
			subjects := append([]authz.SubjectSource(nil), app.Subjects...)
			for i := range subjects {
				subjects[i].Mapping = subject.Mapping{StripPrefix: `CORP\`, AppendDomain: "corp.example"}
			}
			app.Subjects = subjects
			tenant.Apps[name] = app
		}
	})
	for _, name := range []string{"alice", `CORP\alice`, `corp\ALICE`, "alice@corp.example"} {
		if d := k.Decide(t.Context(), gatewayUser("gateway", name)); !d.Allowed() || d.Unprovisioned != "" {
			t.Errorf("%s: %s", name, d.Reason)
		}
	}
	if d := k.Decide(t.Context(), gatewayUser("gateway", "alice@other.example")); d.Reason != authz.ReasonUnprovisioned {
		t.Errorf("a name of another domain: %s", d.Reason)
	}
	for _, r := range []struct {
		name string
		got  authz.Decision
	}{
		{"trusted", k.Decide(t.Context(), gatewayUser("gateway", `CORP\locked`))},
		{"jwt", k.Decide(t.Context(), appReq("GET", "/", auth("Bearer app.locked.x")))},
		{"opaque", k.Decide(t.Context(), appReq("GET", "/", cookie("session=locked")))},
		{"typed", k.Decide(t.Context(), appReq("POST", "/login", body(form, "username=locked")))},
	} {
		if r.got.Reason != authz.ReasonLocked {
			t.Errorf("%s: %s, want locked", r.name, r.got.Reason)
		}
	}
}

// TestNameBeyondASCII: a gateway's name matches in UTF-8 and in the form of RFC 8187. The application
// gets no header of ours for it. Bytes that are no such name are refused.
func TestNameBeyondASCII(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		o.Directory = directory{"jürgen": true}
		o.Locks = lockSwitch{"jérôme": {State: "deactivated"}}
	})
	for _, name := range []string{"jürgen", "UTF-8''j%C3%BCrgen", "utf-8'de'j%c3%bcrgen", "JÜRGEN"} {
		d := k.Decide(t.Context(), gatewayUser("gateway", name))
		if _, set := d.SetHeaders[headers.User]; !d.Allowed() || set {
			t.Errorf("%q: %s, sets %v", name, d.Reason, d.SetHeaders)
		}
	}
	for _, name := range []string{"jérôme", "UTF-8''j%C3%A9r%C3%B4me"} {
		if d := k.Decide(t.Context(), gatewayUser("gateway", name)); d.Reason != authz.ReasonLocked {
			t.Errorf("%q: %s, want locked", name, d.Reason)
		}
	}
	for _, name := range []string{
		"j\xfcrgen", "j\xc3", "jürgen\u0085", "jür gen", "UTF-8''", "UTF-8''%FF", "UTF-8''a%0d%0ab", "UTF-8''a%20b",
		"UTF-8'jürgen", "UTF-8''%zz", "a\u200bb", "a;b", `"a"`, "a\u202eb",
	} {
		if d := k.Decide(t.Context(), gatewayUser("gateway", name)); d.Allowed() || d.Status != 400 {
			t.Errorf("%q: allowed %t, %d %s", name, d.Allowed(), d.Status, d.Reason)
		}
	}
}
