package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// The bounds of what operators write about a client.
const (
	maxClientID    = 200 // bytes
	maxTokenLife   = 366 * 24 * time.Hour
	minTokenLife   = time.Minute
	maxClientRate  = 100_000
	maxListedNames = 20
)

// ClientsOptions are the parts of the handler that know and change OAuth clients.
type ClientsOptions struct {
	Directory *client.Directory
	// Change changes clients of a tenant. The change is durable and in force when it returns.
	Change func(ctx context.Context, tenant string, cause store.Cause, change func(*store.Tx) error) error
	// Check fetches the keys of a client and tries a token for it. Nil checks nothing.
	Check func(ctx context.Context, c *client.Client) (ClientTrial, error)
}

// ClientStatus is an OAuth client of a tenant. It has no secret.
type ClientStatus struct {
	Tenant    string `json:"tenant"`
	Client    string `json:"client"` // client id; empty stands for every client of the issuer
	Issuer    string `json:"issuer"` // of its access tokens
	ManagedBy string `json:"managed_by"`
	Proof     string `json:"proof"` // how it proves itself
	// State is enabled, disabled, expired or unusable.
	State             string        `json:"state"`
	Fault             string        `json:"fault,omitempty"` // why it is unusable
	Dialects          []string      `json:"dialects"`
	RequestsPerSecond int           `json:"requests_per_second"`
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
	State   string     `json:"state"` // live, ending or expired
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
}

// NewToken is the answer to the creation of a static token, the only place that ever has it.
type NewToken struct {
	TokenStatus
	Tenant string `json:"tenant"`
	Client string `json:"client"`
	Token  string `json:"token"`
	Live   int    `json:"live_tokens"` // of the client, this one included
}

// ClientTrial is what a check of a client found.
type ClientTrial struct {
	Keys      []token.KeyInfo `json:"keys"`
	KeysFault string          `json:"keys_fault,omitempty"`
	Accepts   []string        `json:"accepts"` // what the client must send, one line each
	// Claims are those of a token that was made for the trial and thrown away. Nil where none can be made.
	Claims map[string]any `json:"claims,omitempty"`
	// TokenRefused is why SCIM would refuse that token, empty if it would not.
	TokenRefused string `json:"token_refused,omitempty"`
}

// ClientChecked is the answer to a check of a client.
type ClientChecked struct {
	ClientStatus
	ClientTrial
}

// ClientRef names a client.
type ClientRef struct {
	Client string `json:"client"`
	Reason string `json:"reason,omitempty"`
}

// ClientAdd asks to add a client. Exactly one of JWKS, JWKSURI, KeyIssuer, ExternalIssuer and StaticTokens
// says how it proves itself.
type ClientAdd struct {
	ClientRef
	JWKS              string   `json:"jwks,omitempty"` // the document
	JWKSURI           string   `json:"jwks_uri,omitempty"`
	KeyIssuer         string   `json:"key_issuer,omitempty"`
	ExternalIssuer    string   `json:"external_issuer,omitempty"`
	StaticTokens      bool     `json:"static_tokens,omitempty"`
	Dialects          []string `json:"dialects,omitempty"`
	RequestsPerSecond int      `json:"requests_per_second,omitempty"`
	Expires           string   `json:"expires,omitempty"` // RFC 3339
}

// ClientRotate asks to replace the keys of a client.
type ClientRotate struct {
	ClientRef
	JWKS      string `json:"jwks,omitempty"`
	JWKSURI   string `json:"jwks_uri,omitempty"`
	KeyIssuer string `json:"key_issuer,omitempty"`
	EndTokens bool   `json:"end_tokens,omitempty"` // also end the access tokens that the client has
}

// TokenCreate asks for a static token.
type TokenCreate struct {
	ClientRef
	Seconds float64 `json:"expires_in_seconds"`
}

// TokenRevoke asks to end a static token.
type TokenRevoke struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
}

// optionally sets the reason of an act that does not need one.
func (a *act) optionally(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return nil
	}
	return a.because(reason)
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
		one, err := h.findClient(tenant, name)
		if err != nil {
			problem(w, http.StatusNotFound, err.Error(), nil)
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
		stored, err = r.ClientUse(c.ID)
		return err
	})
	if err != nil {
		return ClientStatus{}, fmt.Errorf("reading the use of a client: %w", err)
	}
	use := d.Usage(c)
	s := ClientStatus{
		Tenant: c.Tenant, Client: c.ID, Issuer: c.Issuer, ManagedBy: "file", Proof: c.Proof, State: "enabled",
		Fault: c.Fault, Dialects: append([]string{}, c.Dialect.Overlays()...), RequestsPerSecond: d.RequestsPerSecond(c.Tenant, c.Issuer, c.ID),
		Expires: present(c.Expires), LastUse: present(later(use.LastUse, stored.LastUsed)), LastKey: stored.LastKey,
		LastError: use.LastError, LastErrorAt: present(use.LastErrorAt), Hour: use.Hour, HourRefused: use.HourRefused,
		Refused: []RefusedFor{}, Tokens: []TokenStatus{},
	}
	if c.Command {
		s.ManagedBy = "command"
	}
	switch {
	case c.Disabled:
		s.State = "disabled"
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		s.State = "expired"
	case !c.Usable(now):
		s.State = "unusable"
	}
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

// findClient finds a client by its id, and lists those that there are if it finds none.
func (h *Handler) findClient(tenant, id string) (*client.Client, error) {
	var names []string
	var found []*client.Client
	for _, c := range h.opts.Clients.Directory.List(tenant) {
		if c.ID == id {
			found = append(found, c)
		}
		if c.ID != "" {
			names = append(names, c.ID)
		}
	}
	if len(found) > 0 {
		i := slices.IndexFunc(found, func(c *client.Client) bool { return c.Command })
		return found[max(i, 0)], nil
	}
	there := "it has none"
	if len(names) > 0 {
		there = "it has " + strings.Join(names[:min(len(names), maxListedNames)], ", ")
	}
	return nil, refuse(http.StatusNotFound, "tenant %s has no client %q: %s; `scimward client add` adds one",
		tenant, id, there)
}

// byCommand finds a client that commands may change.
func (h *Handler) byCommand(tenant, id, key string) (*client.Client, error) {
	c, err := h.findClient(tenant, id)
	if err != nil {
		return nil, err
	}
	if !c.Command {
		return nil, refuse(http.StatusConflict, "the configuration file manages client %q, so commands do not change it: "+
			"change %s at tenant %s in the file, which is then loaded again", id, key, tenant)
	}
	return c, nil
}

// changed runs a change of a client and describes the client after it.
func (h *Handler) changed(
	ctx context.Context, a *act, action, id string, do func(*store.Tx) error,
) (*ClientChanged, error) {
	out := &ClientChanged{}
	err := h.opts.Clients.Change(ctx, a.Tenant, a.cause(action), do)
	if errors.Is(err, store.ErrNothingToDo) {
		out.Already, err = true, nil
	}
	if err != nil {
		return nil, h.clientError(err, a.Tenant, id)
	}
	c, err := h.findClient(a.Tenant, id)
	if err != nil {
		return nil, err
	}
	out.ClientStatus, err = h.clientStatus(ctx, c)
	return out, err
}

// clientError says what the operator can do about a change that failed.
func (h *Handler) clientError(err error, tenant, id string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		_, gone := h.findClient(tenant, id)
		if gone == nil {
			gone = refuse(http.StatusConflict, "client %q is not known to the store yet: try again", id)
		}
		return gone
	case errors.Is(err, store.ErrClientExists):
		return refuse(http.StatusConflict, "tenant %s has a client %q already: `scimward client show %s` shows it", tenant, id, id)
	case errors.Is(err, store.ErrManyClients):
		return refuse(http.StatusConflict, "tenant %s has as many clients as scimward keeps: delete one first", tenant)
	case errors.Is(err, store.ErrManyDeleted):
		return refuse(http.StatusConflict, "tenant %s has as many deleted clients as scimward remembers, so that their "+
			"tokens stay refused: use a name again, or wait until the oldest is a year old", tenant)
	case errors.Is(err, store.ErrNoKeys):
		return refuse(http.StatusConflict, "client %q has no keys here: `scimward token create --client %s` rotates a static "+
			"token, and the keys of an external issuer are in the configuration file", id, id)
	case errors.Is(err, store.ErrClientEnded):
		return refuse(http.StatusConflict, "client %q is disabled or has expired: `scimward client enable %s` first", id, id)
	}
	return fmt.Errorf("changing a client: %w", err)
}

// addClient adds a client.
func (h *Handler) addClient(ctx context.Context, a *act, in ClientAdd) (any, error) {
	t := h.opts.Clients.Directory.Tenant(a.Tenant)
	row, err := in.row(t, h.opts.Now())
	if err := errors.Join(a.optionally(in.Reason), err); err != nil {
		return nil, firstRefusal(err)
	}
	for _, c := range h.opts.Clients.Directory.List(a.Tenant) {
		if c.ID == row.ID && !c.Command {
			return nil, refuse(http.StatusConflict, "the configuration file has a client %q: give this one another name, "+
				"or remove that one from the file first", row.ID)
		}
	}
	return h.changed(ctx, a, "client.add", row.ID, func(tx *store.Tx) error { return tx.AddClient(row) })
}

// firstRefusal returns the first refusal of joined errors, which alone says what to do.
func firstRefusal(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return err
}

// row checks a request and returns the row of the client.
func (in *ClientAdd) row(t *client.Tenant, now time.Time) (store.Client, error) {
	c := store.Client{
		ID: in.Client, JWKS: []byte(in.JWKS), JWKSURI: in.JWKSURI, KeyIssuer: in.KeyIssuer, External: in.ExternalIssuer,
		Static: in.StaticTokens, Dialects: in.Dialects, RequestsPerSecond: in.RequestsPerSecond,
	}
	if len(c.JWKS) == 0 {
		c.JWKS = nil
	}
	if in.Client == "" || !printable(in.Client, maxClientID) || strings.TrimSpace(in.Client) != in.Client {
		return c, refuse(http.StatusBadRequest, "the name of a client is its client id, one line of at most %d bytes",
			maxClientID)
	}
	if in.RequestsPerSecond < 0 || in.RequestsPerSecond > maxClientRate {
		return c, refuse(http.StatusBadRequest, "requests per second must be 1 to %d, or absent", maxClientRate)
	}
	for _, d := range in.Dialects {
		if !slices.Contains(policies.OverlayNames(), d) {
			return c, refuse(http.StatusBadRequest, "there is no dialect %q: use some of %s", d,
				strings.Join(policies.OverlayNames(), ", "))
		}
	}
	if in.Expires != "" {
		end, err := time.Parse(time.RFC3339, in.Expires)
		if err != nil || !end.After(now) {
			return c, refuse(http.StatusBadRequest, "expires must be a time in the future, such as %s",
				now.Add(90*24*time.Hour).UTC().Format(time.RFC3339))
		}
		c.Expires = end.UTC()
	}
	return c, checkProof(&c, t)
}

// checkProof checks how a client proves itself.
func checkProof(c *store.Client, t *client.Tenant) error {
	proofs := 0
	for _, one := range []bool{c.JWKS != nil, c.JWKSURI != "", c.KeyIssuer != "", c.External != "", c.Static} {
		if one {
			proofs++
		}
	}
	switch {
	case proofs != 1:
		return refuse(http.StatusBadRequest, "say in exactly one way how the client proves itself: "+
			"--jwks-file, --jwks-uri, --issuer, --external-issuer or --static-tokens")
	case c.Static && !t.StaticTokens:
		return noStaticTokens(t)
	case c.External != "":
		var issuers []string
		for i := range t.Clients {
			if is := t.Clients[i].Issuer; is != t.Issuer && !slices.Contains(issuers, is) {
				issuers = append(issuers, is)
			}
		}
		if !slices.Contains(issuers, c.External) {
			return refuse(http.StatusBadRequest, "%q is no external issuer of tenant %s: add it to external_issuers in the "+
				"configuration file first; there are: %s", c.External, t.Name, strings.Join(issuers, ", "))
		}
	case !c.Static:
		return checkKeys(c.JWKS, c.JWKSURI, c.KeyIssuer)
	}
	return nil
}

// noStaticTokens says which rule refuses static tokens, and how to choose.
func noStaticTokens(t *client.Tenant) error {
	return refuse(http.StatusConflict, "tenant %s refuses static tokens: rule IL1-3.2.1-oauth asks for OAuth access "+
		"tokens. To accept them write static_tokens: allow at the tenant in the configuration file; the tenant then does "+
		"not claim the profile ipsie-il1", t.Name)
}

func checkKeys(jwks []byte, uri, issuer string) error {
	for _, u := range []string{uri, issuer} {
		if u == "" {
			continue
		}
		if parsed, err := url.Parse(u); err != nil || parsed.Host == "" {
			return refuse(http.StatusBadRequest, "%q is no URL: write https://HOST/PATH", u)
		}
	}
	if err := token.CheckKeys(&token.IssuerConfig{JWKS: jwks, JWKSURL: uri, KeyIssuer: issuer}); err != nil {
		return refuse(http.StatusBadRequest, "the keys cannot be used: %v", err)
	}
	return nil
}

// switchClient disables or enables a client.
func (h *Handler) switchClient(action string, disable bool) func(context.Context, *act, ClientRef) (any, error) {
	return func(ctx context.Context, a *act, in ClientRef) (any, error) {
		if _, err := h.byCommand(a.Tenant, in.Client, "disabled"); err != nil {
			return nil, err
		}
		if err := a.optionally(in.Reason); err != nil {
			return nil, err
		}
		return h.changed(ctx, a, action, in.Client, func(tx *store.Tx) error {
			_, err := tx.SetClientDisabled(in.Client, disable)
			return err
		})
	}
}

// rotateClient replaces the keys of a client.
func (h *Handler) rotateClient(ctx context.Context, a *act, in ClientRotate) (any, error) {
	if _, err := h.byCommand(a.Tenant, in.Client, "keys"); err != nil {
		return nil, err
	}
	var jwks []byte
	given := 0
	for _, v := range []string{in.JWKS, in.JWKSURI, in.KeyIssuer} {
		if v != "" {
			given++
		}
	}
	if in.JWKS != "" {
		jwks = []byte(in.JWKS)
	}
	if given != 1 {
		return nil, refuse(http.StatusBadRequest, "name the new keys in exactly one way: --jwks-file, --jwks-uri or --issuer")
	}
	if err := errors.Join(a.optionally(in.Reason), checkKeys(jwks, in.JWKSURI, in.KeyIssuer)); err != nil {
		return nil, firstRefusal(err)
	}
	return h.changed(ctx, a, "client.rotate", in.Client, func(tx *store.Tx) error {
		_, err := tx.RotateClient(in.Client, jwks, in.JWKSURI, in.KeyIssuer, in.EndTokens)
		return err
	})
}

// deleteClient deletes a client. Its description is that from before.
func (h *Handler) deleteClient(ctx context.Context, a *act, in ClientRef) (any, error) {
	c, err := h.byCommand(a.Tenant, in.Client, "identity_services")
	if err := errors.Join(err, a.optionally(in.Reason)); err != nil {
		return nil, firstRefusal(err)
	}
	out := &ClientChanged{}
	if out.ClientStatus, err = h.clientStatus(ctx, c); err != nil {
		return nil, err
	}
	err = h.opts.Clients.Change(ctx, a.Tenant, a.cause("client.delete"), func(tx *store.Tx) error {
		_, err := tx.DeleteClient(in.Client)
		return err
	})
	if err != nil {
		return nil, h.clientError(err, a.Tenant, in.Client)
	}
	out.State = "deleted"
	return out, nil
}

// checkClient checks a client. It changes nothing.
func (h *Handler) checkClient(ctx context.Context, a *act, in ClientRef) (any, error) {
	c, err := h.findClient(a.Tenant, in.Client)
	if err != nil {
		return nil, err
	}
	out := &ClientChecked{}
	if out.ClientStatus, err = h.clientStatus(ctx, c); err != nil {
		return nil, err
	}
	out.ClientTrial, err = h.opts.Clients.Check(ctx, c)
	return out, err
}

// createToken makes a static token. The answer has it, and nothing else ever does.
func (h *Handler) createToken(ctx context.Context, a *act, in TokenCreate) (any, error) {
	c, err := h.findClient(a.Tenant, in.Client)
	if err := errors.Join(err, a.optionally(in.Reason)); err != nil {
		return nil, firstRefusal(err)
	}
	t := h.opts.Clients.Directory.Tenant(a.Tenant)
	life := time.Duration(in.Seconds * float64(time.Second))
	switch {
	case !t.StaticTokens:
		return nil, noStaticTokens(t)
	case !c.StaticTokens:
		return nil, refuse(http.StatusConflict, "client %q proves itself with %s and takes no static tokens: "+
			"`scimward client add NAME --static-tokens` adds a client that does", c.ID, c.Proof)
	case in.Seconds > maxTokenLife.Seconds() || life < minTokenLife:
		return nil, refuse(http.StatusBadRequest, "a static token lives one minute to 366 days: write --expires 90d")
	}
	raw, hash := token.NewStatic()
	now := h.opts.Now()
	k := store.StaticToken{ID: newTokenID(), Hash: hash, Created: now.UTC(), Expires: now.Add(life).UTC()}
	var after store.Client
	err = h.opts.Clients.Change(ctx, a.Tenant, a.cause("client.token.create"), func(tx *store.Tx) (err error) {
		after, err = tx.AddStaticToken(c.ID, k)
		return err
	})
	if errors.Is(err, store.ErrTwoTokens) {
		return nil, twoTokens(after.Tokens, c.ID)
	}
	if err != nil {
		return nil, h.clientError(err, a.Tenant, c.ID)
	}
	return NewToken{
		TokenStatus: tokenStatus(k, now), Tenant: a.Tenant, Client: c.ID, Token: raw, Live: len(after.Tokens),
	}, nil
}

// twoTokens says which tokens a client has, the older one first.
func twoTokens(live []store.StaticToken, id string) error {
	var have []string
	for _, k := range live {
		have = append(have, fmt.Sprintf("%s (created %s)", k.ID, k.Created.UTC().Format(time.DateOnly)))
	}
	return refuse(http.StatusConflict, "client %q has two live static tokens, enough for a rotation: %s. Paste the newer one "+
		"at the provider, then end the older one with `scimward token revoke %s`", id, strings.Join(have, ", "), live[0].ID)
}

// revokeToken ends a static token.
func (h *Handler) revokeToken(ctx context.Context, a *act, in TokenRevoke) (any, error) {
	if err := a.optionally(in.Reason); err != nil {
		return nil, err
	}
	if token.IsStatic(in.ID) {
		return nil, refuse(http.StatusBadRequest, "name the token by its id, not by the token itself, which is now in the "+
			"history of your shell: `scimward token list` shows the ids")
	}
	for _, c := range h.opts.Clients.Directory.List(a.Tenant) {
		if c.Row == nil || !slices.ContainsFunc(c.Row.Tokens, func(k store.StaticToken) bool { return k.ID == in.ID }) {
			continue
		}
		return h.changed(ctx, a, "client.token.revoke", c.ID, func(tx *store.Tx) error {
			_, err := tx.RevokeStaticToken(c.ID, in.ID)
			return err
		})
	}
	return nil, refuse(http.StatusNotFound, "tenant %s has no static token %q: `scimward token list` shows the ids",
		a.Tenant, in.ID)
}

// newTokenID names a static token. It is no part of the token.
func newTokenID() string { return "st-" + strings.ToLower(rand.Text()[:12]) }

// EndingToken is a static token that needs an operator.
type EndingToken struct {
	Tenant string `json:"tenant"`
	Client string `json:"client"`
	TokenStatus
}

// endingTokens returns the static tokens of all tenants that end soon, the first to end first, and how
// many more there are.
func (h *Handler) endingTokens() (out []EndingToken, more int) {
	out = []EndingToken{}
	if h.opts.Clients.Directory == nil {
		return out, 0
	}
	now := h.opts.Now()
	for _, tenant := range h.opts.Tenants() {
		for _, c := range h.opts.Clients.Directory.List(tenant) {
			for _, k := range client.Ending(c, now) {
				out = append(out, EndingToken{tenant, c.ID, tokenStatus(k, now)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b EndingToken) int { return a.Expires.Compare(b.Expires) })
	n := min(len(out), maxLeavers)
	return out[:n], len(out) - n
}
