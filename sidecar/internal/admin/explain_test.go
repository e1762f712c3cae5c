package admin_test

import (
	"encoding/json"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/admin"
)

// TestExplain: the answer names the user who has the name, or the user names most like it.
func TestExplain(t *testing.T) {
	s := newService(t)
	for _, name := range []string{"carl@corp.example", "bob@corp.example", "zoe@other.example"} {
		s.create(name)
	}
	for value, want := range map[string]string{"CARL@corp.example": "", "karl@corp.example": "carl@corp.example"} {
		w := s.get("/v1/tenants/acme/apps/app/explain?value=" + value)
		var e admin.Explanation
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 200 {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		if (e.User != "") != (want == "") || want != "" && (len(e.Nearest) != 3 || e.Nearest[0] != want) {
			t.Errorf("%s: %+v, want %q nearest", value, e, want)
		}
	}
	if w := s.get("/v1/tenants/acme/apps/app/explain?value=x&subject=y"); w.Code != 400 {
		t.Errorf("a subject that is no number: %d", w.Code)
	}
}
