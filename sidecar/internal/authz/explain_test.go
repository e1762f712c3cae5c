package authz_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store/subject"
)

// TestExplain: each step is said, and the outcome is the decision's.
func TestExplain(t *testing.T) {
	k := newKit(t, func(o *authz.Options) {
		o.Directory = directory{"alice@corp.example": true}
		app := o.Tenants["acme"].Apps["gateway"]
		app.Subjects = append([]authz.SubjectSource(nil), app.Subjects...)
		app.Subjects[0].Mapping = subject.Mapping{AppendDomain: "corp.example"}
		o.Tenants["acme"].Apps["gateway"] = app
	})
	for value, want := range map[string]string{
		"Alice":              `make it "Alice@corp.example" | it compares as "alice@corp.example" | no lock refuses it | the directory has a user`,
		"carl":               `no lock refuses it | the directory has no user with it: denied`,
		"alice@else.example": `is "alice@else.example" | it compares as`,
	} {
		e, err := k.Explain(t.Context(), "acme", "gateway", 0, value)
		steps := strings.Join(e.Steps, " | ")
		if err != nil || !strings.Contains(steps, want) || e.Allowed != (value == "Alice") {
			t.Errorf("%s: %s, allowed %t, %v; want %s", value, steps, e.Allowed, err, want)
		}
		if got, is := e.User, value == "Alice"; is != (got == "id-alice@corp.example") || !is && got != "" {
			t.Errorf("%s: user %q, want the one of the directory for Alice only", value, got)
		}
	}
	for _, wrong := range []struct {
		app string
		n   int
	}{{"none", 0}, {"gateway", 1}, {"gateway", -1}} {
		if _, err := k.Explain(t.Context(), "acme", wrong.app, wrong.n, "x"); err == nil {
			t.Errorf("%+v: no error", wrong)
		}
	}
	e, err := k.Explain(t.Context(), "acme", "gateway", 0, "store-down")
	if last := len(e.Steps) - 1; err != nil || e.Allowed || !strings.Contains(e.Steps[last], "503") {
		t.Errorf("a directory that cannot answer: %+v, %v; want a step that says 503", e, err)
	}
	e, err = newKit(t).Explain(t.Context(), "acme", "gateway", 0, "back")
	if steps := strings.Join(e.Steps, " | "); err != nil || e.Allowed || !strings.Contains(steps, "a lifted lock refuses it") {
		t.Errorf("a user who came back: %s, %v", steps, err)
	}
}
