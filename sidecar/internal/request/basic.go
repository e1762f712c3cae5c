package request

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
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
// whatever the scheme is, or what follows the last "Bearer " (Laravel's bearerToken). So it has to be of its scheme,
// and where it may also be a token, the application is asked.
func (s *Sources) ignore(scheme, rest string, out *[]Credential) *Problem {
	var halves []string
	if scheme == "basic" {
		user, password, ok := basicHalves(rest)
		if !ok || hasControl(user+password) { // where they end the value for PHP
			return problem(400, ReasonCredential, notBasic)
		}
		halves = append(strings.Split(password, ":"), user, password) // GitLab and GitHub take a token as either
	} else if strings.ContainsFunc(rest, unicode.IsSpace) {
		return problem(400, ReasonCredential, "the Authorization header is not a scheme, one space, and one word")
	}
	if gssToken(rest) {
		return nil
	}
	for i := range s.all {
		src := &s.all[i]
		switch {
		case src.In != InHeader || src.Name != "authorization":
		case !src.fits(rest) && !slices.ContainsFunc(halves, src.fitsHalf):
		case src.Prefix != "" || src.JWT:
			return problem(400, ReasonCredential, "the Authorization header has a credential under another scheme: "+
				"send it as "+cmp.Or(src.Scheme, "the whole value"))
		case plainValue(rest, true):
			*out = append(*out, Credential{Source: i, In: src.In, Name: src.Name, Value: rest, Ordinary: true})
		}
	}
	return nil
}

// fitsHalf reports whether a half of Basic authentication is a credential of the source and nothing else.
func (s *Source) fitsHalf(v string) bool {
	v = strings.TrimSpace(v)
	return s.fits(v) && (s.Prefix != "" || s.JWT && looksLikeJWT(v))
}

// looksLikeJWT reports whether a text has three parts of which the first is an object in JSON (RFC 7519 §3).
func looksLikeJWT(v string) bool {
	header, _, _ := strings.Cut(v, ".")
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(header, "="))
	return err == nil && strings.Count(v, ".") == 2 && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

// gssToken reports whether a word is a token of Kerberos, SPNEGO or NTLM, which is another for each request, so that
// nobody wants to be asked about it: GSS-API with its mechanism (RFC 2743 §3.1), or NTLMSSP.
func gssToken(word string) bool {
	head := make([]byte, 24)
	n, _ := base64.StdEncoding.Decode(head, []byte(word[:min(len(word), 32)]))
	token := head[:n]
	if bytes.HasPrefix(token, []byte("NTLMSSP\x00")) {
		return true
	}
	return len(token) > 0 && token[0] == 0x60 &&
		(bytes.Contains(token, []byte(spnego)) || bytes.Contains(token, []byte(kerberos)))
}

// The mechanisms as object identifiers in DER: 1.3.6.1.5.5.2 and 1.2.840.113554.1.2.2.
const (
	spnego   = "\x06\x06\x2b\x06\x01\x05\x05\x02"
	kerberos = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"
)
