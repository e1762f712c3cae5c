package client

import (
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// ended is a static token that opens nothing any more. Only the log and the counts know it.
type ended struct {
	key
	token store.EndedToken
}

// addEnded makes the ended tokens of a row known, also those of a deleted client.
func (x *index) addEnded(named key, row *store.Client) {
	for _, k := range row.Ended {
		x.ended[k.Hash] = &ended{named, k}
	}
}

// refuseUnknown refuses a static token that no client has. The refusal names the client that had it at this
// tenant, which the answer to the sender does not.
func (x *index) refuseUnknown(tenant string, hash token.Hash, now time.Time) *token.Error {
	e := x.ended[hash]
	if e == nil || e.tenant != tenant || now.Sub(e.token.Ended) >= store.KeepEnded {
		return token.RefuseStatic(token.ReasonStatic, "", "", "")
	}
	return token.RefuseStatic(token.ReasonRevoked, e.issuer, e.id, e.token.ID)
}
