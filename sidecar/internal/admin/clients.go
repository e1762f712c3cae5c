package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// The bounds of what operators write about a client.
const (
	maxClientID    = 200 // bytes
	maxTokenLife   = 366 * 24 * time.Hour
	minTokenLife   = time.Minute
	maxListedNames = 20

	never = "never" // the end of a client that does not expire
)

// ClientsOptions are the parts of the handler that know and change OAuth clients.
type ClientsOptions struct {
	Directory *client.Directory
	// Change changes clients of a tenant. The change is durable when it returns without an error, and in force
	// except for what notInForce says.
	Change func(
		ctx context.Context, tenant string, cause store.Cause, change func(*store.Tx) error,
	) (notInForce string, err error)
	// Valid judges the settings of a client by the rules of the configuration file. It reads nothing but memory.
	Valid func(tenant string, c *store.Client) error
	// Keyless returns the clients of a tenant whose keys cannot be fetched, by client id, with the reason. It
	// leaves out those of the configuration file, which readiness reports. Nil knows none.
	Keyless func(tenant string) map[string]error
	// Check fetches the keys of a client and tries a token for it: one of its own, or the given one.
	Check func(ctx context.Context, c *client.Client, raw string) (ClientTrial, error)
}

// ClientStatus is an OAuth client of a tenant. It has no secret.
type ClientStatus struct {
	Tenant    string `json:"tenant"`
	Client    string `json:"client"` // client id; empty stands for every client of the issuer
	Issuer    string `json:"issuer"` // of its access tokens
	ManagedBy string `json:"managed_by"`
	Proof     string `json:"proof"` // how it proves itself
	Static    bool   `json:"static_tokens"`
	// State is enabled, disabled, expired or unusable.
	State             string        `json:"state"`
	Fault             string        `json:"fault,omitempty"` // why it is unusable
	Dialects          []string      `json:"dialects"`
	RequestsPerSecond int           `json:"requests_per_second"`
	SenderConstrained string        `json:"sender_constrained"`
	Assertions        *Assertions   `json:"assertions,omitempty"` // nil for a client without keys of its own here
	Expires           *time.Time    `json:"expires,omitempty"`
	LastUse           *time.Time    `json:"last_use,omitempty"` // stored every 10 minutes at most
	LastKey           string        `json:"last_key,omitempty"` // kid of its last assertion
	LastError         string        `json:"last_error,omitempty"`
	LastErrorAt       *time.Time    `json:"last_error_at,omitempty"`
	Hour              int           `json:"requests_last_hour"` // these counts begin with the process
	HourRefused       int           `json:"refused_last_hour"`
	Refused           []RefusedFor  `json:"refused_for"` // the most frequent reason first
	Tokens            []TokenStatus `json:"tokens"`      // static ones
}

// Assertions say how a client of this authorization server gets access tokens, and how long they live.
type Assertions struct {
	StrictAudience       bool     `json:"strict_audience"`
	Algorithms           []string `json:"algorithms"`
	MaxAssertionLifetime string   `json:"max_assertion_lifetime"`
	TokenLifetime        string   `json:"token_lifetime"`
}

// RefusedFor counts the requests that were refused for a reason since the process started.
type RefusedFor struct {
	Reason string `json:"reason"`
	Times  int    `json:"times"`
}

// TokenStatus is a static token. Nobody can read the token itself.
type TokenStatus struct {
	ID      string     `json:"id"`
	Created time.Time  `json:"created"`
	Expires time.Time  `json:"expires"`
	State   string     `json:"state"` // live, ending, expired, or refused while the tenant allows none
	LastUse *time.Time `json:"last_use,omitempty"`
}

// ClientList are the clients of a tenant.
type ClientList struct {
	Tenant       string         `json:"tenant"`
	StaticTokens bool           `json:"static_tokens"` // the tenant allows them
	Clients      []ClientStatus `json:"clients"`
}

// ClientChanged is the answer to a change of a client.
type ClientChanged struct {
	ClientStatus
	// Already says that the client was in this state before.
	Already bool `json:"already"`
	// Warning says what of the change is stored and not in force yet.
	Warning string `json:"warning,omitempty"`
}

// ClientTrial is what a check of a client found.
type ClientTrial struct {
	Keys      []token.KeyInfo `json:"keys"`
	KeysFault string          `json:"keys_fault,omitempty"`
	Accepts   []string        `json:"accepts"` // what the client must send, one line each
	// Claims are those of a token that was made for the trial and thrown away. Nil where none can be made.
	Claims map[string]any `json:"claims,omitempty"`
	// TokenRefused is why SCIM would refuse that token, or the given one, empty if it would not.
	TokenRefused string `json:"token_refused,omitempty"`
	// Steps are the judgement of a given token, in order.
	Steps []TokenStep `json:"steps,omitempty"`
}

// TokenStep is one step of the judgement of a token.
type TokenStep struct {
	Name   string `json:"name"`
	State  string `json:"state"` // passed, refused or not reached
	Detail string `json:"detail,omitempty"`
}

// ClientChecked is the answer to a check of a client.
type ClientChecked struct {
	ClientStatus
	ClientTrial
}

func (h *Handler) mountClients(mux *http.ServeMux) {
	if h.opts.Clients.Directory == nil {
		return
	}
	at := func(route string, do http.HandlerFunc) { mux.HandleFunc("POST /v1/tenants/{tenant}/"+route, do) }
	mux.HandleFunc("GET /v1/tenants/{tenant}/clients", h.clients)
	at("clients/add", change(h, "client.add", h.addClient))
	at("clients/disable", change(h, "client.disable", h.switchClient("client.disable", true)))
	at("clients/enable", change(h, "client.enable", h.switchClient("client.enable", false)))
	at("clients/set", change(h, "client.set", h.setClient))
	at("clients/rotate", change(h, "client.rotate", h.rotateClient))
	at("clients/delete", change(h, "client.delete", h.deleteClient))
	at("clients/check", change(h, "client.check", h.checkClient))
	at("tokens/create", change(h, "client.token.create", h.createToken))
	at("tokens/revoke", change(h, "client.token.revoke", h.revokeToken))
}

// clients lists the clients of a tenant, or shows the one that ?client names.
func (h *Handler) clients(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	out := ClientList{Tenant: tenant, Clients: []ClientStatus{}}
	if t := h.opts.Clients.Directory.Tenant(tenant); t != nil {
		out.StaticTokens = t.StaticTokens
	}
	all := h.opts.Clients.Directory.List(tenant)
	if name := r.URL.Query().Get("client"); name != "" {
		one, err := h.findClient(tenant, ClientRef{Client: name, Issuer: r.URL.Query().Get("token_issuer")})
		if err != nil {
			problem(w, statusOf(err), err.Error(), nil)
			return
		}
		all = []*client.Client{one}
	}
	for _, c := range all {
		s, err := h.clientStatus(r.Context(), c)
		if err != nil {
			h.answer(w, r, "client.list", &act{Tenant: tenant}, nil, err)
			return
		}
		out.Clients = append(out.Clients, s)
	}
	h.write(w, r, http.StatusOK, out)
}

// clientStatus describes a client.
func (h *Handler) clientStatus(ctx context.Context, c *client.Client) (ClientStatus, error) {
	d, now := h.opts.Clients.Directory, h.opts.Now()
	var stored store.ClientUse
	err := h.opts.Store.View(ctx, c.Tenant, func(r *store.Reader) (err error) {
		stored, err = r.ClientUse(h.rowOf(c))
		return err
	})
	if err != nil {
		return ClientStatus{}, fmt.Errorf("reading the use of a client: %w", err)
	}
	use, tenant := d.Usage(c), d.Tenant(c.Tenant)
	none := c.Proof.Static && tenant != nil && !tenant.StaticTokens // its tokens are refused for now
	s := ClientStatus{
		Tenant: c.Tenant, Client: c.ID, Issuer: c.Issuer, ManagedBy: "file", Proof: c.Proof.String(), State: "enabled",
		Static: c.Proof.Static, SenderConstrained: cmp.Or(string(c.Constraint), "none"), Assertions: assertionsOf(c),
		Dialects:          append([]string{}, c.Dialect.Overlays()...),
		RequestsPerSecond: d.RequestsPerSecond(c.Tenant, c.Issuer, c.ID),
		Expires:           present(c.Expires), LastUse: present(later(use.LastUse, stored.LastUsed)), LastKey: stored.LastKey,
		LastError: use.LastError, LastErrorAt: present(use.LastErrorAt), Hour: use.Hour, HourRefused: use.HourRefused,
		Refused: []RefusedFor{}, Tokens: []TokenStatus{},
	}
	if c.Command {
		s.ManagedBy = "command"
	}
	s.State, s.Fault, _ = h.stateOf(c)
	for reason, times := range use.Refused {
		s.Refused = append(s.Refused, RefusedFor{reason, times})
	}
	slices.SortFunc(s.Refused, func(a, b RefusedFor) int {
		if a.Times != b.Times {
			return b.Times - a.Times
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	for _, k := range client.Tokens(c) {
		t := tokenStatus(k, now)
		t.LastUse = present(later(use.Tokens[k.ID], stored.Tokens[k.ID]))
		if none && t.State != "expired" {
			t.State = "refused"
		}
		s.Tokens = append(s.Tokens, t)
	}
	return s, nil
}

func tokenStatus(k store.StaticToken, now time.Time) TokenStatus {
	t := TokenStatus{ID: k.ID, Created: k.Created.UTC(), Expires: k.Expires.UTC(), State: "live"}
	switch left := k.Expires.Sub(now); {
	case left <= 0:
		t.State = "expired"
	case left <= client.WarnBefore:
		t.State = "ending"
	}
	return t
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func present(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// assertionsOf describes how a client with keys gets access tokens here.
func assertionsOf(c *client.Client) *Assertions {
	if c.Proof.Static || c.Proof.External != "" {
		return nil
	}
	return &Assertions{
		StrictAudience: c.Rules.StrictAudience, Algorithms: append([]string{}, c.Rules.Algorithms...),
		MaxAssertionLifetime: c.Rules.MaxAssertionLifetime.String(), TokenLifetime: c.Rules.TokenLifetime.String(),
	}
}

// rowOf names the row of a client.
func (h *Handler) rowOf(c *client.Client) store.ClientName {
	if t := h.opts.Clients.Directory.Tenant(c.Tenant); t != nil {
		return t.NameOf(c.Issuer, c.ID)
	}
	return store.ClientName{ID: c.ID}
}

// findClient finds a client by its id, and by the issuer of its tokens if the reference names one. It lists the
// clients that there are if it finds none, and their issuers if it finds several.
func (h *Handler) findClient(tenant string, ref ClientRef) (*client.Client, error) {
	var names, issuers []string
	var found *client.Client
	for _, c := range h.opts.Clients.Directory.List(tenant) {
		if c.ID == ref.Client && (c.ID != "" && ref.Issuer == "" || c.Issuer == ref.Issuer) {
			found = c
			issuers = append(issuers, c.Issuer)
		}
		if c.ID != "" {
			names = append(names, c.ID)
		}
	}
	of := ""
	switch {
	case len(issuers) == 1:
		return found, nil
	case len(issuers) > 1:
		return nil, refuse(http.StatusConflict, "tenant %s has several clients %q, with tokens of %s: name one of these "+
			"with --token-issuer", tenant, ref.Client, strings.Join(issuers, " and of "))
	case ref.Issuer != "":
		of = fmt.Sprintf(" with tokens of %q", ref.Issuer)
	}
	there := "it has none"
	if len(names) > 0 {
		there = "it has " + strings.Join(names[:min(len(names), maxListedNames)], ", ")
	}
	return nil, refuse(http.StatusNotFound, "tenant %s has no client %q%s: %s; `scimward client add` adds one",
		tenant, ref.Client, of, there)
}
