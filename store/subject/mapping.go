package subject

import (
	"strings"

	"github.com/scimward/scimward/store/scim"
)

// Mapping turns the name that a credential or an application uses into the name that the directory
// has. The steps run in the order of the fields, and an empty one does nothing. The zero Mapping
// changes nothing.
type Mapping struct {
	StripPrefix  string // start of the name to remove, in any case, such as `CORP\`
	StripDomain  string // domain behind the @ to remove, in any form, such as "old.example"
	AppendDomain string // domain to add to a name without one
}

// Apply maps a user name or an e-mail address. Names of other kinds stay as they are, and so does a
// name that a step would leave empty.
func (m *Mapping) Apply(kind Name, value string) string {
	if *m == (Mapping{}) || kind != UserName && kind != Email && kind != "" {
		return value
	}
	if n := len(m.StripPrefix); n > 0 && len(value) > n && strings.EqualFold(value[:n], m.StripPrefix) {
		value = value[n:]
	}
	at := strings.LastIndexByte(value, '@')
	if m.StripDomain != "" && at > 0 && scim.FoldDomain(value[at+1:]) == scim.FoldDomain(m.StripDomain) {
		value, at = value[:at], -1
	}
	if m.AppendDomain != "" && at < 0 && value != "" {
		value += "@" + m.AppendDomain
	}
	return value
}

// Map applies the mapping to the user name and the e-mail addresses of s.
func (m *Mapping) Map(s *Subject) {
	if *m == (Mapping{}) {
		return
	}
	if s.UserName != "" {
		s.UserName = m.Apply(UserName, s.UserName)
	}
	mapped := make([]string, 0, len(s.Emails)) // the slice may belong to a cache
	for _, e := range s.Emails {
		mapped = append(mapped, m.Apply(Email, e))
	}
	s.Emails = mapped
}
