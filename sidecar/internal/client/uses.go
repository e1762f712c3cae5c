package client

import (
	"cmp"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// PersistEvery is how often, at most, the last use of a client is written to the store. So after a crash
// the last use may be as much too old.
const PersistEvery = 10 * time.Minute

// maxReasons bounds the reasons that are counted for one client. Reasons are few.
const maxReasons = 64

// Use is one SCIM request of a client.
type Use struct {
	Tenant string
	Claims *token.Claims // of the token; without a client id the token was refused
	Token  *token.Error  // why the token was refused, nil if it was not
	Status int
	Reason string // why the request was refused, empty for none
}

// Usage is how a client was used, for operators. Counts cover the time since the process started.
type Usage struct {
	LastUse     time.Time // of an accepted token
	LastError   string    // reason of the last refused request
	LastErrorAt time.Time
	Hour        int            // requests of the last hour
	HourRefused int            // of these, the refused ones
	Refused     map[string]int // refused requests by reason
	Tokens      map[string]time.Time
}

// minutes of a ring that counts the requests of the last hour.
const minutes = 60

type minute struct {
	at            int64 // minutes since 1970
	used, refused int
}

// usage counts one client.
type usage struct {
	Usage
	ring      [minutes]minute
	persisted time.Time // LastUse as the store has it
}

// uses counts the requests of clients that exist, so there are as many counters as clients.
type uses struct {
	mu  sync.Mutex
	all map[key]*usage
}

// Note counts a request. A request of an unknown client counts nowhere.
func (d *Directory) Note(u Use) {
	issuer, id, jti := "", "", ""
	switch {
	case u.Claims.ClientID != "":
		issuer, id, jti = u.Claims.Issuer, u.Claims.ClientID, u.Claims.JTI
	case u.Token != nil && u.Token.Authentic() && u.Token.ClientID != "":
		issuer, id = u.Token.Issuer, u.Token.ClientID
	}
	c := d.lookup(u.Tenant, issuer, id)
	if c == nil {
		return
	}
	now := d.now()
	d.uses.mu.Lock()
	defer d.uses.mu.Unlock()
	n := d.uses.of(c)
	slot := &n.ring[now.Unix()/60%minutes]
	if at := now.Unix() / 60; slot.at != at {
		*slot = minute{at: at}
	}
	slot.used++
	if u.Claims.ClientID != "" {
		n.LastUse = now
		if u.Claims.Static {
			n.Tokens[jti] = now
		}
	}
	if u.Status < http.StatusBadRequest {
		return
	}
	slot.refused++
	reason := u.Reason
	if u.Token != nil {
		reason = "token: " + string(u.Token.Reason)
	}
	reason = cmp.Or(reason, strconv.Itoa(u.Status))
	n.LastError, n.LastErrorAt = reason, now
	if _, known := n.Refused[reason]; known || len(n.Refused) < maxReasons {
		n.Refused[reason]++
	}
}

func (u *uses) of(c *Client) *usage {
	k := key{c.Tenant, c.Issuer, c.ID}
	if u.all == nil {
		u.all = map[key]*usage{}
	}
	if u.all[k] == nil {
		u.all[k] = &usage{Usage: Usage{Refused: map[string]int{}, Tokens: map[string]time.Time{}}}
	}
	return u.all[k]
}

// Usage returns how a client was used since the process started.
func (d *Directory) Usage(c *Client) Usage {
	now := d.now().Unix() / 60
	d.uses.mu.Lock()
	defer d.uses.mu.Unlock()
	n := d.uses.all[key{c.Tenant, c.Issuer, c.ID}]
	if n == nil {
		return Usage{}
	}
	out := n.Usage
	out.Refused, out.Tokens = maps.Clone(n.Refused), maps.Clone(n.Tokens)
	for _, m := range n.ring {
		if now-m.at < minutes {
			out.Hour += m.used
			out.HourRefused += m.refused
		}
	}
	return out
}

// Unwritten returns the last uses, by tenant, that are at least older later than the store has them. The
// caller writes them, and then calls Written. Zero returns every use that the store does not have.
func (d *Directory) Unwritten(older time.Duration) map[string][]store.ClientUse {
	d.uses.mu.Lock()
	defer d.uses.mu.Unlock()
	out := map[string][]store.ClientUse{}
	for k, n := range d.uses.all {
		t := d.Tenant(k.tenant)
		if t == nil || k.id == "" || !n.LastUse.After(n.persisted.Add(older)) {
			continue
		}
		name := t.NameOf(k.issuer, k.id)
		out[k.tenant] = append(out[k.tenant], store.ClientUse{
			Issuer: name.Issuer, ID: name.ID, LastUsed: n.LastUse, Tokens: maps.Clone(n.Tokens),
		})
	}
	return out
}

// Written says that the store has the last uses of clients of a tenant.
func (d *Directory) Written(tenant string, uses []store.ClientUse) {
	t := d.Tenant(tenant)
	if t == nil {
		return
	}
	d.uses.mu.Lock()
	defer d.uses.mu.Unlock()
	for _, u := range uses {
		name := rowKey{tenant, store.ClientName{Issuer: u.Issuer, ID: u.ID}}
		if n := d.uses.all[name.key(t)]; n != nil && u.LastUsed.After(n.persisted) {
			n.persisted = u.LastUsed
		}
	}
}
