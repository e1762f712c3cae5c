package policies

import "strings"

// Conformance is what the service says of a profile to one client.
type Conformance struct {
	Profile  string // "ipsie-il1"
	Revision string // of its rules, as in a Verdict
	// Enforced says that every rule is enforced for the client, and that the parser accepts nothing
	// beyond them.
	Enforced bool
	// Missing lists the binding requirements of the profile that are not complete.
	Missing []string
	// Interop says that all of the SCIM interoperability profile is satisfied and enforced.
	Interop bool
}

// Conformance returns what the service may claim to the client. Nil claims nothing, and neither does
// rfc7644: it adds nothing to SCIM, and strict client libraries refuse a ServiceProviderConfig with
// extensions.
func (d *Dialect) Conformance() Conformance {
	if d == nil || d.profile == baseProfile {
		return Conformance{}
	}
	c := Conformance{
		Profile: d.profile, Revision: Revision(d.profile), Missing: missing(d.profile),
		Enforced: len(d.overlays) == 0,
	}
	c.Interop = c.Enforced && TraitsOf(d.profile).Interop && len(missing(interopProfile)) == 0
	return c
}

func missing(profile string) []string {
	var ids []string
	for _, r := range Requirements(profile) {
		if r.Missing != "" && !r.ClientOnly() && (strings.HasPrefix(r.Level, "must") || r.Level == "shall") {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
