package token

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

const maxKeyIDBytes = 256

// algorithms is the fixed list of a purpose (B107, B108). Everything else is
// refused whatever key there is: `none`, HS*, other curves, other hashes.
func algorithms(p Purpose, allowRS256 bool) []jwa.SignatureAlgorithm {
	list := []jwa.SignatureAlgorithm{jwa.ES256, jwa.PS256, jwa.EdDSA}
	if allowRS256 || p == Subject {
		list = append(list, jwa.RS256)
	}
	return list
}

// parsed is a token taken apart; nothing in it is to be believed yet.
type parsed struct {
	alg     jwa.SignatureAlgorithm
	kid     string
	typ     string // lower case, without "application/"
	signing string // header.payload, the bytes that were signed
	sig     []byte
	claims  map[string]any
}

// parse takes a compact JWS apart:
//
//	base64url(header) "." base64url(payload) "." base64url(signature)
//
// enc is strict unpadded base64url, algs what the token may be signed with. It
// accepts one spelling only: no padding, no white space, no spare bits, so a
// token cannot be rewritten into another string with the same meaning.
func parse(raw string, enc *base64.Encoding, algs []jwa.SignatureAlgorithm) (*parsed, *Error) {
	head, rest, _ := strings.Cut(raw, ".")
	payload, sig, ok := strings.Cut(rest, ".")
	if !ok || head == "" || payload == "" || sig == "" {
		return nil, refuse(ReasonMalformed, "a token is three base64url parts joined by dots")
	}
	p := &parsed{signing: raw[:len(head)+1+len(payload)]}
	var err error
	if p.sig, err = decode(enc, sig); err != nil {
		return nil, &Error{Reason: ReasonMalformed, Detail: "the signature is not base64url", Err: err}
	}
	header, err := decodeObject(enc, head)
	if err != nil {
		return nil, &Error{Reason: ReasonMalformed, Detail: "the header cannot be read: " + err.Error(), Err: err}
	}
	if e := p.header(header); e != nil {
		return nil, e
	}
	if !slices.Contains(algs, p.alg) {
		return nil, refuse(ReasonAlgorithm, "sign with ES256, PS256 or EdDSA")
	}
	if p.claims, err = decodeObject(enc, payload); err != nil {
		return nil, &Error{Reason: ReasonMalformed, Detail: "the claims cannot be read: " + err.Error(), Err: err}
	}
	return p, nil
}

func decodeObject(enc *base64.Encoding, part string) (map[string]any, error) {
	b, err := decode(enc, part)
	if err != nil {
		return nil, err
	}
	return strictObject(b)
}

// decode refuses the line breaks that encoding/base64 skips.
func decode(enc *base64.Encoding, part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(part, "\r\n"))
	}
	return enc.DecodeString(part)
}

// header reads the members that matter. Members that bring or point to a key
// (jku, jwk, x5u, x5c, x5t) are left unread: real issuers send them, and the
// key comes from configuration anyway (edge T1).
func (p *parsed) header(h map[string]any) *Error {
	for _, name := range []string{"crit", "b64", "cty"} {
		// crit and b64 change what is signed, cty nests another token.
		if _, there := h[name]; there {
			return refuse(ReasonHeader, fmt.Sprintf("header %q is not accepted", name))
		}
	}
	alg, ok := h["alg"].(string)
	if !ok {
		return refuse(ReasonMalformed, "header alg is missing")
	}
	p.alg = jwa.SignatureAlgorithm(alg)
	if p.kid, ok = optionalText(h, "kid"); !ok || len(p.kid) > maxKeyIDBytes {
		return refuse(ReasonMalformed, "header kid is not a short string")
	}
	typ, ok := optionalText(h, "typ")
	if !ok {
		return refuse(ReasonMalformed, "header typ is not a string")
	}
	p.typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return nil
}

// optionalText returns a string member; ok is false when it is there with
// another type.
func optionalText(obj map[string]any, name string) (text string, ok bool) {
	v, there := obj[name]
	if !there {
		return "", true
	}
	text, ok = v.(string)
	return text, ok
}

// typeRefused says why typ does not fit the purpose, empty when it does. One
// kind of JWT must never pass for another (RFC 8725 §3.11, E1, E4, B9).
func typeRefused(p Purpose, typ string) string {
	switch p {
	case AccessToken:
		if typ != TypeAccessToken {
			return "an access token has typ at+jwt (RFC 9068)"
		}
	case Assertion:
		switch typ {
		case "", "jwt", typeAssertion:
		default:
			return "a client assertion has typ client-authentication+jwt, JWT or none"
		}
	case Subject:
		switch typ {
		case "secevent+jwt", "logout+jwt", "dpop+jwt", typeAssertion:
			return "a token of this typ is no credential of a user"
		}
	default:
		return "the verifier has no purpose"
	}
	return ""
}
