package client_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// TestFind: a client is found by tenant, issuer and id. An entry without an id stands for the other
// clients of its issuer, and for no client of another one.
func TestFind(t *testing.T) {
	lenient, err := policies.NewDialect("ipsie-il1", "entra")
	if err != nil {
		t.Fatal(err)
	}
	var d client.Directory
	if d.Find("acme", "https://app.example.com", "idp") != nil {
		t.Error("an empty directory has a client, want none")
	}
	d.Configure([]client.Tenant{{Name: "acme", Issuer: "https://app.example.com", Clients: []client.Client{
		{Tenant: "acme", Issuer: "https://app.example.com", ID: "idp"},
		{Tenant: "acme", Issuer: "https://as.example", Dialect: lenient},
		{Tenant: "acme", Issuer: "https://as.example", ID: "strict"},
	}}})
	for _, tt := range []struct {
		name, tenant, issuer, id string
		found                    bool
		dialect                  *policies.Dialect
	}{
		{"own", "acme", "https://app.example.com", "idp", true, nil},
		{"unknown", "acme", "https://app.example.com", "other", false, nil},
		{"of another tenant", "globex", "https://app.example.com", "idp", false, nil},
		{"own id at the external issuer", "acme", "https://as.example", "idp", true, lenient},
		{"any of the external issuer", "acme", "https://as.example", "other", true, lenient},
		{"named at the external issuer", "acme", "https://as.example", "strict", true, nil},
		{"without an id", "acme", "https://as.example", "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := d.Find(tt.tenant, tt.issuer, tt.id)
			if (c != nil) != tt.found || c != nil && c.Dialect != tt.dialect {
				t.Errorf("%+v, want found %t", c, tt.found)
			}
		})
	}
	d.Configure(nil)
	if d.Find("acme", "https://app.example.com", "idp") != nil {
		t.Error("a removed client is found, want none")
	}
}

const external = "https://as.example"

// row is a change of a client at a version.
func row(at store.Seq, c store.Client) store.Change {
	return store.Change{Seq: at, Type: store.ChangeClient, Tenant: "acme", Issuer: c.External, ID: c.ID, Client: &c}
}

// TestNewestChangeCounts: a change that arrives after a newer one changes nothing, neither a row nor a pause nor
// the end of a row. So it does not matter whether a change arrives before or after the rows that were read.
func TestNewestChangeCounts(t *testing.T) {
	var d client.Directory
	d.Configure([]client.Tenant{{Name: "acme", Issuer: ownIssuer, Profile: "ipsie-il1"}})
	found := func(what string, want bool) {
		t.Helper()
		if got := d.Find("acme", ownIssuer, "okta") != nil; got != want {
			t.Errorf("%s: found %t, want %t", what, got, want)
		}
	}
	enabled, disabled := store.Client{ID: "okta", Static: true}, store.Client{ID: "okta", Static: true, Disabled: true}
	d.Apply(row(5, disabled))
	d.Load([]store.Change{row(3, enabled)})
	found("the row as it was before it was disabled", false)
	d.Apply(row(7, enabled))
	found("enabled later", true)
	d.Apply(row(6, disabled))
	found("an older change", true)
	d.Apply(store.Change{Seq: 9, Type: store.ChangeClient, Tenant: "acme", ID: "okta"})
	found("forgotten", false)
	d.Load([]store.Change{row(8, enabled)})
	found("an older row after it was forgotten", false)
	pause := func(at store.Seq, p *store.Pause) {
		d.Apply(store.Change{Seq: at, Type: store.ChangePause, Tenant: "acme", Pause: p})
	}
	pause(5, nil)
	pause(4, &store.Pause{})
	if d.Paused("acme") != nil {
		t.Error("an older pause counts after the tenant was resumed")
	}
	pause(6, &store.Pause{})
	if d.Paused("acme") == nil {
		t.Error("a newer pause does not count")
	}
}

// TestOneIDOfTwoIssuers: two clients with one id are two clients: state, uses, tokens and rules.
func TestOneIDOfTwoIssuers(t *testing.T) {
	now := time.Now()
	d := &client.Directory{Now: func() time.Time { return now }}
	d.Configure([]client.Tenant{{
		Name: "acme", Issuer: ownIssuer, Profile: "ipsie-il1", StaticTokens: true,
		Clients: []client.Client{{Tenant: "acme", Issuer: external, Constraint: token.ConstraintDPoP}},
	}})
	raw, hash := token.NewStatic()
	d.Apply(row(1, store.Client{ID: "job", Static: true, Tokens: []store.StaticToken{
		{ID: "st-1", Hash: hash, Created: now, Expires: now.Add(time.Hour)},
	}}))
	d.Apply(row(2, store.Client{ID: "job", External: external, Disabled: true}))
	if d.Find("acme", ownIssuer, "job") == nil || d.Find("acme", external, "job") != nil || len(d.Rows("acme")) != 2 {
		t.Errorf("want the own client alone, and both rows: %+v", d.Rows("acme"))
	}
	claims, refused := d.Static("acme", raw)
	if refused != nil || claims.Issuer != ownIssuer {
		t.Fatalf("%+v %v, want the token of the own client", claims, refused)
	}
	own, other := d.Constraint("acme", ownIssuer, "job"), d.Constraint("acme", external, "job")
	if own != token.ConstraintNone || other != token.ConstraintDPoP {
		t.Errorf("bound to %q and %q, want nothing, and what the file says about the issuer", own, other)
	}
	for _, c := range []*token.Claims{&claims, {Issuer: external, ClientID: "job"}} {
		d.Note(client.Use{Tenant: "acme", Claims: c, Status: 200})
	}
	uses := d.Unwritten(0)["acme"]
	if len(uses) != 2 || uses[0].Issuer == uses[1].Issuer {
		t.Errorf("uses %+v, want one of each issuer", uses)
	}
	d.Written("acme", uses[:1])
	if left := d.Unwritten(0)["acme"]; len(left) != 1 || left[0].Issuer != uses[1].Issuer {
		t.Errorf("left %+v, want the one that was not written", left)
	}
}

// TestTokensFromBeforeAnEnd: a token from before its client, or every client of its issuer, left the file or was
// ended stays refused, whatever admits the client now.
func TestTokensFromBeforeAnEnd(t *testing.T) {
	if store.IssuerAhead != token.Leeway {
		t.Errorf("an iat may be %s ahead, and an end refuses those of %s", token.Leeway, store.IssuerAhead)
	}
	start := time.Now().Truncate(time.Second)
	d := &client.Directory{Now: func() time.Time { return start.Add(time.Hour) }}
	d.Configure([]client.Tenant{{
		Name: "acme", Issuer: ownIssuer, Clients: []client.Client{{Tenant: "acme", Issuer: external}},
	}})
	has := func(id string, issued time.Time) bool {
		return d.Has("acme", &token.Claims{Issuer: external, ClientID: id, IssuedAt: issued})
	}
	if !has("a", start) || !has("a", time.Time{}) {
		t.Error("a token is refused although nothing ended")
	}
	d.Apply(row(1, store.Client{External: external, File: true, NotBefore: start}))
	d.Apply(row(2, store.Client{ID: "a", External: external, File: true, NotBefore: start.Add(time.Minute)}))
	for _, tt := range []struct {
		id     string
		issued time.Time
		want   bool
	}{
		{"b", start.Add(-time.Second), false},
		{"b", start, true},
		{"b", time.Time{}, false},
		{"a", start, false},
		{"a", start.Add(time.Minute), true},
	} {
		if got := has(tt.id, tt.issued); got != tt.want {
			t.Errorf("%s, issued %s after: %t, want %t", tt.id, tt.issued.Sub(start), got, tt.want)
		}
	}
	d.Apply(row(3, store.Client{External: external, File: true, Deleted: start}))
	if has("b", start.Add(time.Minute)) {
		t.Error("the store has the issuer as removed, and its client is found")
	}
}
