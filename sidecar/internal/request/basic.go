package request

import (
	"cmp"
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fromBasic reads the two halves of Basic authentication (RFC 7617), each by its own sources. It
// refuses a header that no source reads.
func (s *Sources) fromBasic(raw string, out *[]Credential) *Problem {
	user, password, ok := basicHalves(raw)
	if !ok || !utf8.ValidString(user+password) || hasControl(user+password) {
		return problem(400, ReasonCredential, notBasic)
	}
	matched := false
	for _, half := range []struct{ name, value string }{{BasicUser, user}, {BasicPassword, password}} {
		if half.value == "" {
			continue
		}
		c, p := s.only(InBasic, half.name, "", half.value)
		if p != nil {
			continue // the other half may be the credential
		}
		if !s.all[c.Source].Typed && !plainText(half.value) {
			return problem(400, ReasonCredential, "the "+half.name+" contains characters that no credential has")
		}
		matched = true
		*out = append(*out, *c)
	}
	if !matched {
		return problem(401, ReasonUnknownScheme, "no source of this application reads this Basic authentication")
	}
	return nil
}

const notBasic = "the Authorization header is not Basic with a user, a colon and a password"

// basicHalves returns user and password of the usual form of Basic authentication.
func basicHalves(raw string) (user, password string, ok bool) {
	text, err := base64.StdEncoding.Strict().DecodeString(raw)
	user, password, ok = strings.Cut(string(text), ":")
	return user, password, ok && err == nil && base64.StdEncoding.EncodeToString(text) == raw
}

// ignore judges an Authorization header of an ignored scheme. Some applications take its second word for a token
// whatever the scheme is, or what follows the last "Bearer " (Laravel's bearerToken). So it has to be of its scheme.
func (s *Sources) ignore(scheme, rest string) *Problem {
	if scheme == "basic" {
		if _, _, ok := basicHalves(rest); !ok {
			return problem(400, ReasonCredential, notBasic)
		}
		return nil
	}
	if strings.ContainsFunc(rest, unicode.IsSpace) {
		return problem(400, ReasonCredential, "the Authorization header is not a scheme, one space, and one word")
	}
	for i := range s.all {
		src := &s.all[i]
		marked := src.Prefix != "" || src.JWT
		if marked && src.In == InHeader && src.Name == "authorization" && src.fits(rest) {
			return problem(400, ReasonCredential, "the Authorization header has a credential under another scheme: "+
				"send it as "+cmp.Or(src.Scheme, "the whole value"))
		}
	}
	return nil
}
