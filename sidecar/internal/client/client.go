// Package client knows the OAuth clients of every tenant: who may call SCIM, and how their requests are
// judged.
//
// A client is named by the issuer of its access tokens and by its client id. The configuration file
// defines it, or operators add it by command and the store has it. [Directory.Find] answers from memory,
// for every request. A client that Find does not return does not exist, is disabled or has expired; the
// caller refuses it. So does [Directory.Static] for a static token.
//
// [Directory.Configure] sets what the file says. [Directory.Apply] takes a change of the store, before
// the store acknowledges it: after a command that ends a client, no request of it is allowed.
package client

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
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
	// Proof is how it proves itself.
	Proof Proof
	// Constraint is what its access tokens must be bound to.
	Constraint token.Constraint
	// Rules say how it gets access tokens here, with the defaults of its tenant.
	Rules store.ClientRules
	// RequestsPerSecond is its limit. Zero means that of the tenant.
	RequestsPerSecond int
	Expires           time.Time // zero: never
	Disabled          bool
	// Command says that operators manage it by command. Otherwise the configuration file does.
	Command bool
	// Fault is why it cannot be used, empty for none: its row names an overlay that this version lacks.
	Fault string
	// Row is its row in the store, nil without one. A client of the file has its tokens there.
	Row *store.Client
}

// Proof is how a client proves itself. One field is set.
type Proof struct {
	Static    bool   // it sends static tokens, and has no keys
	External  string // issuer of its access tokens
	JWKSURI   string // of its keys
	JWKSFile  string // with its keys
	KeyIssuer string // whose metadata names its keys
	Given     bool   // its keys are in the store
}

// String says to operators how the client proves itself.
func (p Proof) String() string {
	switch {
	case p.Static:
		return "static tokens"
	case p.External != "":
		return "tokens of " + p.External
	case p.JWKSURI != "":
		return "keys at " + p.JWKSURI
	case p.JWKSFile != "":
		return "keys in " + p.JWKSFile
	case p.KeyIssuer != "":
		return "keys of " + p.KeyIssuer
	}
	return "keys that were given"
}

// Usable reports whether the client may act at now.
func (c *Client) Usable(now time.Time) bool {
	return c != nil && !c.Disabled && c.Fault == "" && (c.Expires.IsZero() || now.Before(c.Expires)) &&
		(c.Row == nil || c.Row.Usable(now))
}

// Held reports whether a command disabled a client before the configuration file named it. It stays disabled until
// a command enables it.
func (c *Client) Held() bool {
	return !c.Command && c.Row != nil && !c.Row.File && c.Row.Exists() && c.Row.Disabled
}

// Tenant is what the configuration says about the clients of a tenant.
type Tenant struct {
	Name              string
	Issuer            string // its own issuer of access tokens
	Profile           string
	Dialects          []string // overlays of clients that have none of their own
	StaticTokens      bool     // static tokens may open SCIM
	RequestsPerSecond int
	Rules             store.ClientRules // the defaults of its clients
	Clients           []Client          // of the configuration file
}

// RulesOf completes the rules of a client.
func (t *Tenant) RulesOf(r store.ClientRules) store.ClientRules {
	if len(r.Algorithms) == 0 {
		r.Algorithms = t.Rules.Algorithms
	}
	r.TokenLifetime = cmp.Or(r.TokenLifetime, t.Rules.TokenLifetime)
	r.MaxAssertionLifetime = cmp.Or(r.MaxAssertionLifetime, t.Rules.MaxAssertionLifetime)
	return r
}

// key names a client. The issuer of the tenant's own clients is the tenant's URL.
type key struct{ tenant, issuer, id string }

// static is a static token that is known.
type static struct {
	client *Client
	token  store.StaticToken
	claims token.Claims
}

// index is everything that a request asks for. It does not change.
type index struct {
	tenants map[string]*Tenant
	clients map[key]*Client      // also those that are not usable, and deleted ones of commands
	ends    map[key]time.Time    // tokens of a client that were issued earlier have ended
	lists   map[string][]*Client // those that were not deleted, by tenant, in the order of issuers and ids
	static  map[token.Hash]*static
	ended   map[token.Hash]*ended
	paused  map[string]*store.Pause
}

// Directory has the clients of all tenants. The zero Directory has none. It is safe for concurrent use.
type Directory struct {
	Now func() time.Time // nil means time.Now

	index atomic.Pointer[index]
	uses  uses

	mu      sync.Mutex // guards the fields below, from which the index is made
	tenants []Tenant
	rows    map[rowKey]versioned[store.Client]
	paused  map[string]versioned[store.Pause]
}

func (d *Directory) now() time.Time {
	if d.Now == nil {
		return time.Now()
	}
	return d.Now()
}

// Configure replaces what the configuration says.
func (d *Directory) Configure(tenants []Tenant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tenants = tenants
	d.rebuild()
}

// Load takes many changes of the store at once.
func (d *Directory) Load(changes []store.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range changes {
		d.keep(&changes[i])
	}
	d.rebuild()
}

// Apply takes a change of the store, if it is one of a client or of a pause.
func (d *Directory) Apply(c store.Change) {
	if c.Type == store.ChangeClient || c.Type == store.ChangePause {
		d.Load([]store.Change{c})
	}
}

// rebuild makes the index anew. Changes of clients are rare.
func (d *Directory) rebuild() {
	x := &index{
		tenants: map[string]*Tenant{}, clients: map[key]*Client{}, static: map[token.Hash]*static{},
		ended: map[token.Hash]*ended{}, ends: map[key]time.Time{},
		lists:  map[string][]*Client{},
		paused: map[string]*store.Pause{},
	}
	for tenant, p := range d.paused {
		if p.value != nil {
			x.paused[tenant] = p.value
		}
	}
	for i := range d.tenants {
		t := &d.tenants[i]
		x.tenants[t.Name] = t
		for j := range t.Clients {
			c := t.Clients[j]
			c.Row = d.rows[rowKey{t.Name, t.NameOf(c.Issuer, c.ID)}].value // of a command, until the store knows the file
			x.clients[key{c.Tenant, c.Issuer, c.ID}] = &c
		}
	}
	d.addRows(x)
	for _, c := range x.clients {
		x.addTokens(c)
		if !c.Command || c.Row.Exists() {
			x.lists[c.Tenant] = append(x.lists[c.Tenant], c)
		}
	}
	for _, list := range x.lists {
		slices.SortFunc(list, func(a, b *Client) int {
			return cmp.Or(strings.Compare(a.Issuer, b.Issuer), strings.Compare(a.ID, b.ID))
		})
	}
	d.index.Store(x)
}

// addTokens makes the static tokens of a client known, if its tenant allows any.
func (x *index) addTokens(c *Client) {
	if t := x.tenants[c.Tenant]; !t.StaticTokens || !c.Proof.Static || c.Row == nil || !c.Row.Exists() {
		return
	}
	for _, k := range c.Row.Tokens {
		x.static[k.Hash] = &static{client: c, token: k, claims: token.Claims{
			Issuer: c.Issuer, Subject: c.ID, ClientID: c.ID, JTI: k.ID, Scopes: []string{token.Scope},
			IssuedAt: k.Created, Expires: k.Expires, Static: true,
		}}
	}
}

// Find returns a client that may act now, nil if there is none.
func (d *Directory) Find(tenant, issuer, id string) *Client {
	c := d.lookup(tenant, issuer, id)
	if !c.Usable(d.now()) {
		return nil
	}
	return c
}

// Has reports whether the client of an access token may act now, and the token is one of it. A token of
// unknown age counts as old.
func (d *Directory) Has(tenant string, c *token.Claims) bool {
	found := d.Find(tenant, c.Issuer, c.ClientID)
	return found != nil && d.index.Load().lives(found, c)
}

// lives reports whether an access token is not from before its client was ended: disabled, deleted, or removed
// from the file. An end of every client of the issuer counts for those that are admitted in this way.
func (x *index) lives(found *Client, c *token.Claims) bool {
	return !c.IssuedAt.Before(x.ends[key{found.Tenant, c.Issuer, c.ClientID}]) &&
		(found.ID != "" || !c.IssuedAt.Before(x.ends[key{found.Tenant, c.Issuer, ""}]))
}

// Constraint returns what the access tokens of a client must be bound to.
func (d *Directory) Constraint(tenant, issuer, id string) token.Constraint {
	if c := d.lookup(tenant, issuer, id); c != nil {
		return c.Constraint
	}
	return token.ConstraintNone
}

// lookup returns a client whatever its state, nil if there is none. The very id wins over the entry for
// all clients of an issuer, also when it was deleted: deleting a client of an external issuer refuses it.
func (d *Directory) lookup(tenant, issuer, id string) *Client {
	x := d.index.Load()
	if x == nil || id == "" {
		return nil
	}
	if c := x.clients[key{tenant, issuer, id}]; c != nil {
		return c
	}
	return x.clients[key{tenant, issuer, ""}]
}

// Static returns the claims of a static token. It costs one SHA-256 and one map read, whoever asks. What
// the map compares is the hash of the sender's text, which the sender cannot steer towards the hash of a
// token. So the time says nothing about a token that exists.
func (d *Directory) Static(tenant, raw string) (token.Claims, *token.Error) {
	hash, ok := token.HashStatic(raw)
	x := d.index.Load()
	if !ok || x == nil {
		return token.Claims{}, token.RefuseStatic(token.ReasonMalformed, "", "", "")
	}
	s, now := x.static[hash], d.now()
	if s == nil || s.client.Tenant != tenant {
		return token.Claims{}, x.refuseUnknown(tenant, hash, now)
	}
	reason := token.ReasonClient
	switch {
	case !s.client.Usable(now):
	case !now.Before(s.token.Expires):
		reason = token.ReasonExpired
	default:
		return s.claims, nil
	}
	return token.Claims{}, token.RefuseStatic(reason, s.client.Issuer, s.client.ID, s.token.ID)
}

// Paused returns since when SCIM of a tenant is paused, nil while it is not.
func (d *Directory) Paused(tenant string) *store.Pause {
	x := d.index.Load()
	if x == nil || len(x.paused) == 0 {
		return nil
	}
	return x.paused[tenant]
}

// RequestsPerSecond returns the limit of a client.
func (d *Directory) RequestsPerSecond(tenant, issuer, id string) int {
	n := 0
	if t := d.Tenant(tenant); t != nil {
		n = t.RequestsPerSecond
	}
	if c := d.lookup(tenant, issuer, id); c != nil {
		n = cmp.Or(c.RequestsPerSecond, n)
	}
	return n
}

// WarnBefore is how long before the end of a static token warnings begin.
const WarnBefore = 14 * 24 * time.Hour

// Tokens returns the static tokens of a client, nil if it takes none.
func Tokens(c *Client) []store.StaticToken {
	if !c.Proof.Static || c.Row == nil || !c.Row.Exists() {
		return nil
	}
	return c.Row.Tokens
}

// Ending returns the static tokens of a client that need an operator: those that have expired or do so
// within WarnBefore, unless the client has one that lives longer.
func Ending(c *Client, now time.Time) []store.StaticToken {
	all := Tokens(c)
	longer := func(k store.StaticToken) bool { return k.Expires.Sub(now) > WarnBefore }
	if !c.Usable(now) || slices.ContainsFunc(all, longer) {
		return nil
	}
	return all
}

// Tenant returns what the configuration says about a tenant, nil for an unknown one.
func (d *Directory) Tenant(name string) *Tenant {
	if x := d.index.Load(); x != nil {
		return x.tenants[name]
	}
	return nil
}

// List returns the clients of a tenant that were not deleted, in the order of issuers and ids. The caller
// does not change the list.
func (d *Directory) List(tenant string) []*Client {
	if x := d.index.Load(); x != nil {
		return x.lists[tenant]
	}
	return nil
}
