package scimhttp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// createUser serves POST /Users (RFC 7644 §3.3). It answers 201 for a reactivated user too: clients know no
// other success of a POST, and the user whom they asked for exists now.
func (h *Handler) createUser(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	if err := x.pre.created(); err != nil {
		return err
	}
	var made store.User
	var locks bool
	seq, err := h.update(ctx, x, func(tx *store.Tx) (err error) {
		made, err = h.create(ctx, tx, x)
		locks, x.taken = tx.LocksSomebody(), tx.TakenOver()
		return err
	})
	if err != nil {
		return fmt.Errorf("creating a user: %w", err)
	}
	made.Version = seq
	x.resource, x.seq = made.ID, uint64(seq)
	if locks {
		h.afterLock(ctx, x, made.ID)
	}
	h.answerUser(ctx, w, x, http.StatusCreated, &made)
	return nil
}

// withActive returns a copy of o that has active: its own value, or else the given one.
func withActive(o scim.Object, active bool) scim.Object {
	out := make(scim.Object, len(o)+1)
	maps.Copy(out, o)
	if _, there := out["active"]; !there {
		out["active"] = active
	}
	return out
}

// readUser serves GET /Users/{id} (RFC 7644 §3.4.1).
func (h *Handler) readUser(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	x.resource = x.scim.ID
	v := h.renderer(x)
	a, err := render(ctx, h, x, func(r *store.Reader) (rendered, error) {
		u, err := r.User(x.scim.ID)
		if err != nil {
			return rendered{}, fmt.Errorf("reading user %s: %w", x.scim.ID, err)
		}
		return v.user(r, &u)
	})
	if err != nil {
		return err
	}
	return a.writeRead(w, x.pre)
}

// replaceUser serves PUT /Users/{id} (RFC 7644 §3.5.1). It clears the attributes that the body
// omits, except active. The default true would unlock a user by accident, so the stored value
// stays. An active of null is false.
func (h *Handler) replaceUser(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	return h.changeUser(ctx, w, x, func(u store.User) (scim.Object, error) {
		return withActive(x.scim.Resource, u.Active()), nil
	})
}

// patchUser serves PATCH /Users/{id} (RFC 7644 §3.5.2). All operations take effect in one
// transaction, or none does. A removed active is false (package scim), and one that no operation
// names keeps its stored value. Only active true unlocks a user.
func (h *Handler) patchUser(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	return h.changeUser(ctx, w, x, func(u store.User) (scim.Object, error) {
		applied, failed := scim.Apply(x.scim.Type, u.Resource, x.scim.Ops)
		if failed != nil {
			return nil, failed
		}
		x.note(applied.Found)
		return withActive(applied.Resource, u.Active()), nil
	})
}

// changeUser runs next on the stored user in one transaction and answers with the result.
// store.Tx.UpdateUser decides what changed, and deactivates the user when active becomes false. If
// a request names active and leaves an inactive user unchanged, the store retries the unverified
// jobs.
func (h *Handler) changeUser(ctx context.Context, w http.ResponseWriter, x *exchange,
	next func(store.User) (scim.Object, error),
) error {
	x.resource = x.scim.ID
	var after store.User
	var changed, retried, locks bool
	seq, err := h.update(ctx, x, func(tx *store.Tx) error {
		var err error
		if after, err = tx.User(x.scim.ID); err != nil {
			return fmt.Errorf("reading user %s: %w", x.scim.ID, err)
		}
		if err := x.pre.written(after.Version); err != nil {
			return err
		}
		stored := after.Resource
		if after.Resource, err = next(after); err != nil {
			return err
		}
		if err := h.decideResult(ctx, x, tx, stored, after.Resource); err != nil {
			return err
		}
		names, err := tx.UpdateUser(&after)
		if err != nil {
			return err
		}
		locks, x.taken = tx.LocksSomebody(), tx.TakenOver()
		changed = len(names) > 0
		if retried = !changed && !after.Active() && x.namesActive(); retried {
			return tx.RetryJobs(x.scim.ID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("changing user %s: %w", x.scim.ID, err)
	}
	if changed {
		after.Version, x.seq = seq, uint64(seq)
	}
	if locks || !after.Active() && (changed || retried) {
		h.afterLock(ctx, x, x.scim.ID)
	}
	h.answerUser(ctx, w, x, http.StatusOK, &after)
	return nil
}

// namesActive reports whether the request sets or removes active.
func (x *exchange) namesActive() bool {
	_, put := x.scim.Resource["active"]
	return put || slices.ContainsFunc(x.scim.Ops, func(op scim.Op) bool { return op.Target == "active" })
}

// deleteUser serves DELETE /Users/{id} (RFC 7644 §3.6). It locks the user like a deactivation. A hold of the
// policy changes nothing of that and not the answer.
func (h *Handler) deleteUser(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	if err := h.remove(ctx, x, func(tx *store.Tx, id string) error {
		u, err := tx.User(id)
		if err != nil {
			return fmt.Errorf("reading user %s: %w", id, err)
		}
		if err := x.pre.written(u.Version); err != nil {
			return err
		}
		if err := h.decideLate(ctx, x, tx, u.Resource, nil); err != nil {
			return err
		}
		if held := x.decision.Hold; held != nil {
			return tx.DeleteUserHolding(id, store.Hold{Rule: held.Rule, Message: held.Message})
		}
		return tx.DeleteUser(id)
	}); err != nil {
		return err
	}
	h.afterLock(ctx, x, x.scim.ID)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) remove(ctx context.Context, x *exchange, del func(tx *store.Tx, id string) error) error {
	x.resource = x.scim.ID
	seq, err := h.update(ctx, x, func(tx *store.Tx) error { return del(tx, x.scim.ID) })
	if err != nil {
		return fmt.Errorf("deleting %s: %w", x.scim.ID, err)
	}
	x.seq = uint64(seq)
	return nil
}

// answerUser renders u as committed, with its present groups. If the groups cannot be read, the
// answer omits them. The change is durable, so the answer reports success.
func (h *Handler) answerUser(ctx context.Context, w http.ResponseWriter, x *exchange, status int, u *store.User) {
	v := h.renderer(x)
	a, err := render(context.WithoutCancel(ctx), h, x, func(r *store.Reader) (rendered, error) { return v.user(r, u) })
	if err != nil {
		x.err = fmt.Errorf("rendering user %s after the change: %w", u.ID, err)
		a = rendered{v.encode(v.userFrame(u)), tagOf(u.Version)}
	}
	v.writeChanged(w, status, u.ID, a)
}

// afterLock ends the open streams of locked users and waits for their end, because the answer to a
// deactivation means that it is complete. A lock may also follow a person to a new name, or be an
// operator's lock of a name that the user got.
func (h *Handler) afterLock(ctx context.Context, x *exchange, userID string) {
	if h.opts.AfterLock == nil {
		return
	}
	// The streams must end even if the client of this request disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.bounds.LockWait)
	defer cancel()
	h.opts.AfterLock(ctx, x.Tenant, userID)
	if ctx.Err() != nil {
		h.opts.Logger.WarnContext(ctx, "open streams did not end in time",
			slog.String("tenant", x.Tenant), slog.String("request_id", x.ID), slog.String("user", userID))
	}
}
