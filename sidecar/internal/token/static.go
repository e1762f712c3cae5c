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
	checkAt      = len(StaticPrefix) + staticSecret
	staticLength = checkAt + staticCheck
)

// RefuseStatic is the refusal of a static token: of a client that is known, or empty.
func RefuseStatic(r Reason, issuer, clientID, id string) *Error {
	return &Error{Reason: r, Detail: StaticRefused, Issuer: issuer, ClientID: clientID, KeyID: id}
}

// StaticRefused is the detail of every refused static token, so that the answer does not say why.
const StaticRefused = "the static token is not valid here: `scimward token list` shows the valid ones, and " +
	"`scimward token create` makes a new one for a client that is enabled"

// Hash is the stored form of a static token.
type Hash = [sha256.Size]byte

// NewStatic makes a static token and its hash.
func NewStatic() (raw string, hash Hash) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails (crypto/rand)
	var b [staticLength]byte
	base64.RawURLEncoding.Encode(b[copy(b[:], StaticPrefix):], secret[:])
	sum := checkOf(&b)
	copy(b[checkAt:], sum[:])
	return string(b[:]), sha256.Sum256(b[:])
}

// IsStatic reports whether a bearer token looks like a static one. No JWT does.
func IsStatic(raw string) bool { return strings.HasPrefix(raw, StaticPrefix) }

// HashStatic returns the hash of a static token, and false for a text of another form or with a typing
// error. It allocates nothing.
func HashStatic(raw string) (Hash, bool) {
	if len(raw) != staticLength || !IsStatic(raw) {
		return Hash{}, false
	}
	var b [staticLength]byte
	copy(b[:], raw)
	if sum := checkOf(&b); string(sum[:]) != string(b[checkAt:]) {
		return Hash{}, false
	}
	return sha256.Sum256(b[:]), true
}

// checkOf returns the last characters of a token. crc32.ChecksumIEEE would move the token to the heap.
func checkOf(b *[staticLength]byte) (out [staticCheck]byte) {
	crc := ^uint32(0)
	for _, c := range b[:checkAt] {
		crc = crc32.IEEETable[byte(crc)^c] ^ crc>>8
	}
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], ^crc)
	base64.RawURLEncoding.Encode(out[:], sum[:])
	return out
}
