package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/store"
)

// Keys has the signing keys of the tenants. [oauth.Server] implements it.
type Keys interface {
	Keys(tenant string) ([]oauth.SigningKey, error)
	RotateKeys(ctx context.Context, tenant string, cause store.Cause) ([]oauth.SigningKey, error)
	DropKey(ctx context.Context, tenant, kid string, cause store.Cause) ([]oauth.SigningKey, error)
	KeysEncrypted() bool
}

// KeyList lists the signing keys of a tenant, the newest first.
type KeyList struct {
	Tenant string             `json:"tenant"`
	Keys   []oauth.SigningKey `json:"keys"`
}

// keyReason asks for a rotation.
type keyReason struct {
	Reason string `json:"reason"` // required
}

// keyDrop asks to drop a key.
type keyDrop struct {
	KeyID  string `json:"kid"`
	Reason string `json:"reason"` // required
}

func (h *Handler) keys(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	keys, err := h.opts.Keys.Keys(tenant)
	if err != nil { // the configuration has just changed
		problem(w, http.StatusServiceUnavailable, "the keys could not be read; try again", nil)
		return
	}
	h.write(w, r, http.StatusOK, KeyList{tenant, keys})
}

func (h *Handler) rotateKeys(ctx context.Context, a *act, in keyReason) (any, error) {
	if err := a.because(in.Reason); err != nil {
		return nil, err
	}
	keys, err := h.opts.Keys.RotateKeys(ctx, a.Tenant, a.cause("oauth.key.rotate"))
	if err != nil {
		return nil, err //nolint:wrapcheck // answer logs it
	}
	return KeyList{a.Tenant, keys}, nil
}

func (h *Handler) dropKey(ctx context.Context, a *act, in keyDrop) (any, error) {
	if err := a.because(in.Reason); err != nil {
		return nil, err
	}
	keys, err := h.opts.Keys.DropKey(ctx, a.Tenant, in.KeyID, a.cause("oauth.key.drop"))
	if errors.Is(err, oauth.ErrNoKey) {
		return nil, refuse(http.StatusNotFound, "tenant %s has no signing key %q: `scimward keys list` shows them",
			a.Tenant, in.KeyID)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // answer logs it
	}
	return KeyList{a.Tenant, keys}, nil
}
