// Package client knows the OAuth clients of every tenant: who may call SCIM, and how their requests are
// judged.
//
// A client is named by the issuer of its access tokens and by its client id. [Directory.Find] answers
// from memory, for every request. A client that Find does not return does not exist, is disabled or has
// expired; the caller refuses it.
package client

import (
	"sync/atomic"

	"github.com/scimward/scimward/policies"
)

// Client is one OAuth client. It does not change.
type Client struct {
	Tenant string
	// Issuer is the iss of its access tokens: the tenant's own URL, or an external issuer.
	Issuer string
	// ID is its client id. Empty stands for every client that the issuer names, unless the directory has
	// one with the very id.
	ID string
	// Dialect says how the profile of the tenant applies to it.
	Dialect *policies.Dialect
}

// key names a client.
type key struct{ tenant, issuer, id string }

// Directory has the clients of all tenants. The zero Directory has none. It is safe for concurrent use.
type Directory struct {
	configured atomic.Pointer[map[key]*Client]
}

// SetConfigured replaces the clients of the configuration.
func (d *Directory) SetConfigured(all []Client) {
	next := make(map[key]*Client, len(all))
	for i := range all {
		c := &all[i]
		next[key{c.Tenant, c.Issuer, c.ID}] = c
	}
	d.configured.Store(&next)
}

// Find returns a client, nil if there is none.
func (d *Directory) Find(tenant, issuer, id string) *Client {
	all := d.configured.Load()
	if all == nil || id == "" {
		return nil
	}
	if c := (*all)[key{tenant, issuer, id}]; c != nil {
		return c
	}
	return (*all)[key{tenant, issuer, ""}]
}
