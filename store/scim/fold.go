package scim

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// FoldUserName prepares a userName for comparison and for its unique index with the
// PRECIS profile UsernameCaseMapped (RFC 7644 §5, RFC 7613 §3.2, now RFC 8265 §3.3). Two
// names are the same when they fold to the same string. Beyond the profile, ß is ss, and a
// domain behind the @ compares like [FoldDomain]: a leaver must not get in by another
// spelling. The error is 400 invalidValue for an empty name and for forbidden characters,
// such as spaces and control characters.
func FoldUserName(s string) (string, *Error) {
	if plainName(s) {
		return foldName(s), nil
	}
	folded, err := precis.UsernameCaseMapped.String(s)
	if err != nil || folded == "" {
		return "", Errorf(400, TypeInvalidValue, "userName is empty or has a character that a user name may not have, "+
			"such as a space or a control character; send another userName")
	}
	return FoldCase(foldAddress(folded)), nil
}

// FoldEmail folds an e-mail address for comparison: width and case, and the domain with
// [FoldDomain].
func FoldEmail(s string) string {
	if plainName(s) {
		return foldName(s)
	}
	return FoldCase(foldAddress(width.Fold.String(s)))
}

// foldAddress folds the domain of an address. A text without @ stays as it is.
func foldAddress(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	return s[:at+1] + FoldDomain(s[at+1:])
}

// FoldDomain folds a domain name: the ASCII form of an international name (xn--) and its
// Unicode form are the same (RFC 5891). A text that is no domain name is folded like
// [FoldCase].
func FoldDomain(s string) string {
	unicode, err := domains.ToUnicode(s)
	if err != nil {
		unicode = s
	}
	return FoldCase(unicode)
}

//nolint:gochecknoglobals // never assigned again
var domains = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// ace starts a label of a domain name that stands for a Unicode one.
const ace = "xn--"

// plainName reports whether s is non-empty printable ASCII without a space and without a
// label that stands for a Unicode one. Folding only changes the letter case of such a name.
func plainName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
		if s[i] == '-' && i >= 3 && s[i-1] == '-' && strings.EqualFold(s[i-3:i+1], ace) {
			return false
		}
	}
	return s != ""
}

// FoldCase folds s for comparing values of attributes that are not caseExact (RFC 7643
// §7). It does full Unicode case folding between two canonical compositions. Folding a
// folded string gives the same string.
func FoldCase(s string) string {
	if isASCII(s) {
		return foldName(s)
	}
	// Folding can undo a composition and composing can need another fold.
	for range 3 {
		next := norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
		if next == s {
			break
		}
		s = next
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isUserName(a *Attribute) bool { return a.Name == "userName" && a.Uniqueness == "server" }

// equalText reports whether two values of a are the same. It does not copy plain text.
func equalText(a *Attribute, x, y string) bool {
	switch {
	case a.CaseExact:
		return x == y
	case isUserName(a):
		if plainName(x) && plainName(y) {
			return equalName(x, y)
		}
	case isASCII(x) && isASCII(y):
		return equalName(x, y)
	}
	return foldValue(a, x) == foldValue(a, y)
}

// foldValue folds a string value of a for comparison. A caseExact value stays as it is.
func foldValue(a *Attribute, s string) string {
	if a.CaseExact {
		return s
	}
	if isUserName(a) {
		if folded, err := FoldUserName(s); err == nil {
			return folded
		}
	}
	return FoldCase(s)
}
