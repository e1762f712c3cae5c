package store

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// existing returns a client that exists and that commands may change.
func (t *Tx) existing(name ClientName) (Client, error) {
	c, err := t.Client(name)
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

// putClient writes a row. It reads the row first: a scan adds no precondition.
func (t *Tx) putClient(c *Client, detail string) {
	name := c.Name()
	if _, err := t.Client(name); err != nil && !errors.Is(err, ErrNotFound) {
		t.err = errors.Join(t.err, err)
	}
	c.Version, c.Modified = 0, t.now
	t.putRow(name.key(kindClient, t.tenant), c)
	kept := *c
	t.feed(Change{Type: ChangeClient, Issuer: name.Issuer, ID: name.ID, Client: &kept})
	t.note("client:"+name.String(), detail)
}

// AddClient adds a client that commands manage.
func (t *Tx) AddClient(c Client) error {
	if c.ID == "" {
		return errClientWithout
	}
	if err := c.CheckProof(); err != nil {
		return err
	}
	all, err := t.Clients()
	if err != nil {
		return err
	}
	all = t.sweepClients(all)
	c.File, c.Disabled, c.Deleted, c.NotBefore, c.Created = false, false, time.Time{}, time.Time{}, t.now
	c.Tokens, c.Ended = nil, nil
	exist, dead, again := 0, 0, false
	every := ClientName{Issuer: c.External}
	for i := range all {
		old := &all[i]
		switch named := old.Name() == c.Name(); {
		case named && old.Exists():
			return ErrClientExists
		case named:
			again = true
			c.NotBefore, c.Ended = old.NotBefore, old.Ended
			c.endTokens(t.now)
		case !old.Exists() && old.Name() == every && !again:
			c.endTokens(t.now) // it may have had tokens while the file named every client of the issuer
			dead++
		case !old.Exists():
			dead++
		case old.ID != "":
			exist++
		}
	}
	switch {
	case exist >= maxClients:
		return ErrManyClients
	case dead >= maxTombstones && !again:
		return ErrManyDeleted
	}
	t.putClient(&c, "added")
	return nil
}

// SetClientDisabled disables or enables a client. A client that is enabled again needs new access
// tokens; its static tokens are gone.
func (t *Tx) SetClientDisabled(name ClientName, disabled bool) (Client, error) {
	c, err := t.existing(name)
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
func (t *Tx) DeleteClient(name ClientName) (Client, error) {
	c, err := t.existing(name)
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
func (t *Tx) RotateClient(name ClientName, jwks []byte, jwksURI, keyIssuer string, end bool) (Client, error) {
	c, err := t.existing(name)
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
func (t *Tx) AddStaticToken(name ClientName, k StaticToken) (Client, error) {
	c, err := t.Client(name)
	switch {
	case err != nil:
		return c, err
	case !c.Exists():
		return c, ErrNotFound
	case c.External != "" || !c.File && !c.Static:
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
func (t *Tx) RevokeStaticToken(name ClientName, token string) (Client, error) {
	c, err := t.Client(name)
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

func switchedText(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}
