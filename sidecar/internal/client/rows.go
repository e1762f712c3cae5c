package client

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// rowKey names a row of the store.
type rowKey struct {
	tenant string
	store.ClientName
}

// key names the client of a row.
func (k rowKey) key(t *Tenant) key { return key{k.tenant, cmp.Or(k.Issuer, t.Issuer), k.ID} }

// NameOf names the row of a client in the store.
func (t *Tenant) NameOf(issuer, id string) store.ClientName {
	if issuer == t.Issuer {
		issuer = ""
	}
	return store.ClientName{Issuer: issuer, ID: id}
}

// versioned is what the store has at a version.
type versioned[T any] struct {
	at    store.Seq
	value *T // nil for none
}

// newer reports whether a change is not older than what is known: changes may arrive while the rows are read.
func (v versioned[T]) newer(c *store.Change) bool { return c.Seq >= v.at }

// keep remembers a change, unless a newer one is known.
func (d *Directory) keep(c *store.Change) {
	if d.rows == nil {
		d.rows, d.paused = map[rowKey]versioned[store.Client]{}, map[string]versioned[store.Pause]{}
	}
	switch name := (rowKey{c.Tenant, store.ClientName{Issuer: c.Issuer, ID: c.ID}}); {
	case c.Type == store.ChangeClient && d.rows[name].newer(c):
		d.rows[name] = versioned[store.Client]{c.Seq, c.Client}
	case c.Type == store.ChangePause && d.paused[c.Tenant].newer(c):
		d.paused[c.Tenant] = versioned[store.Pause]{c.Seq, c.Pause}
	}
}

// addRows adds what the store knows: the clients of commands, and when tokens ended.
func (d *Directory) addRows(x *index) {
	dialects := map[string]*policies.Dialect{}
	for k, v := range d.rows {
		t, row := x.tenants[k.tenant], v.value
		if t == nil || row == nil {
			continue
		}
		named := k.key(t)
		x.addEnded(named, row)
		if !row.NotBefore.IsZero() {
			x.ends[named] = row.NotBefore
		}
		if !row.File && x.clients[named] == nil { // the file wins
			x.clients[named] = t.client(row, dialects)
		}
	}
}

// client is the client of a row that a command made. dialects remembers those of other rows.
func (t *Tenant) client(row *store.Client, dialects map[string]*policies.Dialect) *Client {
	c := &Client{
		Tenant: t.Name, Issuer: cmp.Or(row.External, t.Issuer), ID: row.ID, Constraint: t.constraint(row),
		Rules:             t.RulesOf(row.ClientRules),
		RequestsPerSecond: row.RequestsPerSecond, Expires: row.Expires, Disabled: row.Disabled,
		Command: true, Row: row,
		Proof: Proof{
			Static: row.Static, External: row.External, JWKSURI: row.JWKSURI, KeyIssuer: row.KeyIssuer,
			Given: len(row.JWKS) > 0,
		},
	}
	overlays := row.Dialects
	if len(overlays) == 0 {
		overlays = t.Dialects
	}
	name := t.Profile + " " + strings.Join(overlays, " ")
	if dialects[name] == nil {
		made, err := policies.NewDialect(t.Profile, overlays...)
		if err != nil {
			c.Fault = err.Error()
			return c
		}
		dialects[name] = made
	}
	c.Dialect = dialects[name]
	return c
}

// constraint returns what the access tokens of a client of a command must be bound to: what its row says, or
// if that is nothing, what the file says about its external issuer.
func (t *Tenant) constraint(row *store.Client) token.Constraint {
	if own := token.ConstraintOf(row.SenderConstrained); own != token.ConstraintNone || row.External == "" {
		return own
	}
	for i := range t.Clients {
		if c := &t.Clients[i]; c.Issuer == row.External {
			return c.Constraint
		}
	}
	return token.ConstraintNone
}

// Rows returns the rows of the clients of a tenant that commands manage, in the order of issuers and ids. The
// tenant may be one that Configure does not know yet.
func (d *Directory) Rows(tenant string) []store.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []store.Client
	for k, row := range d.rows {
		if c := row.value; k.tenant == tenant && c != nil && !c.File && c.Exists() {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b store.Client) int {
		return cmp.Or(strings.Compare(a.External, b.External), strings.Compare(a.ID, b.ID))
	})
	return out
}

// NotBefore returns the time before which access tokens of one of the tenant's own clients are refused,
// zero for none.
func (d *Directory) NotBefore(tenant, id string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if row := d.rows[rowKey{tenant, store.ClientName{ID: id}}].value; row != nil {
		return row.NotBefore
	}
	return time.Time{}
}
