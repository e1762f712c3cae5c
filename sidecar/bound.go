package sidecar

import (
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// schemeOf says with which scheme and proof a client sends its access tokens.
func schemeOf(c *client.Client) string {
	switch c.Constraint {
	case token.ConstraintNone:
	case token.ConstraintDPoP:
		return "DPoP, with a DPoP proof"
	case token.ConstraintCertificate:
		return "Bearer, on a connection with the client certificate that it is bound to"
	case token.ConstraintEither:
		return "DPoP, with a DPoP proof, or as Bearer, on a connection with the client certificate that it is bound to"
	}
	return "Bearer"
}
