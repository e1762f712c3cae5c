package client_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

const ownIssuer = "https://app.example.com"

// directory has the tenants acme, which allows static tokens, and globex, which does not. Each has the client
// okta with one token.
func directory(tb testing.TB, now time.Time) (*client.Directory, map[string]string) {
	tb.Helper()
	d := &client.Directory{Now: func() time.Time { return now }}
	d.Configure([]client.Tenant{
		{Name: "acme", Issuer: ownIssuer, Profile: "ipsie-il1", StaticTokens: true, RequestsPerSecond: 50},
		{Name: "globex", Issuer: "https://globex.example.com", Profile: "ipsie-il1"},
	})
	raw := map[string]string{}
	for _, tenant := range []string{"acme", "globex"} {
		text, hash := token.NewStatic()
		raw[tenant] = text
		d.Apply(store.Change{Type: store.ChangeClient, Tenant: tenant, ID: "okta", Client: &store.Client{
			ID: "okta", Static: true,
			Tokens: []store.StaticToken{{ID: "st-" + tenant, Hash: hash, Created: now, Expires: now.Add(time.Hour)}},
		}})
	}
	return d, raw
}

// TestStatic: a static token gives the claims of its client, and only at its tenant.
func TestStatic(t *testing.T) {
	now := time.Now()
	d, raw := directory(t, now)
	c, refused := d.Static("acme", raw["acme"])
	if refused != nil || c.ClientID != "okta" || c.Issuer != ownIssuer || c.JTI != "st-acme" || !c.Static ||
		strings.Join(c.Scopes, " ") != "scim" {
		t.Errorf("%+v %v, want the claims of okta", c, refused)
	}
	for name, tt := range map[string]struct {
		tenant, raw string
		want        token.Reason
	}{
		"another tenant":        {"globex", raw["acme"], token.ReasonStatic},
		"a tenant that refuses": {"globex", raw["globex"], token.ReasonStatic},
		"nobody's":              {"acme", must(token.NewStatic()), token.ReasonStatic},
		"short":                 {"acme", raw["acme"][:60], token.ReasonMalformed},
		"a typing error":        {"acme", raw["acme"][:20] + "." + raw["acme"][21:], token.ReasonMalformed},
		"empty":                 {"acme", "", token.ReasonMalformed},
	} {
		if c, refused := d.Static(tt.tenant, tt.raw); refused == nil || refused.Reason != tt.want || c.ClientID != "" {
			t.Errorf("%s: %+v %v, want %s", name, c, refused, tt.want)
		}
	}
	d.Now = func() time.Time { return now.Add(time.Hour) }
	if _, refused := d.Static("acme", raw["acme"]); refused == nil || refused.Reason != token.ReasonExpired {
		t.Errorf("%v, want that it has expired", refused)
	}
}

// TestEndedStaticToken: a token that was ended stays refused with the same answer. For 30 days the refusal
// names its client and its id, at its own tenant only, and counts at the client.
func TestEndedStaticToken(t *testing.T) {
	now := time.Now()
	d, _ := directory(t, now)
	raw, hash := token.NewStatic()
	row := &store.Client{ID: "okta", Static: true, Ended: []store.EndedToken{{ID: "st-old", Hash: hash, Ended: now}}}
	d.Apply(store.Change{Type: store.ChangeClient, Tenant: "acme", ID: "okta", Client: row})
	unknown := fmt.Sprint(token.RefuseStatic(token.ReasonStatic, "", "", "").Attrs())
	named := fmt.Sprint(token.RefuseStatic(token.ReasonRevoked, ownIssuer, "okta", "st-old").Attrs())
	refused := func(tenant, want string) *token.Error {
		t.Helper()
		c, te := d.Static(tenant, raw)
		if te == nil || te.Detail != token.StaticRefused || c.ClientID != "" || fmt.Sprint(te.Attrs()) != want ||
			strings.Contains(want, raw) {
			t.Fatalf("%+v %v, want a refusal with %s", c, te, want)
		}
		return te
	}
	d.Note(client.Use{Tenant: "acme", Claims: &token.Claims{}, Token: refused("acme", named), Status: 401, Reason: "token"})
	u := d.Usage(d.Find("acme", ownIssuer, "okta"))
	if fmt.Sprint(u.Refused) != "map[token: revoked:1]" || !u.LastUse.IsZero() {
		t.Errorf("%+v, want one refusal and no use", u)
	}
	refused("globex", unknown)
	gone := *row
	gone.Deleted = now
	d.Apply(store.Change{Type: store.ChangeClient, Tenant: "acme", ID: "okta", Client: &gone})
	refused("acme", named)
	d.Now = func() time.Time { return now.Add(store.KeepEnded) }
	refused("acme", unknown)
}

func must(raw string, _ token.Hash) string { return raw }

// TestStaticCost: a look at a static token allocates nothing.
func TestStaticCost(t *testing.T) {
	d, raw := directory(t, time.Now())
	if n := testing.AllocsPerRun(1000, func() {
		if _, refused := d.Static("acme", raw["acme"]); refused != nil {
			t.Fatal(refused)
		}
	}); n != 0 {
		t.Errorf("%g allocations, want none", n)
	}
}

func BenchmarkStatic(b *testing.B) {
	d, raw := directory(b, time.Now())
	for b.Loop() {
		if _, refused := d.Static("acme", raw["acme"]); refused != nil {
			b.Fatal(refused)
		}
	}
}

// FuzzStatic: no text but the token itself is accepted.
func FuzzStatic(f *testing.F) {
	d, raw := directory(f, time.Now())
	for _, seed := range []string{raw["acme"], raw["acme"] + "=", "scimward_st_", strings.ToUpper(raw["acme"]), "a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, refused := d.Static("acme", text); refused == nil && text != raw["acme"] {
			t.Errorf("%q is accepted", text)
		}
	})
}

// TestChangesOfTheStoreAreEnough: a directory that starts with the rows of the store knows what the store
// acknowledged, also when nobody was told about it: the process ended between commit and answer.
func TestChangesOfTheStoreAreEnough(t *testing.T) {
	s := storetest.New(t)
	raw, hash := token.NewStatic()
	now := time.Now()
	for _, do := range []func(*store.Tx) error{
		func(tx *store.Tx) error { return tx.AddClient(store.Client{ID: "okta", Static: true}) },
		func(tx *store.Tx) error { return tx.AddClient(store.Client{ID: "gone", Static: true}) },
		func(tx *store.Tx) error {
			k := store.StaticToken{ID: "st-1", Hash: hash, Created: now, Expires: now.Add(time.Hour)}
			_, err := tx.AddStaticToken(store.ClientName{ID: "okta"}, k)
			return err
		},
		func(tx *store.Tx) error { _, err := tx.DeleteClient(store.ClientName{ID: "gone"}); return err },
	} {
		if _, err := s.Update(t.Context(), "acme", storetest.Cause("client.change"), do); err != nil {
			t.Fatal(err)
		}
	}
	var d client.Directory
	d.Configure([]client.Tenant{{Name: "acme", Issuer: ownIssuer, Profile: "ipsie-il1", StaticTokens: true}})
	var rows []store.Change
	if err := s.EachClient(t.Context(), func(c store.Change) { rows = append(rows, c) }); err != nil {
		t.Fatal(err)
	}
	d.Load(rows)
	if _, refused := d.Static("acme", raw); refused != nil {
		t.Errorf("the token of a stored client: %v", refused)
	}
	if d.Find("acme", ownIssuer, "gone") != nil || d.Find("acme", ownIssuer, "okta") == nil {
		t.Error("want okta and not the deleted client")
	}
	if got := d.List("acme"); len(got) != 1 || got[0].ID != "okta" {
		t.Errorf("%d clients, want okta alone", len(got))
	}
}

// TestUnknownOverlay: a row with an overlay that this version lacks makes its client unusable, and no other.
func TestUnknownOverlay(t *testing.T) {
	d, raw := directory(t, time.Now())
	d.Apply(store.Change{Type: store.ChangeClient, Tenant: "acme", ID: "new", Client: &store.Client{
		ID: "new", Static: true, Dialects: []string{"of-tomorrow"},
	}})
	if d.Find("acme", ownIssuer, "new") != nil {
		t.Error("the client is usable")
	}
	if _, refused := d.Static("acme", raw["acme"]); refused != nil {
		t.Errorf("another client: %v", refused)
	}
	for _, c := range d.List("acme") {
		if c.ID == "new" && !strings.Contains(c.Fault, "of-tomorrow") {
			t.Errorf("fault %q, want the name of the overlay", c.Fault)
		}
	}
}

// TestUses: requests are counted by client and reason for an hour, those of strangers nowhere, and the last
// use is written rarely.
func TestUses(t *testing.T) {
	now := time.Now()
	d, raw := directory(t, now)
	d.Now = func() time.Time { return now }
	claims, refused := d.Static("acme", raw["acme"])
	if refused != nil {
		t.Fatal(refused)
	}
	note := func(c token.Claims, te *token.Error, status int, reason string) {
		d.Note(client.Use{Tenant: "acme", Claims: &c, Token: te, Status: status, Reason: reason})
	}
	note(claims, nil, http.StatusOK, "")
	note(claims, nil, http.StatusBadRequest, "policy")
	note(token.Claims{}, token.RefuseStatic(token.ReasonExpired, ownIssuer, "okta", "st-acme"), 401, "token_invalid")
	note(token.Claims{}, &token.Error{Reason: token.ReasonBinding, Issuer: ownIssuer, ClientID: "okta"}, 401, "token_binding")
	note(token.Claims{}, &token.Error{Reason: token.ReasonProof, Issuer: ownIssuer, ClientID: "okta"}, 401, "dpop_proof")
	note(token.Claims{}, &token.Error{Reason: token.ReasonSignature, Issuer: ownIssuer, ClientID: "okta"}, 401, "token_invalid")
	note(token.Claims{}, token.RefuseStatic(token.ReasonStatic, "", "", ""), 401, "token_invalid")
	note(token.Claims{Issuer: "https://other.example", ClientID: "okta"}, nil, 200, "")
	c := d.Find("acme", ownIssuer, "okta")
	u := d.Usage(c)
	if u.Hour != 5 || u.HourRefused != 4 || u.LastError != "token: proof" || !u.LastUse.Equal(now) ||
		fmt.Sprint(u.Refused) != "map[policy:1 token: binding:1 token: expired:1 token: proof:1]" || !u.Tokens["st-acme"].Equal(now) {
		t.Errorf("%+v", u)
	}
	for range 2 { // nobody has said that the first one was written
		if got := d.Unwritten(client.PersistEvery)["acme"]; len(got) != 1 || got[0].ID != "okta" {
			t.Errorf("unwritten: %+v, want okta", got)
		}
	}
	d.Written("acme", d.Unwritten(0)["acme"])
	now = now.Add(time.Minute)
	note(claims, nil, http.StatusOK, "")
	if got := d.Unwritten(client.PersistEvery); len(got) != 0 {
		t.Errorf("unwritten again after a minute: %+v", got)
	}
	atEnd := d.Unwritten(0)["acme"]
	if len(atEnd) != 1 {
		t.Errorf("unwritten at the end: %+v, want okta", atEnd)
	}
	d.Written("acme", atEnd)
	if got := d.Unwritten(0); len(got) != 0 {
		t.Errorf("unwritten after the end: %+v, want none", got)
	}
	now = now.Add(2 * time.Hour)
	if u := d.Usage(c); u.Hour != 0 {
		t.Errorf("%d requests of the last hour, want none", u.Hour)
	}
}
