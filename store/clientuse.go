package store

import (
	"context"
	"errors"
	"time"
)

// ClientUse is the last use of an OAuth client, for operators.
type ClientUse struct {
	Issuer   string `json:",omitempty"` // with ID, the name of the client
	ID       string
	LastUsed time.Time
	LastKey  string               // kid of the last accepted assertion
	Tokens   map[string]time.Time `json:",omitempty"` // last use of its static tokens, by id
}

func (u *ClientUse) name() ClientName { return ClientName{u.Issuer, u.ID} }

// ClientUse returns the last use of a client, zero before the first.
func (r *Reader) ClientUse(name ClientName) (ClientUse, error) {
	u := ClientUse{Issuer: name.Issuer, ID: name.ID}
	_, err := r.row(name.key(kindClientUse, r.tenant), &u)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return u, err
}

// UseClient remembers that a client with keys got an access token.
func (t *Tx) UseClient(u ClientUse) error {
	if u.ID == "" {
		return errClientWithout
	}
	t.putRow(u.name().key(kindClientUse, t.tenant), &u)
	t.note("client:"+u.name().String(), "")
	return nil
}

// RememberUses writes the last uses of clients, without an audit record: nothing depends on them. A
// later use that the store has stays.
func (s *Store) RememberUses(ctx context.Context, tenant string, uses []ClientUse) error {
	_, err := s.update(ctx, tenant, Cause{}, func(t *Tx) error {
		for i := range uses {
			if err := t.rememberUse(uses[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

func (t *Tx) rememberUse(u ClientUse) error {
	old, err := t.ClientUse(u.name())
	if err != nil {
		return err
	}
	c, err := t.Client(u.name())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	now := ClientUse{Issuer: u.Issuer, ID: u.ID, LastUsed: latest(u.LastUsed, old.LastUsed), LastKey: old.LastKey}
	for _, k := range c.Tokens { // those of ended tokens go
		if at := latest(u.Tokens[k.ID], old.Tokens[k.ID]); !at.IsZero() {
			if now.Tokens == nil {
				now.Tokens = map[string]time.Time{}
			}
			now.Tokens[k.ID] = at
		}
	}
	t.putRow(u.name().key(kindClientUse, t.tenant), &now)
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
