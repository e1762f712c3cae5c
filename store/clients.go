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

// A client has two rows, both under its [ClientName]. The one of kindClient says what the client is and
// whether it may act. Every change in the name of a client reads it, so that no change of a disabled client
// commits after the command that disabled it. The one of kindClientUse remembers its last use, and nothing
// depends on it.
//
// A deleted client leaves its row behind, as a tombstone: a token from before the deletion stays refused
// when a client of the same name is added again. [Tx.sweepClients] says when a tombstone goes.

// ClientName names a client of a tenant. Two issuers may give two clients the same id.
type ClientName struct {
	Issuer string // of its access tokens; empty is the tenant's own authorization server
	ID     string // client id; empty is every client that the issuer names
}

// String returns the name for people and for the audit trail.
func (n ClientName) String() string {
	switch {
	case n.Issuer == "":
		return n.ID
	case n.ID == "":
		return "every client of " + n.Issuer
	}
	return n.ID + " of " + n.Issuer
}

func (n ClientName) key(kind byte, tenant string) []byte { return key(kind, tenant, n.Issuer, n.ID) }

// Client is an OAuth client of a tenant, as operators administer it. A row with File has only the state
// of a client that the configuration file defines.
type Client struct {
	ID   string // client id; empty for every client of an external issuer, which only the file can name
	File bool   // the configuration file defines it

	// How it proves itself, exactly one unless File: a key set, the URL of one, the issuer whose metadata
	// names one, an external issuer of its access tokens, or static tokens only. External is a part of its
	// name, also with File.
	JWKS      []byte `json:",omitempty"`
	JWKSURI   string `json:",omitempty"`
	KeyIssuer string `json:",omitempty"`
	External  string `json:",omitempty"`
	Static    bool   `json:",omitempty"`

	ClientRules
	Dialects          []string  `json:",omitempty"` // empty: those of the tenant
	RequestsPerSecond int       `json:",omitempty"` // zero: that of the tenant
	Expires           time.Time // zero: never
	Disabled          bool
	Deleted           time.Time // zero while the client exists
	// Orphaned says that a command made the client, and the configuration file lacks its external issuer.
	Orphaned bool `json:",omitempty"`
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

// ClientRules say how a client gets access tokens, and what they are. Each zero value is the default of
// the configuration file.
type ClientRules struct {
	SenderConstrained    string        `json:",omitempty"`
	StrictAudience       bool          `json:",omitempty"`
	Algorithms           []string      `json:",omitempty"`
	TokenLifetime        time.Duration `json:",omitempty"`
	MaxAssertionLifetime time.Duration `json:",omitempty"`
}

// Name returns the name of the client.
func (c *Client) Name() ClientName { return ClientName{c.External, c.ID} }

// CheckProof returns ErrClientProof unless the client proves itself in exactly one way.
func (c *Client) CheckProof() error {
	proofs := 0
	for _, one := range []bool{len(c.JWKS) > 0, c.JWKSURI != "", c.KeyIssuer != "", c.External != "", c.Static} {
		if one {
			proofs++
		}
	}
	if proofs != 1 {
		return ErrClientProof
	}
	return nil
}

// Exists reports whether the client was not deleted.
func (c *Client) Exists() bool { return c.Deleted.IsZero() }

// Usable reports whether the client may act at now.
func (c *Client) Usable(now time.Time) bool {
	return c.Exists() && !c.Disabled && !c.expired(now)
}

func (c *Client) expired(now time.Time) bool { return !c.Expires.IsZero() && !now.Before(c.Expires) }

// setExpires moves the end of the client. The tokens of a client that had expired stay refused.
func (c *Client) setExpires(end, now time.Time) {
	if c.expired(now) {
		c.endTokens(now)
	}
	c.Expires = end
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
// next NotBefore is later than the last one, also within one second. The clock of an external issuer may be ahead,
// so the iat of a token that it has issued until now may be too.
func (c *Client) endTokens(now time.Time) {
	next := now.Truncate(time.Second).Add(time.Second)
	if c.External != "" {
		next = next.Add(IssuerAhead)
	}
	if !next.After(c.NotBefore) {
		next = c.NotBefore.Add(time.Second)
	}
	c.remember(now, c.Tokens...)
	c.NotBefore, c.Tokens = next, nil
}

// IssuerAhead is how far the iat of an external issuer's access token may be in the future. After its client was
// enabled again, tokens that the issuer makes within this time are refused too.
const IssuerAhead = 30 * time.Second

// The bounds of a tenant's clients.
const (
	maxClients    = 200 // that exist
	maxTombstones = 500 // of deleted ones
	maxTokens     = 2   // live static tokens of a client
)

// The refusals of changes of clients.
var (
	ErrClientEnded  = errors.New("store: the client is disabled, deleted or expired")
	ErrClientExists = errors.New("store: the tenant has a client of this name")
	ErrClientInFile = errors.New("store: the configuration file manages the client")
	ErrClientProof  = errors.New("store: a client proves itself in exactly one way")
	ErrManyClients  = errors.New("store: the tenant has 200 clients: delete one that is not needed")
	ErrManyDeleted  = errors.New("store: the tenant has 500 deleted clients whose tokens may still live")
	ErrTwoTokens    = errors.New("store: the client has two live static tokens")
	ErrNotStatic    = errors.New("store: the client takes no static tokens")
	ErrNoToken      = errors.New("store: the client has no such static token")
	ErrNoKeys       = errors.New("store: the client has no keys to replace")
	ErrNothingToDo  = errors.New("store: the client is in this state already")

	errClientWithout = errors.New("store: a client needs an id")
)

// Client returns the row of a client, ErrNotFound when there is none and there never was one. A deleted
// client is found: see [Client.Exists].
func (r *Reader) Client(name ClientName) (Client, error) {
	var c Client
	seq, err := r.row(name.key(kindClient, r.tenant), &c)
	c.Version = seq
	return c, err
}

// Clients returns every row of a client, also those of deleted ones, in the order of
// issuers and ids.
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

// checkClient refuses a change in the name of a client that may not act any more, and one with a token that has
// ended. A client without a row may act, unless the row for every client of its issuer says otherwise: the caller
// has verified its token. Only rows know static tokens.
func (t *Tx) checkClient() error {
	if t.cause.ClientID == "" || t.refused {
		return nil
	}
	name := ClientName{t.cause.Issuer, t.cause.ClientID}
	if name.Issuer == t.options.Issuer {
		name.Issuer = ""
	}
	c, err := t.Client(name)
	if errors.Is(err, ErrNotFound) && name.Issuer != "" {
		c, err = t.Client(ClientName{Issuer: name.Issuer})
	}
	known := func(k StaticToken) bool { return k.ID == t.cause.JTI }
	switch {
	case errors.Is(err, ErrNotFound) && !t.cause.Static:
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case err != nil, !c.Usable(t.now),
		t.cause.Static && !slices.ContainsFunc(c.Live(t.now), known),
		!t.cause.Static && !t.cause.Issued.IsZero() && t.cause.Issued.Before(c.NotBefore):
		return ErrClientEnded
	}
	return nil
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
					c.Type, c.Issuer, c.ID, c.Client = ChangeClient, d.Parts[0], d.Parts[1], &Client{}
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
