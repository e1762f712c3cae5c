package envoytest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLocalModificationsAreRefused: through the proxy, no user or administrator can create, change
// or delete accounts in the application itself (IL1 §3.2.1). The refusal names the place to make
// the change.
func TestLocalModificationsAreRefused(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "admin")
	p := w.signIn(t, w.Acme, u.UserName)
	status, body := appAdmin(t, w.Acme, http.MethodPut, "/admin/users/"+u.UserName, map[string]any{"admin": true})
	if status != http.StatusOK {
		t.Fatalf("making an administrator: %d %s", status, body)
	}
	accounts := func() string {
		_, body := appAdmin(t, w.Acme, http.MethodGet, "/admin/users?limit=200", nil)
		return string(body)
	}
	// In this order they all succeed in the application itself.
	routes := []struct {
		method, path, form string
		direct             int    // status of the application itself, around the proxy
		rule               string // path of the entry
	}{
		{http.MethodPost, "/signup", "username=local." + u.ID + "&password=a+long+password", http.StatusCreated, "/signup"},
		{http.MethodPost, "/admin-ui/users", "username=admin-ui." + u.ID + "&password=a+long+password", http.StatusCreated, "/admin-ui/users"},
		{http.MethodPost, "/account/email", "email=other%40example.com", http.StatusOK, "/account"},
		{http.MethodPost, "/account/password", "password=another+password", http.StatusNoContent, "/account"},
		{http.MethodDelete, "/account", "", http.StatusNoContent, "/account"},
	}
	request := func(base, method, path, form, accept string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept", accept)
		req.Header.Set("Cookie", "session="+p.Credentials["web_session"])
		return req
	}
	for _, r := range routes {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			before, passed := accounts(), w.acme.count()
			for accept, code := range map[string]string{"text/html": "", "application/json": `"code":"local_modification"`} {
				status, body := send(t, p.HTTP, request(w.Acme.URL, r.method, r.path, r.form, accept))
				says := strings.Contains(body, "local_writes "+r.rule+": ") && strings.Contains(body, code) &&
					strings.Contains(body, "make the change there, it arrives here by SCIM")
				if status != http.StatusForbidden || !says {
					t.Errorf("%s: %d %s; want 403 and a message with the rule %s and the fix", accept, status, body, r.rule)
				}
			}
			if diff := cmp.Diff(before, accounts()); diff != "" {
				t.Errorf("accounts changed (-before +after):\n%s", diff)
			}
			if n := w.acme.count() - passed; n != 0 {
				t.Errorf("%d requests reached the application", n)
			}
		})
	}
	eventually(t, "the refusals in the timeline of the administrator", func() string {
		text := w.command(t, "timeline", u.UserName, "--tenant", "acme")
		return unless(strings.Count(text, "app.local_write") == len(routes)-1, // two rows have one method and entry
			"%s", text)
	})
	for _, r := range routes {
		req := request("http://"+w.Acme.App.Addresses().HTTP, r.method, r.path, r.form, "*/*")
		if status, body := send(t, http.DefaultClient, req); status != r.direct {
			t.Errorf("%s %s at the application itself: %d %s, want %d: the refusals prove nothing",
				r.method, r.path, status, body, r.direct)
		}
	}
}
