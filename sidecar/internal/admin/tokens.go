package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// NewToken is the answer to the creation of a static token, the only place that ever has it.
type NewToken struct {
	TokenStatus
	Tenant string `json:"tenant"`
	Client string `json:"client"`
	Token  string `json:"token"`
	Live   int    `json:"live_tokens"` // of the client, this one included
	// Warning says what of the change is stored and not in force yet. The token works.
	Warning string `json:"warning,omitempty"`
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

// createToken makes a static token. The answer has it, and nothing else ever does.
func (h *Handler) createToken(ctx context.Context, a *act, in TokenCreate) (any, error) {
	c, err := h.findClient(a.Tenant, in.ClientRef)
	if err := errors.Join(err, a.optionally(in.Reason)); err != nil {
		return nil, firstRefusal(err)
	}
	t := h.opts.Clients.Directory.Tenant(a.Tenant)
	life := time.Duration(in.Seconds * float64(time.Second))
	switch {
	case !t.StaticTokens:
		return nil, noStaticTokens(t)
	case !c.Proof.Static:
		return nil, refuse(http.StatusConflict, "client %q proves itself with %s and takes no static tokens: "+
			"`scimward client add NAME --static-tokens` adds a client that does", c.ID, c.Proof)
	case in.Seconds > maxTokenLife.Seconds() || life < minTokenLife:
		return nil, refuse(http.StatusBadRequest, "a static token lives one minute to 366 days: write --expires 90d")
	}
	raw, hash := token.NewStatic()
	now := h.opts.Now()
	k := store.StaticToken{ID: newTokenID(), Hash: hash, Created: now.UTC(), Expires: now.Add(life).UTC()}
	var after store.Client
	warning, err := h.opts.Clients.Change(ctx, a.Tenant, a.cause("client.token.create"), func(tx *store.Tx) (err error) {
		after, err = tx.AddStaticToken(h.rowOf(c), k)
		return err
	})
	if errors.Is(err, store.ErrTwoTokens) {
		return nil, twoTokens(after.Tokens, c.ID)
	}
	if err != nil {
		return nil, h.clientError(err, a.Tenant, refTo(c))
	}
	return NewToken{
		TokenStatus: tokenStatus(k, now), Tenant: a.Tenant, Client: c.ID, Token: raw, Live: len(after.Tokens),
		Warning: warning,
	}, nil
}

// twoTokens says which tokens a client has, the older one first.
func twoTokens(live []store.StaticToken, id string) error {
	var have []string
	for _, k := range live {
		have = append(have, fmt.Sprintf("%s (created %s)", k.ID, k.Created.UTC().Format(time.DateOnly)))
	}
	return refuse(http.StatusConflict, "client %q has two live static tokens, enough for a rotation: %s. Paste the newer "+
		"one at the provider, then end the older one with `scimward token revoke %s`; LAST USE of `scimward token list` "+
		"shows which one the provider sends",
		id, strings.Join(have, ", "), live[0].ID)
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
		return h.changed(ctx, a, "client.token.revoke", refTo(c), func(tx *store.Tx) error {
			_, err := tx.RevokeStaticToken(h.rowOf(c), in.ID)
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
