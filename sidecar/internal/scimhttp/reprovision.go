package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// actionReactivate is the action of a POST that reactivated a user.
const actionReactivate = "user.reactivate"

// create adds the user of a POST, or reactivates the inactive user whom it means.
//
// RFC 7644 §3.3 answers a userName that exists with 409. Identity services assign a person again by POST, so a
// tenant may choose otherwise for an inactive user with the same userName and externalId. Everything that
// changes an existing user applies: the attributes replace those of the user as PUT does, the rules judge
// the result, an operator's lock stays, and no revoked credential comes back.
func (h *Handler) create(ctx context.Context, tx *store.Tx, x *exchange) (store.User, error) {
	u := store.User{Resource: withActive(x.scim.Resource, true)}
	reactivate := h.opts.Reactivates(x.Tenant)
	if reactivate {
		former, err := formerOf(tx, &u)
		if err != nil {
			return u, err
		}
		if former.ID != "" {
			tx.Acted(actionReactivate)
			return h.reprovision(ctx, tx, x, former, u.Resource)
		}
	}
	if err := h.decideLate(ctx, x, tx, nil, u.Resource); err != nil {
		return u, err
	}
	tx.Changed(slices.Sorted(maps.Keys(u.Resource))...)
	err := tx.CreateUser(&u)
	if taken := (*store.UniquenessError)(nil); !reactivate && errors.As(err, &taken) {
		if former, _ := formerOf(tx, &u); former.ID != "" {
			return u, &answerError{
				Status: http.StatusConflict, Type: scim.TypeUniqueness, Reason: "uniqueness",
				Detail: "this user exists and is inactive: activate the user by PATCH, or set " +
					"tenants[].reprovision: reactivate",
			}
		}
	}
	return u, err
}

// formerOf returns the inactive user with the userName and the externalId of a user who shall be active. Its
// ID is empty if there is none.
func formerOf(tx *store.Tx, u *store.User) (former store.User, err error) {
	external := u.Resource.String("externalId")
	if !u.Active() || external == "" {
		return store.User{}, nil
	}
	ids, err := tx.UserIDs("userName", u.Resource.String("userName"))
	if err != nil || len(ids) != 1 {
		return store.User{}, err
	}
	if former, err = tx.User(ids[0]); err != nil {
		return store.User{}, fmt.Errorf("reading user %s: %w", ids[0], err)
	}
	if former.Active() || former.Resource.String("externalId") != external {
		return store.User{}, nil
	}
	return former, nil
}

func (h *Handler) reprovision(ctx context.Context, tx *store.Tx, x *exchange, u store.User, o scim.Object) (
	store.User, error,
) {
	x.resource = u.ID // also of a refusal
	stored := u.Resource
	u.Resource = o
	if err := h.decideResult(ctx, x, tx, stored, o); err != nil {
		return u, err
	}
	_, err := tx.UpdateUser(&u)
	return u, err
}
