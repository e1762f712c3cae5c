package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/store"
)

// failingKeys are keys whose store is down.
type failingKeys struct{}

func (failingKeys) Keys(string) ([]oauth.SigningKey, error) {
	return nil, errors.New("secret internals")
}
func (failingKeys) KeysEncrypted() bool { return true }
func (failingKeys) RotateKeys(context.Context, string, store.Cause) ([]oauth.SigningKey, error) {
	return nil, errors.New("secret internals")
}

func (failingKeys) DropKey(context.Context, string, string, store.Cause) ([]oauth.SigningKey, error) {
	return nil, errors.New("secret internals")
}

// TestKeysByOperators: a change needs a reason and goes into the audit trail with the operator's name. A
// fault of the store tells the operator nothing internal.
func TestKeysByOperators(t *testing.T) {
	s := newService(t)
	server, err := oauth.New(t.Context(), oauth.Options{
		Store: s.store, Tenants: []oauth.Tenant{{Name: "acme", Issuer: "https://acme.example", Resource: "https://acme.example/scim/v2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s.withKeys(server)
	var list admin.KeyList
	s.post("keys/rotate", `{"reason":"yearly"}`, &list)
	if len(list.Keys) != 2 || list.Keys[0].State != oauth.KeyNext || list.Keys[1].State != oauth.KeySigning {
		t.Errorf("after a rotation: %+v", list)
	}
	next := list.Keys[0].ID
	s.post("keys/drop", `{"reason":"mistake","kid":"`+next+`"}`, &list)
	if len(list.Keys) != 1 || list.Keys[0].ID == next {
		t.Errorf("after a drop: %+v", list)
	}
	trail := s.get("/v1/tenants/acme/audit").Body.String()
	for _, want := range []string{"oauth.key.rotate", "oauth.key.drop", "yearly", "mistake", "Zoë", "operator:op", "key:" + next} {
		if !strings.Contains(trail, want) {
			t.Errorf("the audit trail has no %q", want)
		}
	}
	for _, row := range []struct {
		route, body string
		status      int
	}{
		{"acme/keys/rotate", `{}`, http.StatusBadRequest},
		{"acme/keys/rotate", `{"reason":" "}`, http.StatusBadRequest},
		{"acme/keys/drop", `{"kid":"x"}`, http.StatusBadRequest},
		{"acme/keys/drop", `{"kid":"x","reason":"r"}`, http.StatusNotFound},
		{"initech/keys/rotate", `{"reason":"r"}`, http.StatusNotFound},
	} {
		if w := s.do("POST", "/v1/tenants/"+row.route, row.body); w.Code != row.status {
			t.Errorf("%s %s: %d %s, want %d", row.route, row.body, w.Code, w.Body, row.status)
		}
	}
	if w := s.get("/v1/tenants/initech/keys"); w.Code != http.StatusNotFound {
		t.Errorf("keys of an unknown tenant: %d", w.Code)
	}
	if s.status().KeysEncrypted {
		t.Error("the status says encrypted, want in plain")
	}

	s.withKeys(failingKeys{})
	for _, w := range []string{
		s.do("POST", "/v1/tenants/acme/keys/rotate", `{"reason":"r"}`).Body.String(),
		s.do("POST", "/v1/tenants/acme/keys/drop", `{"reason":"r","kid":"x"}`).Body.String(),
		s.get("/v1/tenants/acme/keys").Body.String(),
	} {
		if strings.Contains(w, "internals") || !strings.Contains(w, `"status":503`) {
			t.Errorf("answer %s, want 503 without internals", w)
		}
	}
	if !s.status().KeysEncrypted {
		t.Error("the status says in plain, want encrypted")
	}
}
