package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// TakenOver is an active user whom an application may refuse, because the user has a name of somebody else, mostly of
// a leaver: a credential whose age nobody knows may be the one of that person.
type TakenOver struct {
	Tenant   string    `json:"tenant"`
	User     string    `json:"user"` // SCIM id
	UserName string    `json:"user_name"`
	Since    time.Time `json:"since"`
	Names    []string  `json:"names"`     // the SCIM attributes with names of the other user
	From     string    `json:"from"`      // SCIM id of the other user
	FromLeft bool      `json:"from_left"` // the other user was deactivated or deleted
	// Apps are the applications that refuse the user because of their configuration, and those that did so since
	// the process started.
	Apps []string `json:"apps"`
	Hits int      `json:"hits"` // requests of this user that were refused since the process started
	Fix  string   `json:"fix"`
}

// takenOver returns the active users whom an application refuses because of a name of somebody else, and how many
// more there are.
func (h *Handler) takenOver(ctx context.Context, uses []LockUse) (list []TakenOver, more int, err error) {
	list = []TakenOver{}
	for _, tenant := range h.opts.Tenants() {
		for _, l := range h.opts.Store.Locks().TakenOver(tenant) {
			u := h.refusing(&l, uses)
			switch {
			case len(u.Apps) == 0:
				continue
			case len(list) == maxLeavers:
				more++
				continue
			}
			if err := h.opts.Store.View(ctx, tenant, u.complete); err != nil {
				return nil, 0, fmt.Errorf("reading user %s: %w", u.User, err)
			}
			list = append(list, u)
		}
	}
	return list, more, nil
}

// refusing describes the user of a lock, with the applications that refuse the user.
func (h *Handler) refusing(l *store.Lock, uses []LockUse) TakenOver {
	u := TakenOver{
		Tenant: l.Tenant, User: l.UserID, Since: l.Since.UTC(), Names: l.Taken, From: l.From, Apps: []string{},
	}
	if h.opts.Ageless != nil {
		u.Apps = append(u.Apps, h.opts.Ageless(l.Tenant)...)
	}
	for i := range uses {
		use := &uses[i]
		if use.Tenant != l.Tenant || use.User != l.UserID || use.Kind != string(store.LockLifted) {
			continue
		}
		u.Hits += use.Hits
		if !slices.Contains(u.Apps, use.App) {
			u.Apps = append(u.Apps, use.App)
		}
	}
	if len(u.Apps) > 0 {
		u.Fix = fmt.Sprintf("let app %s say how old a credential is (issued_header, or IssuedAt of its plugin), and the "+
			"person sign in again; `scimward explain subject --tenant %s --app %s --value NAME` checks it",
			strings.Join(u.Apps, ", "), u.Tenant, u.Apps[0])
	}
	return u
}

// complete reads what the lock does not have.
func (u *TakenOver) complete(r *store.Reader) error {
	user, err := r.User(u.User)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	u.UserName = user.UserName()
	offs, err := r.Offboardings(u.From)
	u.FromLeft = len(offs) > 0
	return err
}
