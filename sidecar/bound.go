package sidecar

import (
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// constraintOf converts a value of sender_constrained.
func constraintOf(value string) token.Constraint {
	switch value {
	case config.SenderNone:
		return token.ConstraintNone
	case config.SenderCertificate:
		return token.ConstraintCertificate
	case config.SenderEither:
		return token.ConstraintEither
	}
	return token.ConstraintDPoP
}

// constraintsOf says what the access tokens of each client of a tenant must be bound to. It returns nil if
// that is nothing for all of them.
func constraintsOf(t *config.Tenant) func(issuer, clientID string) token.Constraint {
	if !t.Constrained() {
		return nil
	}
	own, external := map[string]token.Constraint{}, map[string]token.Constraint{}
	for i := range t.IdentityServices {
		s := &t.IdentityServices[i]
		own[s.ClientID] = constraintOf(s.SenderConstrained)
	}
	for i := range t.ExternalIssuers {
		e := &t.ExternalIssuers[i]
		external[e.Issuer] = constraintOf(e.SenderConstrained)
	}
	return func(issuer, clientID string) token.Constraint {
		if issuer == t.ExternalURL {
			return own[clientID]
		}
		return external[issuer]
	}
}

// schemeOf says with which scheme and proof a client sends its access tokens.
func schemeOf(t *config.Tenant, c *client.Client) string {
	if of := constraintsOf(t); of != nil {
		switch of(c.Issuer, c.ID) {
		case token.ConstraintNone:
		case token.ConstraintDPoP:
			return "DPoP, with a DPoP proof"
		case token.ConstraintCertificate:
			return "Bearer, on a connection with the client certificate that it is bound to"
		case token.ConstraintEither:
			return "DPoP, with a DPoP proof, or as Bearer, on a connection with the client certificate that it is bound to"
		}
	}
	return "Bearer"
}
