package request

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// fromBasic reads the two halves of Basic authentication (RFC 7617), each by its own sources. It
// refuses a header that no source reads.
func (s *Sources) fromBasic(raw string, out *[]Credential) *Problem {
	text, err := base64.StdEncoding.Strict().DecodeString(raw)
	user, password, ok := strings.Cut(string(text), ":")
	canonical := err == nil && base64.StdEncoding.EncodeToString(text) == raw
	if !canonical || !ok || !utf8.Valid(text) || hasControl(string(text)) {
		return problem(400, ReasonCredential, "the Authorization header is not Basic with a user, a colon and a password")
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
