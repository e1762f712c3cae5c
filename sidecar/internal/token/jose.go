package token

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

const (
	maxKeyIDBytes = 256
	useAlgorithms = "sign with ES256, PS256 or EdDSA"
)

// algorithms is the fixed list of a purpose (RFC 8725 §3.1). All others are refused, with any key:
// `none`, HS*, other curves, other hashes.
func algorithms(p Purpose, allowRS256 bool) []jwa.SignatureAlgorithm {
	if allowRS256 || p == Subject {
		return []jwa.SignatureAlgorithm{jwa.ES256, jwa.PS256, jwa.EdDSA, jwa.RS256}
	}
	return []jwa.SignatureAlgorithm{jwa.ES256, jwa.PS256, jwa.EdDSA}
}

// accepted returns the algorithms that a purpose accepts from an issuer.
func accepted(p Purpose, c *IssuerConfig) ([]jwa.SignatureAlgorithm, error) {
	if len(c.Algorithms) == 0 {
		return algorithms(p, c.AllowRS256), nil
	}
	var list []jwa.SignatureAlgorithm
	for _, name := range c.Algorithms {
		if !slices.Contains(algorithms(p, true), jwa.SignatureAlgorithm(name)) {
			return nil, fmt.Errorf("algorithm %q is not one of ES256, PS256, EdDSA and RS256", name)
		}
		list = append(list, jwa.SignatureAlgorithm(name))
	}
	return list, nil
}

// header has the members of a header that matter.
type header struct {
	alg jwa.SignatureAlgorithm
	kid string
	typ string // lower case, without "application/"
}

// unverified is a decoded token before the check of its signature.
type unverified struct {
	header
	head    string // the header as text
	jwk     any    // for proofs only
	signing string // header.payload, the bytes that were signed
	sig     []byte
	claims  map[string]any
}

// hash names a token that has no id. It is of the signed bytes alone: anyone can turn an ES256 signature
// into a second one that verifies.
func (t *unverified) hash() string {
	sum := sha256.Sum256([]byte(t.signing))
	return "sha-256:" + base64url.EncodeToString(sum[:])
}

// parse decodes a compact JWS that is signed with one of algs:
//
//	base64url(header) "." base64url(payload) "." base64url(signature)
//
// It accepts only one spelling, without padding, white space or spare bits. So a token cannot be
// rewritten into another string with the same meaning.
func parse(raw string, algs []jwa.SignatureAlgorithm, known *headers) (*unverified, *Error) {
	head, rest, _ := strings.Cut(raw, ".")
	payload, sig, ok := strings.Cut(rest, ".")
	if !ok || head == "" || payload == "" || sig == "" {
		return nil, refuse(ReasonMalformed, "a token is three base64url parts joined by dots")
	}
	t := &unverified{head: head, signing: raw[:len(head)+1+len(payload)]}
	var err error
	if t.sig, err = decode(sig); err != nil {
		return nil, &Error{Reason: ReasonMalformed, Detail: "the signature is not base64url", Err: err}
	}
	var seen bool
	if t.header, seen = known.find(head); !seen {
		obj, err := decodeObject(head)
		if err != nil {
			return nil, &Error{Reason: ReasonMalformed, Detail: "the header cannot be read: " + err.Error(), Err: err}
		}
		if e := t.readHeader(obj); e != nil {
			return nil, e
		}
	}
	if !slices.Contains(algs, t.alg) {
		return nil, refuse(ReasonAlgorithm, useAlgorithms)
	}
	if t.claims, err = decodeObject(payload); err != nil {
		return nil, &Error{Reason: ReasonMalformed, Detail: "the claims cannot be read: " + err.Error(), Err: err}
	}
	return t, nil
}

func decodeObject(part string) (map[string]any, error) {
	b, err := decode(part)
	if err != nil {
		return nil, err
	}
	return strictObject(b)
}

var base64url = base64.RawURLEncoding.Strict() //nolint:gochecknoglobals // never changes

// decode also rejects the line breaks that encoding/base64 skips.
func decode(part string) ([]byte, error) {
	for _, lineBreak := range []byte("\r\n") { // IndexAny would look at the bytes one by one
		if i := strings.IndexByte(part, lineBreak); i >= 0 {
			return nil, base64.CorruptInputError(i)
		}
	}
	return base64url.DecodeString(part)
}

// readHeader reads the members that matter. It ignores members that contain or point to a key (jku,
// x5u, x5c, x5t). Real issuers send them, but keys come only from the configuration. Only a proof uses its
// jwk.
func (t *unverified) readHeader(h map[string]any) *Error {
	for _, name := range []string{"crit", "b64", "cty"} {
		// crit and b64 change the signed bytes. cty announces a token inside the token.
		if _, there := h[name]; there {
			return refuse(ReasonHeader, fmt.Sprintf("header %q is not accepted", name))
		}
	}
	alg, ok := h["alg"].(string)
	if !ok {
		return refuse(ReasonMalformed, "header alg is missing")
	}
	t.alg = jwa.SignatureAlgorithm(alg)
	if t.kid, ok = optionalText(h, "kid"); !ok || len(t.kid) > maxKeyIDBytes {
		return refuse(ReasonMalformed, "header kid is not a short string")
	}
	typ, ok := optionalText(h, "typ")
	if !ok {
		return refuse(ReasonMalformed, "header typ is not a string")
	}
	t.typ, t.jwk = strings.TrimPrefix(strings.ToLower(typ), "application/"), h["jwk"]
	return nil
}

// optionalText returns a string member, or "" if it is absent. ok is false if it has another type.
func optionalText(obj map[string]any, name string) (text string, ok bool) {
	v, there := obj[name]
	if !there {
		return "", true
	}
	text, ok = v.(string)
	return text, ok
}

// wrongType returns why typ does not fit the purpose, or "" if it fits. One kind of JWT must never
// pass for another (RFC 8725 §3.11).
func wrongType(p Purpose, typ string, iss *issuer) string {
	switch p {
	case AccessToken:
		return iss.mapping.wrongType(typ)
	case Assertion:
		if typ != "" && typ != "jwt" && typ != typeAssertion {
			return "a client assertion has typ client-authentication+jwt, JWT or none"
		}
	case Subject:
		if slices.Contains([]string{"secevent+jwt", "logout+jwt", typeProof, typeAssertion}, typ) {
			return "a token of this typ is no credential of a user"
		}
	case Proof: // judged by Proofs
	}
	return ""
}
