package admin

import (
	"cmp"
	"context"
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

// ClientRef names a client.
type ClientRef struct {
	Client string `json:"client"`
	// Issuer is the issuer of its access tokens. It is needed if two issuers have a client of this id.
	Issuer string `json:"token_issuer,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ClientRules say how a client gets access tokens. What is absent stays, or is the default.
type ClientRules struct {
	SenderConstrained    *string   `json:"sender_constrained,omitempty"`
	StrictAudience       *bool     `json:"strict_audience,omitempty"`
	Algorithms           *[]string `json:"algorithms,omitempty"`             // empty: the default
	TokenLifetime        *float64  `json:"token_lifetime_seconds,omitempty"` // 0: that of the tenant
	MaxAssertionLifetime *float64  `json:"max_assertion_lifetime_seconds,omitempty"`
}

// settings converts the rules. What no duration can be becomes negative, which no rule accepts.
func (r *ClientRules) settings() store.ClientSettings {
	span := func(seconds *float64) *time.Duration {
		if seconds == nil {
			return nil
		}
		d := time.Duration(-1)
		if *seconds >= 0 && *seconds <= maxTokenLife.Seconds() {
			d = time.Duration(*seconds * float64(time.Second))
		}
		return &d
	}
	return store.ClientSettings{
		SenderConstrained: r.SenderConstrained, StrictAudience: r.StrictAudience, Algorithms: r.Algorithms,
		TokenLifetime: span(r.TokenLifetime), MaxAssertionLifetime: span(r.MaxAssertionLifetime),
	}
}

// ClientAdd asks to add a client. Exactly one of JWKS, JWKSURI, KeyIssuer, ExternalIssuer and StaticTokens
// says how it proves itself.
type ClientAdd struct {
	ClientRef
	ClientRules
	JWKS              string   `json:"jwks,omitempty"` // the document
	JWKSURI           string   `json:"jwks_uri,omitempty"`
	KeyIssuer         string   `json:"key_issuer,omitempty"`
	ExternalIssuer    string   `json:"external_issuer,omitempty"`
	StaticTokens      bool     `json:"static_tokens,omitempty"`
	Dialects          []string `json:"dialects,omitempty"`
	RequestsPerSecond int      `json:"requests_per_second,omitempty"`
	Expires           string   `json:"expires,omitempty"` // RFC 3339
}

// ClientSet asks to change settings of a client. What is absent stays.
type ClientSet struct {
	ClientRef
	ClientRules
	Dialects          *[]string `json:"dialects,omitempty"`            // empty: those of the tenant
	RequestsPerSecond *int      `json:"requests_per_second,omitempty"` // 0: that of the tenant
	Expires           string    `json:"expires,omitempty"`             // RFC 3339, or never
}

// ClientRotate asks to replace the keys of a client.
type ClientRotate struct {
	ClientRef
	JWKS      string `json:"jwks,omitempty"`
	JWKSURI   string `json:"jwks_uri,omitempty"`
	KeyIssuer string `json:"key_issuer,omitempty"`
	EndTokens bool   `json:"end_tokens,omitempty"` // also end the access tokens that the client has
}

// optionally sets the reason of an act that does not need one.
func (a *act) optionally(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return nil
	}
	return a.because(reason)
}

// byCommand finds a client that commands may change.
func (h *Handler) byCommand(tenant string, ref ClientRef, key string) (*client.Client, error) {
	c, err := h.findClient(tenant, ref)
	if err != nil {
		return nil, err
	}
	if !c.Command {
		what := "change " + key
		if c.Proof.External != "" {
			what = "change clients of the external issuer " + c.Issuer // its clients have no keys of their own there
		}
		return nil, refuse(http.StatusConflict, "the configuration file manages client %q, so commands do not change it: "+
			"%s at tenant %s in the file, which is then loaded again", c.ID, what, tenant)
	}
	return c, nil
}

// changed runs a change of a client and describes the client after it.
func (h *Handler) changed(
	ctx context.Context, a *act, action string, ref ClientRef, do func(*store.Tx) error,
) (*ClientChanged, error) {
	out := &ClientChanged{}
	var err error
	out.Warning, err = h.opts.Clients.Change(ctx, a.Tenant, a.cause(action), do)
	if errors.Is(err, store.ErrNothingToDo) {
		out.Already, err = true, nil
	}
	if err != nil {
		return nil, h.clientError(err, a.Tenant, ref)
	}
	c, err := h.findClient(a.Tenant, ref)
	if err != nil {
		return nil, err
	}
	out.ClientStatus, err = h.clientStatus(ctx, c)
	return out, err
}

// refTo names a client exactly.
func refTo(c *client.Client) ClientRef { return ClientRef{Client: c.ID, Issuer: c.Issuer} }

// clientError says what the operator can do about a change that failed.
func (h *Handler) clientError(err error, tenant string, ref ClientRef) error {
	id := ref.Client
	switch {
	case errors.Is(err, store.ErrNotFound):
		_, gone := h.findClient(tenant, ref)
		if gone == nil {
			gone = refuse(http.StatusConflict, "client %q is not known to the store yet: try again", id)
		}
		return gone
	case errors.Is(err, store.ErrClientExists):
		return refuse(http.StatusConflict, "tenant %s has a client %q with tokens of %s already: `scimward client show %s` "+
			"shows it", tenant, id, ref.Issuer, id)
	case errors.Is(err, store.ErrManyClients):
		return refuse(http.StatusConflict, "tenant %s has as many clients as scimward keeps: delete one first", tenant)
	case errors.Is(err, store.ErrManyDeleted):
		return refuse(http.StatusConflict, "tenant %s has as many deleted clients as scimward remembers, so that their "+
			"tokens stay refused: add a client with the name of a deleted one, or wait. A deleted client is forgotten after "+
			"30 days, and after 366 if it was one of an external issuer that lists its clients. While an external issuer may "+
			"name any client, its deleted clients stay: write clients at it in the configuration file", tenant)
	case errors.Is(err, store.ErrNoKeys):
		return refuse(http.StatusConflict, "client %q has no keys here: `scimward token create --client %s` rotates a "+
			"static token, and the keys of an external issuer are in the configuration file", id, id)
	case errors.Is(err, store.ErrClientEnded):
		return refuse(http.StatusConflict, "client %q is disabled or has expired: `scimward client enable %s` first, or "+
			"`scimward client set %s --expires TIME`", id, id, id)
	}
	return fmt.Errorf("changing a client: %w", err)
}

// addClient adds a client.
func (h *Handler) addClient(ctx context.Context, a *act, in ClientAdd) (any, error) {
	t := h.opts.Clients.Directory.Tenant(a.Tenant)
	row, err := in.row(t, h.opts.Now())
	if err == nil {
		err = h.valid(a.Tenant, &row)
	}
	if err := errors.Join(a.optionally(in.Reason), err); err != nil {
		return nil, firstRefusal(err)
	}
	ref := ClientRef{Client: row.ID, Issuer: cmp.Or(row.External, t.Issuer)}
	for _, c := range h.opts.Clients.Directory.List(a.Tenant) {
		if refTo(c) == ref && !c.Command {
			return nil, refuse(http.StatusConflict, "the configuration file has a client %q: give this one another name, "+
				"or remove that one from the file first", row.ID)
		}
	}
	return h.changed(ctx, a, "client.add", ref, func(tx *store.Tx) error { return tx.AddClient(row) })
}

// valid judges the settings of a client.
func (h *Handler) valid(tenant string, c *store.Client) error {
	if err := h.opts.Clients.Valid(tenant, c); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	return nil
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
	if in.Issuer != "" {
		return c, refuse(http.StatusBadRequest, "a new client names the issuer of its tokens as external_issuer, if that is "+
			"not this authorization server")
	}
	c.Set(in.settings())
	if in.Expires != "" {
		var err error
		if c.Expires, err = endOf(in.Expires, now); err != nil {
			return c, err
		}
	}
	return c, checkProof(&c, t)
}

// endOf reads the end of a client.
func endOf(text string, now time.Time) (time.Time, error) {
	end, err := time.Parse(time.RFC3339, text)
	if err != nil || !end.After(now) {
		return time.Time{}, refuse(http.StatusBadRequest, "expires must be a time in the future, such as %s",
			now.Add(90*24*time.Hour).UTC().Format(time.RFC3339))
	}
	return end.UTC(), nil
}

// setClient changes settings of a client.
func (h *Handler) setClient(ctx context.Context, a *act, in ClientSet) (any, error) {
	c, err := h.byCommand(a.Tenant, in.ClientRef, "these settings")
	if err != nil {
		return nil, err
	}
	set := in.settings()
	set.Dialects, set.RequestsPerSecond = in.Dialects, in.RequestsPerSecond
	err = a.optionally(in.Reason)
	if in.Expires != "" {
		var end time.Time
		if in.Expires != never {
			var bad error
			end, bad = endOf(in.Expires, h.opts.Now())
			err = errors.Join(err, bad)
		}
		set.Expires = &end
	}
	switch {
	case err != nil:
		return nil, firstRefusal(err)
	case set == store.ClientSettings{}:
		return nil, refuse(http.StatusBadRequest, "say what changes, such as --dialect, --requests-per-second or --expires")
	}
	return h.changed(ctx, a, "client.set", refTo(c), func(tx *store.Tx) error {
		_, err := tx.SetClient(h.rowOf(c), set, func(after *store.Client) error { return h.valid(a.Tenant, after) })
		return err
	})
}

// checkProof checks how a client proves itself.
func checkProof(c *store.Client, t *client.Tenant) error {
	switch {
	case c.CheckProof() != nil:
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
				"configuration file first; it has: %s", c.External, t.Name, cmp.Or(strings.Join(issuers, ", "), "none"))
		}
	case !c.Static:
		return checkKeys(c.JWKS, c.JWKSURI, c.KeyIssuer)
	}
	return nil
}

// noStaticTokens says why static tokens are refused, and how to choose.
func noStaticTokens(t *client.Tenant) error {
	why, cost := "", ""
	if policies.TraitsOf(t.Profile).OAuthOnly {
		why = ": its profile asks for OAuth access tokens (rule IL1-3.2.1-oauth)"
		cost = "; the tenant then does not claim the profile " + t.Profile
	}
	return refuse(http.StatusConflict, "tenant %s refuses static tokens%s. To accept them write static_tokens: allow at "+
		"the tenant in the configuration file%s", t.Name, why, cost)
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
		c, err := h.findClient(a.Tenant, in)
		if err == nil && (disable || !c.Held()) {
			c, err = h.byCommand(a.Tenant, in, "disabled")
		}
		if err != nil {
			return nil, err
		}
		if err := a.optionally(in.Reason); err != nil {
			return nil, err
		}
		return h.changed(ctx, a, action, refTo(c), func(tx *store.Tx) error {
			_, err := tx.SetClientDisabled(h.rowOf(c), disable)
			return err
		})
	}
}

// rotateClient replaces the keys of a client.
func (h *Handler) rotateClient(ctx context.Context, a *act, in ClientRotate) (any, error) {
	c, err := h.byCommand(a.Tenant, in.ClientRef, "keys")
	if err != nil {
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
	return h.changed(ctx, a, "client.rotate", refTo(c), func(tx *store.Tx) error {
		_, err := tx.RotateClient(h.rowOf(c), jwks, in.JWKSURI, in.KeyIssuer, in.EndTokens)
		return err
	})
}

// deleteClient deletes a client. Its description is that from before.
func (h *Handler) deleteClient(ctx context.Context, a *act, in ClientRef) (any, error) {
	c, err := h.byCommand(a.Tenant, in, "identity_services")
	if err := errors.Join(err, a.optionally(in.Reason)); err != nil {
		return nil, firstRefusal(err)
	}
	out := &ClientChanged{}
	if out.ClientStatus, err = h.clientStatus(ctx, c); err != nil {
		return nil, err
	}
	out.Warning, err = h.opts.Clients.Change(ctx, a.Tenant, a.cause("client.delete"), func(tx *store.Tx) error {
		_, err := tx.DeleteClient(h.rowOf(c))
		return err
	})
	if err != nil {
		return nil, h.clientError(err, a.Tenant, refTo(c))
	}
	out.State = "deleted"
	return out, nil
}

// ClientCheck asks to check a client, and with Token also what SCIM would say to that token.
type ClientCheck struct {
	ClientRef
	Token string `json:"token,omitempty"`
}

// checkClient checks a client. It changes nothing, and leaves an audit record: it signs a token for a client
// of this authorization server, or tries the given one. No answer, record or log has the token.
func (h *Handler) checkClient(ctx context.Context, a *act, in ClientCheck) (any, error) {
	c, err := h.findClient(a.Tenant, in.ClientRef)
	if err := errors.Join(err, a.optionally(in.Reason)); err != nil {
		return nil, firstRefusal(err)
	}
	out := &ClientChecked{}
	if out.ClientStatus, err = h.clientStatus(ctx, c); err != nil {
		return nil, err
	}
	done, row := "checked", h.rowOf(c)
	switch {
	case in.Token != "":
		done = "checked with a token of the operator"
	case row.Issuer == "" && !c.Proof.Static:
		done = "checked; a token was made and thrown away"
	}
	_, err = h.opts.Store.Update(ctx, a.Tenant, a.cause("client.check"), func(tx *store.Tx) error {
		tx.AuditDone("client:"+row.String(), done)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("auditing a check: %w", err)
	}
	out.ClientTrial, err = h.opts.Clients.Check(ctx, c, in.Token)
	return out, err
}
