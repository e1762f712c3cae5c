package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
)

// A client has two rows. The one of kindClient says what the client is and whether it may act. Every
// change in the name of a client reads it, so that no change of a disabled client commits after the
// command that disabled it. The one of kindClientUse remembers its last use, and nothing depends on it.
//
// A deleted client leaves its row behind, as a tombstone: a token from before the deletion stays refused
// when a client of the same name is added again.

// Client is an OAuth client of a tenant, as operators administer it. A row with File has only the state
// of a client that the configuration file defines.
type Client struct {
	ID   string // client id, unique in the tenant
	File bool   // the configuration file defines it

	// How it proves itself, exactly one unless File: a key set, the URL of one, the issuer whose metadata
	// names one, an external issuer of its access tokens, or static tokens only.
	JWKS      []byte `json:",omitempty"`
	JWKSURI   string `json:",omitempty"`
	KeyIssuer string `json:",omitempty"`
	External  string `json:",omitempty"`
	Static    bool   `json:",omitempty"`

	Dialects          []string  `json:",omitempty"` // empty: those of the tenant
	RequestsPerSecond int       `json:",omitempty"` // zero: that of the tenant
	Expires           time.Time // zero: never
	Disabled          bool
	Deleted           time.Time // zero while the client exists
	// NotBefore refuses access tokens that were issued earlier. It is a whole second, because iat is one.
	NotBefore time.Time
	Tokens    []StaticToken `json:",omitempty"`
	Ended     []EndedToken  `json:",omitempty"` // of Tokens, the last ones that were ended early
	Created   time.Time
	Modified  time.Time
	Version   Seq
}

// StaticToken is a token that an operator created for a client. The store has its hash only.
type StaticToken struct {
	ID      string // names it in commands, logs and the audit trail
	Hash    [sha256.Size]byte
	Created time.Time
	Expires time.Time
}

// Exists reports whether the client was not deleted.
func (c *Client) Exists() bool { return c.Deleted.IsZero() }

// Usable reports whether the client may act at now.
func (c *Client) Usable(now time.Time) bool {
	return c.Exists() && !c.Disabled && (c.Expires.IsZero() || now.Before(c.Expires))
}

// state is what a client is, for people.
func (c *Client) state() string {
	switch {
	case !c.Exists():
		return "deleted"
	case c.Disabled:
		return "disabled"
	}
	return "changed"
}

// Live returns the tokens that have not expired.
func (c *Client) Live(now time.Time) []StaticToken {
	return slices.DeleteFunc(slices.Clone(c.Tokens), func(t StaticToken) bool { return !now.Before(t.Expires) })
}

// endTokens refuses every token that was issued until now. iat has no fraction, so a token that is issued
// in the same second would be refused too: the authorization server dates it to NotBefore. That is why the
// next NotBefore is later than the last one, also within one second.
func (c *Client) endTokens(now time.Time) {
	next := now.Truncate(time.Second).Add(time.Second)
	if !next.After(c.NotBefore) {
		next = c.NotBefore.Add(time.Second)
	}
	c.remember(now, c.Tokens...)
	c.NotBefore, c.Tokens = next, nil
}

// The bounds of a tenant's clients.
const (
	maxClients    = 200 // that exist
	maxTombstones = 500 // of deleted ones
	// keepTombstone is longer than the longest lifetime of an access token.
	keepTombstone = 366 * 24 * time.Hour
	maxTokens     = 2 // live static tokens of a client
)

// The refusals of changes of clients.
var (
	ErrClientEnded  = errors.New("store: the client is disabled, deleted or expired")
	ErrClientExists = errors.New("store: the tenant has a client of this name")
	ErrClientInFile = errors.New("store: the configuration file manages the client")
	ErrNameRefused  = errors.New("store: a deleted client of an external issuer has this name, which keeps it refused")
	ErrManyClients  = errors.New("store: the tenant has 200 clients: delete one that is not needed")
	ErrManyDeleted  = errors.New("store: the tenant has 500 deleted clients whose tokens may still live")
	ErrTwoTokens    = errors.New("store: the client has two live static tokens")
	ErrNotStatic    = errors.New("store: the client takes no static tokens")
	ErrNoToken      = errors.New("store: the client has no such static token")
	ErrNoKeys       = errors.New("store: the client has no keys to replace")
	ErrNothingToDo  = errors.New("store: the client is in this state already")

	errClientProof   = errors.New("store: a client proves itself in exactly one way")
	errClientWithout = errors.New("store: a client needs an id")
)

// Client returns the row of a client, ErrNotFound when there is none and there never was one. A deleted
// client is found: see [Client.Exists].
func (r *Reader) Client(id string) (Client, error) {
	var c Client
	seq, err := r.row(key(kindClient, r.tenant, id), &c)
	c.Version = seq
	return c, err
}

// Clients returns every row of a client, also those of deleted ones, in the order of ids.
func (r *Reader) Clients() ([]Client, error) {
	var out []Client
	err := r.snap.Scan(key(kindClient, r.tenant), nil, true, func(e machine.Entry) (bool, error) {
		var c Client
		err := decodeRow(e.Value, &c)
		c.Version = e.Version
		out = append(out, c)
		return true, err
	})
	return out, err
}

// checkClient refuses a change in the name of a client that may not act any more. A client without a row
// may act: the caller has verified its token.
func (t *Tx) checkClient() error {
	if t.cause.ClientID == "" || t.refused {
		return nil
	}
	c, err := t.Client(t.cause.ClientID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	issuer := t.cause.Issuer
	if issuer == t.options.Issuer {
		issuer = ""
	}
	if issuer == c.External && !c.Usable(t.now) {
		return ErrClientEnded
	}
	return nil
}

// existing returns a client that exists and that commands may change.
func (t *Tx) existing(id string) (Client, error) {
	c, err := t.Client(id)
	switch {
	case err != nil:
		return c, err
	case !c.Exists():
		return c, ErrNotFound
	case c.File:
		return c, ErrClientInFile
	}
	return c, nil
}

func (t *Tx) putClient(c *Client, detail string) {
	c.Version, c.Modified = 0, t.now
	t.putRow(key(kindClient, t.tenant, c.ID), c)
	kept := *c
	t.change(ChangeClient, c.ID, nil)
	t.changes[len(t.changes)-1].Client = &kept
	t.note("client:"+c.ID, detail)
}

// AddClient adds a client that commands manage.
func (t *Tx) AddClient(c Client) error {
	proofs := 0
	for _, one := range []bool{len(c.JWKS) > 0, c.JWKSURI != "", c.KeyIssuer != "", c.External != "", c.Static} {
		if one {
			proofs++
		}
	}
	switch {
	case c.ID == "":
		return errClientWithout
	case proofs != 1:
		return errClientProof
	}
	all, err := t.Clients()
	if err != nil {
		return err
	}
	c.File, c.Disabled, c.Deleted, c.NotBefore, c.Created = false, false, time.Time{}, time.Time{}, t.now
	c.Tokens, c.Ended = nil, nil
	exist, dead := 0, 0
	for i := range all {
		old := &all[i]
		switch {
		case old.ID == c.ID && old.Exists():
			return ErrClientExists
		case old.ID == c.ID && old.External != "" && old.External != c.External:
			return ErrNameRefused // the row is all that refuses the tokens of that one
		case old.ID == c.ID:
			c.NotBefore, c.Ended = old.NotBefore, old.Ended
			c.endTokens(t.now)
		case old.Exists():
			exist++
		case old.External == "" && t.now.Sub(old.Deleted) > keepTombstone:
			t.w.Delete(key(kindClient, t.tenant, old.ID))
		default:
			dead++
		}
	}
	if exist >= maxClients {
		return ErrManyClients
	}
	if dead > maxTombstones {
		return ErrManyDeleted
	}
	t.putClient(&c, "added")
	return nil
}

// SetClientDisabled disables or enables a client. A client that is enabled again needs new access
// tokens; its static tokens are gone.
func (t *Tx) SetClientDisabled(id string, disabled bool) (Client, error) {
	c, err := t.existing(id)
	if err != nil {
		return c, err
	}
	if c.Disabled == disabled {
		return c, ErrNothingToDo
	}
	c.Disabled = disabled
	c.endTokens(t.now)
	t.putClient(&c, switchedText(disabled))
	return c, nil
}

// DeleteClient deletes a client and ends its tokens for ever.
func (t *Tx) DeleteClient(id string) (Client, error) {
	c, err := t.existing(id)
	if err != nil {
		return c, err
	}
	c.Deleted = t.now
	c.endTokens(t.now)
	t.putClient(&c, "deleted")
	return c, nil
}

// RotateClient replaces the source of a client's public keys. With end it also ends the access tokens
// that the client has.
func (t *Tx) RotateClient(id string, jwks []byte, jwksURI, keyIssuer string, end bool) (Client, error) {
	c, err := t.existing(id)
	switch {
	case err != nil:
		return c, err
	case c.Static || c.External != "":
		return c, ErrNoKeys
	}
	c.JWKS, c.JWKSURI, c.KeyIssuer = jwks, jwksURI, keyIssuer
	detail := "keys replaced"
	if end {
		c.endTokens(t.now)
		detail += ", its access tokens ended"
	}
	t.putClient(&c, detail)
	return c, nil
}

// AddStaticToken gives a client a static token. A client of the configuration file may have one too, because
// the file cannot: the caller says whether it takes any. Expired tokens make room.
func (t *Tx) AddStaticToken(id string, k StaticToken) (Client, error) {
	c, err := t.Client(id)
	switch {
	case err != nil:
		return c, err
	case !c.Exists():
		return c, ErrNotFound
	case !c.File && !c.Static:
		return c, ErrNotStatic
	case !c.Usable(t.now):
		return c, ErrClientEnded
	}
	c.Tokens = c.Live(t.now)
	if len(c.Tokens) >= maxTokens {
		return c, ErrTwoTokens
	}
	c.Tokens = append(c.Tokens, k)
	t.putClient(&c, fmt.Sprintf("static token %s created, expires %s", k.ID, k.Expires.UTC().Format(time.RFC3339)))
	return c, nil
}

// RevokeStaticToken ends a static token.
func (t *Tx) RevokeStaticToken(id, token string) (Client, error) {
	c, err := t.Client(id)
	if err != nil {
		return c, err
	}
	i := slices.IndexFunc(c.Tokens, func(k StaticToken) bool { return k.ID == token })
	if i < 0 {
		return c, ErrNoToken
	}
	c.remember(t.now, c.Tokens[i])
	c.Tokens = slices.Delete(slices.Clone(c.Tokens), i, i+1)
	t.putClient(&c, "static token "+token+" revoked")
	return c, nil
}

// SetFileClients compares the rows with the clients that the configuration file names, of which ID, Expires
// and Disabled count. A client that left the file is deleted, and one that comes back needs new tokens, as
// after it was disabled. A client of a command that the file now names belongs to the file, and its tokens
// end.
func (t *Tx) SetFileClients(named []Client) error {
	all, err := t.Clients()
	if err != nil {
		return err
	}
	rows := map[string]*Client{}
	for i := range all {
		rows[all[i].ID] = &all[i]
		in := func(n Client) bool { return n.ID == all[i].ID }
		if c := &all[i]; c.File && c.Exists() && !slices.ContainsFunc(named, in) {
			c.Deleted = t.now
			c.endTokens(t.now)
			t.putClient(c, "not in the configuration file any more: deleted")
		}
	}
	for i := range named {
		if c, detail := t.fileClient(&named[i], rows[named[i].ID]); c != nil {
			t.putClient(c, detail)
		}
	}
	return nil
}

// fileClient returns the row of a client of the configuration file, and what changes, nil if nothing does.
func (t *Tx) fileClient(n, old *Client) (*Client, string) {
	c := &Client{ID: n.ID, File: true, Disabled: n.Disabled, Expires: n.Expires, Created: t.now}
	switch {
	case old == nil:
		return c, "in the configuration file"
	case !old.File && old.External != "":
		// The row is about tokens of another issuer, and refuses them once that client is deleted. So the client
		// of the file goes without a row.
		return nil, ""
	case !old.File || !old.Exists():
		c.NotBefore, c.Tokens, c.Ended = old.NotBefore, old.Tokens, old.Ended
		c.endTokens(t.now)
		return c, "in the configuration file, in place of a client of this name; the tokens of that one end"
	case old.Disabled == n.Disabled && old.Expires.Equal(n.Expires):
		return nil, ""
	}
	kept := *old
	kept.Expires = n.Expires
	if kept.Disabled != n.Disabled {
		kept.Disabled = n.Disabled
		kept.endTokens(t.now)
		return &kept, switchedText(n.Disabled) + " by the configuration file"
	}
	return &kept, "its end changed in the configuration file"
}

func switchedText(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

// EachClient calls fn for the rows of all clients and pauses of all tenants, as changes. A tenant that
// the options do not have is included.
func (s *Store) EachClient(ctx context.Context, fn func(Change)) error {
	return s.m.View(ctx, func(snap *machine.Snapshot) error {
		for _, kind := range []byte{kindClient, kindPause} {
			err := snap.Scan([]byte{kind}, nil, true, func(e machine.Entry) (bool, error) {
				d, err := DecodeKey(bytes.Clone(e.Key))
				if err != nil {
					return false, err
				}
				c := Change{Seq: e.Version, Tenant: d.Tenant, Type: ChangePause}
				if kind == kindPause {
					c.Pause = &Pause{}
					err = decodeRow(e.Value, c.Pause)
				} else {
					c.Type, c.ID, c.Client = ChangeClient, d.Parts[0], &Client{}
					err = decodeRow(e.Value, c.Client)
				}
				if err == nil {
					fn(c)
				}
				return true, err
			})
			if err != nil {
				return fmt.Errorf("reading the clients: %w", err)
			}
		}
		return nil
	})
}
