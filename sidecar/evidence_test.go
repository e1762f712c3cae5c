package sidecar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// sealer is a tenant's key and its public half.
func sealer(t *testing.T) (*token.Signer, []byte) {
	t.Helper()
	jwk, _, err := token.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := token.NewSigner(jwk)
	if err != nil {
		t.Fatal(err)
	}
	public, err := token.PublicJWKS(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return s, public
}

// sealed builds the report of a user. change edits the claims before the signature.
func sealed(
	t *testing.T, st *store.Store, user string, s *token.Signer, change func(map[string]any),
) *sidecar.Evidence {
	t.Helper()
	sign := func(_ string, claims map[string]any) (string, error) {
		change(claims)
		return s.Sign(claims, "evidence+jwt")
	}
	rep, err := revoke.Build(t.Context(), st, "acme", user, time.Now(), sign)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestVerifyEvidence: a report is valid only with the tenant's own signature. An attacker who
// rewrites a report can compute the digest, but not the signature.
func TestVerifyEvidence(t *testing.T) {
	st := storetest.New(t)
	ids := map[string]string{}
	for _, name := range []string{"ada", "bob"} {
		u := &store.User{Resource: scim.Object{"schemas": []any{scim.UserURN}, "userName": name, "active": true}}
		for _, fn := range []func(*store.Tx) error{
			func(tx *store.Tx) error { u.ID = ""; return tx.CreateUser(u) },
			func(tx *store.Tx) error { return tx.DeleteUser(u.ID) },
		} {
			if _, err := st.Update(t.Context(), "acme", storetest.Cause("test"), fn); err != nil {
				t.Fatal(err)
			}
		}
		ids[name] = u.ID
	}
	none := func(map[string]any) {}
	set := func(claim, value string) func(map[string]any) {
		return func(c map[string]any) { c[claim] = value }
	}
	own, jwks := sealer(t)
	stranger, _ := sealer(t)
	good := sealed(t, st, ids["ada"], own, none)
	other := sealed(t, st, ids["bob"], own, none)
	swapped := *good
	seal := *good.Seal
	seal.JWS = other.Seal.JWS
	swapped.Seal = &seal
	tests := []struct {
		name string
		rep  *sidecar.Evidence
		ok   bool
	}{
		{"the tenant's", good, true},
		{"a stranger's key", sealed(t, st, ids["ada"], stranger, none), false},
		{"the signature of another report", &swapped, false},
		{"signed about another user", sealed(t, st, ids["ada"], own, set("sub", ids["bob"])), false},
		{"signed another digest", sealed(t, st, ids["ada"], own, set("digest", other.Seal.Digest)), false},
		{"signed another chain", sealed(t, st, ids["ada"], own, set("head", other.Seal.Head)), false},
		{"signed nothing", sealed(t, st, ids["ada"], own, func(c map[string]any) { clear(c) }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := json.Marshal(tt.rep)
			if err != nil {
				t.Fatal(err)
			}
			rep, err := sidecar.VerifyEvidence(bytes.NewReader(b), jwks)
			if (err == nil) != tt.ok || tt.ok && rep.User != ids["ada"] {
				t.Errorf("%v, want a valid report: %v", err, tt.ok)
			}
			if _, err := sidecar.VerifyEvidence(bytes.NewReader(b), []byte(`{"keys":[]}`)); !errors.Is(err, sidecar.ErrKeySet) {
				t.Errorf("VerifyEvidence() = %v with an empty key set, want ErrKeySet", err)
			}
		})
	}
}
