package config

import "slices"

// The values of sender_constrained.
const (
	SenderNone        = "none"
	SenderDPoP        = "dpop"
	SenderCertificate = "certificate"
	SenderEither      = "either"
)

func (c checker) senderConstrained(path, value string, static bool) {
	c.oneOf(path, value, SenderNone, SenderDPoP, SenderCertificate, SenderEither)
	if static && value != SenderNone {
		c.fail(path, "remove it, or give the client keys", "nothing can bind a static token")
	}
}

// senders returns the sender_constrained of all clients and issuers.
func (t *Tenant) senders() []string {
	var out []string
	for i := range t.IdentityServices {
		out = append(out, t.IdentityServices[i].SenderConstrained)
	}
	for i := range t.ExternalIssuers {
		out = append(out, t.ExternalIssuers[i].SenderConstrained)
	}
	return out
}

// Certificates reports whether some client of the tenant may use a client certificate. Envoy asks for
// certificates only at the hosts of such tenants.
func (t *Tenant) Certificates() bool {
	return slices.ContainsFunc(t.senders(), func(s string) bool { return s == SenderCertificate || s == SenderEither })
}

// OnlyDPoP reports whether every client of the file must use DPoP, and there is one.
func (t *Tenant) OnlyDPoP() bool {
	all := t.senders()
	return len(all) > 0 && t.StaticTokens != "allow" &&
		!slices.ContainsFunc(all, func(s string) bool { return s != SenderDPoP })
}
