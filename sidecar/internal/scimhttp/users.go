package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// errUnchanged ends a transaction that found nothing to do: nothing is written,
// so the version and the time of modification stay (F84). It never leaves the package.
var errUnchanged = errors.New("scimhttp: nothing to change")

// createUser serves POST /Users (B40, F30).
func (h *Handler) createUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	var made store.User
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause("user.create"), func(tx *store.Tx) error {
		made = store.User{Resource: withActive(s.Resource, true)}
		tx.Changed(slices.Sorted(maps.Keys(made.Resource))...)
		return tx.CreateUser(&made)
	})
	if err != nil {
		return fmt.Errorf("creating a user: %w", err)
	}
	made.Version = seq
	x.resource, x.seq = made.ID, uint64(seq)
	if !made.Active() {
		h.afterLock(ctx, x, made.ID)
	}
	h.answerUser(ctx, w, x, s, http.StatusCreated, &made)
	return nil
}

// withActive returns o with active set where the client said nothing (F35, F39).
func withActive(o scim.Object, active bool) scim.Object {
	out := make(scim.Object, len(o)+1)
	maps.Copy(out, o)
	if _, said := out["active"]; !said {
		out["active"] = active
	}
	return out
}

// readUser serves GET /Users/{id} (B54).
func (h *Handler) readUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	x.resource = s.ID
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(ctx, x.tenant, func(r *store.Reader) error {
		u, err := r.User(s.ID)
		if err != nil {
			return fmt.Errorf("reading user %s: %w", s.ID, err)
		}
		body, err = v.user(r, &u)
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// replaceUser serves PUT /Users/{id} (F37): what the body does not name is
// cleared, but for active, which keeps its stored value, because the default
// would let somebody back in by accident (F39).
func (h *Handler) replaceUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	return h.changeUser(ctx, w, x, s, "user.put", func(u store.User) (scim.Object, error) {
		return withActive(s.Resource, u.Active()), nil
	})
}

// patchUser serves PATCH /Users/{id} (B45, RFC 7644 §3.5.2): all operations in
// one transaction, or none (F82). An active that ends up unassigned keeps its
// stored value, as in replaceUser: only active true lets somebody back in.
func (h *Handler) patchUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	return h.changeUser(ctx, w, x, s, "user.patch", func(u store.User) (scim.Object, error) {
		o, _, failed := scim.Apply(s.Type, u.Resource, s.Ops)
		if failed != nil {
			return nil, failed
		}
		return withActive(o, u.Active()), nil
	})
}

// changeUser runs next on the stored user inside one transaction and answers with
// the result. Deactivation happens below, in store.Tx.UpdateUser, however active
// came to be false (F97). A user who is inactive and is deactivated again stays as
// is, but the store drives what is not verified yet once more (design: revocation
// §1.1 row 11).
func (h *Handler) changeUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest, action string,
	next func(store.User) (scim.Object, error),
) error {
	x.resource = s.ID
	var after store.User
	var changed bool
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause(action), func(tx *store.Tx) error {
		u, err := tx.User(s.ID)
		if err != nil {
			return fmt.Errorf("reading user %s: %w", s.ID, err)
		}
		after = u
		resource, err := next(u)
		if err != nil {
			return err
		}
		names := changedNames(u.Resource, resource)
		changed = len(names) > 0
		if !changed && (u.Active() || !speaksOfActive(s)) {
			return errUnchanged
		}
		after.Resource = resource
		tx.Changed(names...)
		return tx.UpdateUser(&after)
	})
	switch {
	case errors.Is(err, errUnchanged):
	case err != nil:
		return fmt.Errorf("changing user %s: %w", s.ID, err)
	default:
		if changed {
			after.Version, x.seq = seq, uint64(seq)
		}
		if !after.Active() {
			h.afterLock(ctx, x, s.ID)
		}
	}
	h.answerUser(ctx, w, x, s, http.StatusOK, &after)
	return nil
}

// speaksOfActive reports whether the request names active.
func speaksOfActive(s *authz.SCIMRequest) bool {
	_, put := s.Resource["active"]
	return put || slices.ContainsFunc(s.Ops, func(op scim.Op) bool { return op.Target == "active" })
}

// deleteUser serves DELETE /Users/{id} (B52, F40). It locks like a deactivation.
func (h *Handler) deleteUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	x.resource = s.ID
	seq, err := h.o.Store.Update(ctx, x.tenant, x.cause("user.delete"), func(tx *store.Tx) error {
		return tx.DeleteUser(s.ID)
	})
	if err != nil {
		return fmt.Errorf("deleting user %s: %w", s.ID, err)
	}
	x.seq = uint64(seq)
	h.afterLock(ctx, x, s.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// answerUser renders u as it was committed. Its groups are those of now; should
// they be unreadable the answer goes without them, because the change stands and
// must not be reported as refused.
func (h *Handler) answerUser(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest, status int, u *store.User) {
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(context.WithoutCancel(ctx), x.tenant, func(r *store.Reader) (err error) {
		body, err = v.user(r, u)
		return err
	})
	if err != nil {
		x.err = fmt.Errorf("rendering user %s after the change: %w", u.ID, err)
		body = v.encode(v.userFrame(u))
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", v.location(u.ID))
	}
	writeJSON(w, status, body)
}

// changedNames lists the top-level attributes in which two resources differ, sorted.
func changedNames(before, after scim.Object) []string {
	var names []string
	for name, value := range after {
		if old, ok := before[name]; !ok || !reflect.DeepEqual(old, value) {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// afterLock cuts what is still open of a locked user, and waits for it: the
// answer to a deactivation must not be faster than the deactivation.
func (h *Handler) afterLock(ctx context.Context, x *exchange, userID string) {
	if h.o.AfterLock == nil {
		return
	}
	// A client that hangs up must not save the leaver's streams.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.o.LockWait)
	defer cancel()
	h.o.AfterLock(ctx, x.tenant, userID)
	if ctx.Err() != nil {
		h.o.Logger.WarnContext(ctx, "open streams were not cut in time",
			slog.String("tenant", x.tenant), slog.String("request_id", x.id), slog.String("user", userID))
	}
}
