package store

import (
	"errors"
	"time"
)

// How long the tombstone of a deleted client stays: longer than any access token of it can live.
const (
	keepTombstone         = KeepEnded            // own tokens live an hour; the ended static tokens are remembered so long
	keepExternalTombstone = 366 * 24 * time.Hour // external_issuers[].max_lifetime is a year at most
)

// sweepClients deletes the tombstones that refuse no token any more, and returns the other rows. A tombstone
// of an external issuer that may name any client stays: it also refuses the tokens that the issuer will make.
func (t *Tx) sweepClients(all []Client) []Client {
	open := map[string]bool{}
	for i := range all {
		if c := &all[i]; c.ID == "" && c.Exists() {
			open[c.External] = true
		}
	}
	kept := make([]Client, 0, len(all))
	for i := range all {
		c, keep := &all[i], keepTombstone
		if c.External != "" {
			keep = keepExternalTombstone
		}
		if c.Exists() || t.now.Sub(c.Deleted) <= keep || open[c.External] {
			kept = append(kept, *c)
			continue
		}
		name := c.Name()
		if _, err := t.Client(name); err != nil { // a precondition, as in putClient
			t.err = errors.Join(t.err, err)
		}
		t.w.Delete(name.key(kindClient, t.tenant))
		t.w.Delete(name.key(kindClientUse, t.tenant))
		t.feed(Change{Type: ChangeClient, Issuer: name.Issuer, ID: name.ID})
		t.note("client:"+name.String(), "forgotten: none of its tokens can live any more")
	}
	return kept
}

// SetFileClients compares the rows with the clients that the configuration file names, of which ID, External,
// Expires and Disabled count. One with External and without ID is every client of that issuer. A client that
// left the file is deleted, and one that comes back needs new tokens, as after it was disabled. A client of a
// command that the file now names belongs to the file, and its tokens end. One that a command disabled does not: it
// stays disabled until a command enables it. The tokens of one whose external
// issuer left the file stay refused when the issuer comes back.
func (t *Tx) SetFileClients(named []Client) error {
	all, err := t.Clients()
	if err != nil {
		return err
	}
	in, issuers := map[ClientName]*Client{}, map[string]bool{"": true}
	for i := range named {
		in[named[i].Name()] = &named[i]
		issuers[named[i].External] = true
	}
	rows := map[ClientName]*Client{}
	for i, swept := 0, t.sweepClients(all); i < len(swept); i++ {
		c := &swept[i]
		name := c.Name()
		rows[name] = c
		if !c.File {
			t.setOrphaned(c, !issuers[name.Issuer])
		}
		if !c.File || in[name] != nil {
			continue
		}
		// A client that the file named alone is still in it while the file names every client of the issuer.
		n := in[ClientName{Issuer: name.Issuer}]
		switch {
		case n != nil && name.Issuer != "" && !c.Exists():
			t.setFileClient(&Client{ID: c.ID, External: c.External}, c)
		case n == nil && c.Exists():
			gone := *c
			gone.Deleted = t.now
			gone.endTokens(t.now)
			t.putClient(&gone, "not in the configuration file any more: deleted")
		}
	}
	for i := range named {
		old := rows[named[i].Name()]
		if all := rows[ClientName{Issuer: named[i].External}]; old == nil && all != nil && !all.Exists() {
			old = all // it may have had tokens while the file named every client of the issuer
		}
		t.setFileClient(&named[i], old)
	}
	return nil
}

// setOrphaned notes whether the file has the external issuer of a client of a command. If that changes, its
// tokens end.
func (t *Tx) setOrphaned(c *Client, orphaned bool) {
	if c.Orphaned == orphaned || !c.Exists() {
		return
	}
	c.Orphaned = orphaned
	c.endTokens(t.now)
	detail := "its issuer is in the configuration file again"
	if orphaned {
		detail = "its issuer is not in the configuration file any more: its tokens end"
	}
	t.putClient(c, detail)
}

// setFileClient writes the row of a client of the configuration file, if something changes.
func (t *Tx) setFileClient(n, old *Client) {
	c := &Client{ID: n.ID, External: n.External, File: true, Disabled: n.Disabled, Expires: n.Expires, Created: t.now}
	switch {
	case old == nil:
		t.putClient(c, "in the configuration file")
		return
	case !old.File && old.Exists() && old.Disabled: // by an operator, who may enable it
		return
	case !old.File || !old.Exists():
		c.NotBefore, c.Tokens, c.Ended = old.NotBefore, old.Tokens, old.Ended
		c.endTokens(t.now)
		t.putClient(c, "in the configuration file, in place of a client of this name; the tokens of that one end")
		return
	case old.Disabled == n.Disabled && old.Expires.Equal(n.Expires):
		return
	}
	kept, detail := *old, "its end changed in the configuration file"
	kept.setExpires(n.Expires, t.now)
	if kept.Disabled != n.Disabled {
		kept.Disabled = n.Disabled
		kept.endTokens(t.now)
		detail = switchedText(n.Disabled) + " by the configuration file"
	}
	t.putClient(&kept, detail)
}
