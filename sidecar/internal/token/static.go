package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// A static token is a bearer token that does not change until it expires. Its form lets secret scanners
// recognise it:
//
//	scimward_st_ + 43 characters, base64url of 32 random bytes + 6 characters, base64url of the CRC-32
//	of everything before
//
// 256 random bits cannot be guessed, so a plain SHA-256 protects the stored form.
const (
	StaticPrefix = "scimward_st_"
	staticSecret = 43
	staticCheck  = 6
	staticLength = len(StaticPrefix) + staticSecret + staticCheck
)

// RefuseStatic is the refusal of a static token: of a client that is known, or empty.
func RefuseStatic(r Reason, issuer, clientID, id string) *Error {
	return &Error{Reason: r, Detail: StaticRefused, Issuer: issuer, ClientID: shown(clientID), KeyID: id}
}

// StaticRefused is the detail of every refused static token, so that the answer does not say why.
const StaticRefused = "the static token is not valid here: create a new one with `scimward token create`"

// Hash is the stored form of a static token.
type Hash = [sha256.Size]byte

// NewStatic makes a static token and its hash.
func NewStatic() (raw string, hash Hash) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails (crypto/rand)
	raw = StaticPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	raw += checkOf(raw)
	return raw, sha256.Sum256([]byte(raw))
}

// IsStatic reports whether a bearer token looks like a static one. No JWT does.
func IsStatic(raw string) bool { return strings.HasPrefix(raw, StaticPrefix) }

// HashStatic returns the hash of a static token, and false for a text of another form or with a typing
// error.
func HashStatic(raw string) (Hash, bool) {
	if len(raw) != staticLength || !IsStatic(raw) {
		return Hash{}, false
	}
	body, check := raw[:staticLength-staticCheck], raw[staticLength-staticCheck:]
	if checkOf(body) != check {
		return Hash{}, false
	}
	return sha256.Sum256([]byte(raw)), true
}

func checkOf(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(body)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
