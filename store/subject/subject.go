// Package subject identifies a person by all the names that credentials, applications and
// the directory use for them.
//
// Start with [Named] for a single name, or fill the fields. [Subject.Same] tells
// whether two subjects are one person, [Subject.Merge] joins what two sources
// know of one. The package is pure: no I/O, no clock.
//
// A new kind of name starts here: a field, a [Name], and lines in [Subject.Names],
// [Subject.Add] and [Fold]. A test fails when one of them is missing. Tests of package
// store fail until the lock table and the jobs have the name, and one of package revoke as
// a reminder for the plugins. docs/architecture.md lists the other places.
package subject

import (
	"iter"
	"slices"

	"github.com/scimward/scimward/store/scim"
)

// Name is a kind of name. The configuration uses the same values.
type Name string

// The kinds of names.
const (
	SCIMID     Name = "scim_id"     // id of the SCIM resource; it never changes
	UserName   Name = "user_name"   // userName (RFC 7643 §4.1.1)
	ExternalID Name = "external_id" // externalId (RFC 7643 §3.1)
	Email      Name = "email"       // a value of emails
	AppUserID  Name = "app_user_id" // the application's own id; the directory does not know it
)

// Subject is one person. Empty fields are unknown, and the zero Subject names no person. The
// values are as sent: comparing folds them.
type Subject struct {
	SCIMID     string
	ExternalID string
	UserName   string
	Emails     []string
	AppUserID  string `json:",omitempty"`
	// FormerUserNames are folded names that the person had before and that no other person
	// has taken, newest last. An application may still use one of them.
	FormerUserNames []string `json:",omitempty"`
}

// Named returns the subject that has one name. An empty kind is [UserName].
func Named(kind Name, value string) Subject {
	var s Subject
	s.Add(kind, value)
	return s
}

// Add sets a name, or adds an e-mail address. An empty kind is [UserName]; an empty
// value changes nothing.
func (s *Subject) Add(kind Name, value string) {
	if value == "" {
		return
	}
	switch kind {
	case SCIMID:
		s.SCIMID = value
	case UserName, "":
		s.UserName = value
	case ExternalID:
		s.ExternalID = value
	case Email:
		s.Emails = append(s.Emails, value)
	case AppUserID:
		s.AppUserID = value
	}
}

// Names iterates over the current names of the person, without empty ones. Former
// names are not included, because another person may take them.
func (s *Subject) Names() iter.Seq2[Name, string] {
	return func(yield func(Name, string) bool) {
		for _, n := range [...]struct {
			kind  Name
			value string
		}{{UserName, s.UserName}, {SCIMID, s.SCIMID}, {ExternalID, s.ExternalID}, {AppUserID, s.AppUserID}} {
			if n.value != "" && !yield(n.kind, n.value) {
				return
			}
		}
		for _, v := range s.Emails {
			if v != "" && !yield(Email, v) {
				return
			}
		}
	}
}

// Known reports whether the subject has any name.
func (s *Subject) Known() bool {
	for range s.Names() {
		return true
	}
	return false
}

// Same compares two subjects by the kinds of names that both have. All of them
// must agree; of e-mail addresses, one in common is enough. known is false when
// they have no kind in common.
func (s *Subject) Same(o *Subject) (same, known bool) {
	mine, theirs := s.folded(), o.folded()
	for kind, values := range mine {
		if len(theirs[kind]) == 0 {
			continue
		}
		known = true
		if !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(theirs[kind], v) }) {
			return false, true
		}
	}
	return known, known
}

func (s *Subject) folded() map[Name][]string {
	out := map[Name][]string{}
	for kind, value := range s.Names() {
		out[kind] = append(out[kind], Fold(kind, value))
	}
	return out
}

// Merge returns s with the kinds of names that only o has.
func (s *Subject) Merge(o *Subject) Subject {
	out := *s
	have := map[Name]bool{}
	for kind := range s.Names() {
		have[kind] = true
	}
	for kind, value := range o.Names() {
		if !have[kind] {
			out.Add(kind, value)
		}
	}
	return out
}

// Having returns a function that reports whether a person has, or had, the value as a name of
// any kind.
func Having(value string) func(*Subject) bool {
	folded := map[Name]string{}
	for _, kind := range []Name{SCIMID, UserName, ExternalID, Email, AppUserID} {
		folded[kind] = Fold(kind, value)
	}
	return func(s *Subject) bool {
		for kind, v := range s.Names() {
			if v == value || Fold(kind, v) == folded[kind] {
				return true
			}
		}
		return slices.Contains(s.FormerUserNames, folded[UserName])
	}
}

// Fold returns the form in which names of a kind are compared and indexed.
func Fold(kind Name, value string) string {
	switch kind {
	case UserName, "":
		return FoldUserName(value)
	case Email:
		return scim.FoldEmail(value)
	case SCIMID, ExternalID, AppUserID:
	}
	return value
}

// FoldUserName folds a user name with the PRECIS profile UsernameCaseMapped (RFC
// 8265 §3.3). A name that the profile refuses is folded without regard to case, so
// that a lookup of any string has an answer.
func FoldUserName(s string) string {
	f, err := scim.FoldUserName(s)
	if err != nil {
		return scim.FoldEmail(s)
	}
	return f
}
