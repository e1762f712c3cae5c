package store

import (
	"crypto/sha256"
	"time"
)

// EndedToken is a static token that was revoked, or that ended with its client. It opens nothing. It is
// remembered so that the log and the counts of a client say who still sends it.
type EndedToken struct {
	ID    string
	Hash  [sha256.Size]byte
	Ended time.Time
}

// KeepEnded is how long an ended static token is remembered.
const KeepEnded = 30 * 24 * time.Hour

const maxEnded = 8 // ended static tokens of a client that are remembered

// remember keeps what names tokens that end at now, and forgets the oldest ones. A token that has expired
// did not end early.
func (c *Client) remember(now time.Time, ending ...StaticToken) {
	var kept []EndedToken
	for _, e := range c.Ended {
		if now.Sub(e.Ended) < KeepEnded {
			kept = append(kept, e)
		}
	}
	for _, k := range ending {
		if now.Before(k.Expires) {
			kept = append(kept, EndedToken{k.ID, k.Hash, now})
		}
	}
	c.Ended = kept[max(0, len(kept)-maxEnded):]
}
