package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The key space. Keys of the state and the feed are built here and nowhere else.
//
//	key  = kind tenant part…          part = escaped bytes 00 01
//	be64 = 8 bytes, big endian, unescaped, always last or before a part
//
// A part escapes 00 as 00 FF and ends with 00 01, so no value can imitate the
// end of its part and one tenant's prefix is never the prefix of another's.
//
//	u tenant id                      user row
//	x tenant attr value              unique index -> id        un userName, ex externalId
//	i tenant attr value id           index of many             em emails.value, ex externalId, dn displayName, gx externalId of a group
//	g tenant id                      group row
//	n tenant id                      generation of the group's edges, be64
//	s tenant id                      group counter: members and last change
//	e tenant gid be64(gen) id        edge -> type of the member
//	r tenant id gid                  reverse edge -> generation
//	m tenant id                      touched by every membership change of the member
//	w tenant gid be64(gen)           generation whose edges wait to be swept
//	c tenant name                    counter                   users, groups
//	l tenant uid                     lock
//	t tenant attr value              name held by a lock -> uid
//	o tenant uid be64(epoch)         offboarding
//	p tenant uid be64(epoch)         open offboarding
//	j tenant id                      job
//	k tenant uid be64(epoch) id      job of a user
//	d tenant be64(time) id           due job
//	q tenant issuer jti              used jti -> expiry
//	v tenant be64(time) issuer jti   expiry of a used jti
//	f tenant id                      OAuth client
//	y tenant id                      signing key
//	a tenant be64(n)                 audit record
//	b tenant resource be64(n)        audit record of a resource
//	h tenant                         audit head
//
// Three kinds belong to the log and so to no tenant (the values of records and
// feed name it). Package store/log/local writes L and G and trims Z with L:
//
//	L be64(seq)                      log record
//	G                                genesis record, once the log was trimmed
//	Z be64(seq)                      change feed entries of a record
const (
	kindUser       = 'u'
	kindUnique     = 'x'
	kindIndex      = 'i'
	kindGroup      = 'g'
	kindGen        = 'n'
	kindStat       = 's'
	kindEdge       = 'e'
	kindReverse    = 'r'
	kindMemberOf   = 'm'
	kindSweep      = 'w'
	kindCounter    = 'c'
	kindLock       = 'l'
	kindHeld       = 't'
	kindOffboard   = 'o'
	kindOpen       = 'p'
	kindJob        = 'j'
	kindJobOf      = 'k'
	kindDue        = 'd'
	kindJTI        = 'q'
	kindJTIExpiry  = 'v'
	kindClient     = 'f'
	kindKey        = 'y'
	kindAudit      = 'a'
	kindAuditOf    = 'b'
	kindAuditHead  = 'h'
	stateKinds     = "auxigneswrmcltopjkdqvfybh" // audit first, for Verify
	stateParts     = "0123112112111211121221110" // how many parts each has
	attrUserName   = "un"
	attrExternalID = "ex"
	attrEmail      = "em"
	attrDisplay    = "dn"
	attrGroupExt   = "gx"
	counterUsers   = "users"
	counterGroups  = "groups"
)

// maxPart bounds a part of a key; a longer value is replaced by its first 64
// bytes and its SHA-256, which keeps equality and the engine's key limit.
const maxPart = 512

var errBadKey = errors.New("store: malformed key")

func appendPart(b []byte, s string) []byte {
	if len(s) > maxPart {
		sum := sha256.Sum256([]byte(s))
		s = s[:64] + "\x00#" + string(sum[:])
	}
	for i := range len(s) {
		b = append(b, s[i])
		if s[i] == 0 {
			b = append(b, 0xff)
		}
	}
	return append(b, 0, 1)
}

// key builds a key of parts, which is also the prefix of longer keys.
func key(kind byte, tenant string, parts ...string) []byte {
	n := 1 + len(tenant) + 2
	for _, p := range parts {
		n += min(len(p), maxPart) + 4
	}
	b := make([]byte, 1, n+16)
	b[0] = kind
	b = appendPart(b, tenant)
	for _, p := range parts {
		b = appendPart(b, p)
	}
	return b
}

func appendU64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func edgeKey(tenant, gid string, gen uint64, id string) []byte {
	return appendPart(edgePrefix(tenant, gid, gen), id)
}

func edgePrefix(tenant, gid string, gen uint64) []byte {
	return appendU64(key(kindEdge, tenant, gid), gen)
}

func sweepKey(tenant, gid string, gen uint64) []byte {
	return appendU64(key(kindSweep, tenant, gid), gen)
}

func epochKey(kind byte, tenant, uid string, epoch uint64) []byte {
	return appendU64(key(kind, tenant, uid), epoch)
}

func jobOfKey(tenant, uid string, epoch uint64, id string) []byte {
	return appendPart(epochKey(kindJobOf, tenant, uid, epoch), id)
}

func dueKey(tenant string, at int64, id string) []byte {
	return appendPart(appendU64(key(kindDue, tenant), orderedTime(at)), id)
}

func jtiExpiryKey(tenant string, at int64, issuer, jti string) []byte {
	return appendPart(appendPart(appendU64(key(kindJTIExpiry, tenant), orderedTime(at)), issuer), jti)
}

// orderedTime maps nanoseconds to a number that sorts alike, times before 1970 included.
func orderedTime(nanos int64) uint64 { return uint64(nanos) ^ 1<<63 }

func auditKey(tenant string, n uint64) []byte { return appendU64(key(kindAudit, tenant), n) }

func auditOfKey(tenant, resource string, n uint64) []byte {
	return appendU64(key(kindAuditOf, tenant, resource), n)
}

// cutPart reads one part off the front of b.
func cutPart(b []byte) (part string, rest []byte, err error) {
	var out []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 >= len(b) {
			return "", nil, errBadKey
		}
		out = append(out, b[:i]...)
		switch b[i+1] {
		case 1:
			return string(out), b[i+2:], nil
		case 0xff:
			out = append(out, 0)
			b = b[i+2:]
		default:
			return "", nil, errBadKey
		}
	}
}

// cutU64 reads a be64 off the front of b.
func cutU64(b []byte) (n uint64, rest []byte, err error) {
	if len(b) < 8 {
		return 0, nil, errBadKey
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// A DecodedKey is a key taken apart, for verification and for people.
type DecodedKey struct {
	Kind   byte
	Tenant string
	Parts  []string // be64 fields are left out
	Number uint64   // the be64 field, zero where the kind has none
}

// numberAt says before which part a kind carries its be64, -1 for none.
func numberAt(kind byte) int {
	switch kind {
	case kindEdge, kindSweep, kindOffboard, kindOpen, kindJobOf, kindAuditOf:
		return 1
	case kindDue, kindJTIExpiry, kindAudit:
		return 0
	}
	return -1
}

// DecodeKey takes a state key apart; Encode of the result is k again.
func DecodeKey(k []byte) (DecodedKey, error) {
	i := -1
	if len(k) > 0 {
		i = strings.IndexByte(stateKinds, k[0])
	}
	if i < 0 {
		return DecodedKey{}, errBadKey
	}
	d := DecodedKey{Kind: k[0]}
	var err error
	rest := k[1:]
	if d.Tenant, rest, err = cutPart(rest); err != nil {
		return DecodedKey{}, err
	}
	if len(d.Tenant) > maxPart {
		return DecodedKey{}, errBadKey
	}
	at := numberAt(d.Kind)
	for {
		if len(d.Parts) == at {
			if d.Number, rest, err = cutU64(rest); err != nil {
				return DecodedKey{}, err
			}
			at = -1
			continue
		}
		if len(rest) == 0 {
			break
		}
		var p string
		if p, rest, err = cutPart(rest); err != nil {
			return DecodedKey{}, err
		}
		if len(p) > maxPart {
			return DecodedKey{}, errBadKey
		}
		d.Parts = append(d.Parts, p)
	}
	if at >= 0 || len(d.Parts) != int(stateParts[i]-'0') {
		return DecodedKey{}, errBadKey
	}
	return d, nil
}

// Encode builds the key again.
func (d DecodedKey) Encode() []byte {
	b := appendPart([]byte{d.Kind}, d.Tenant)
	at := numberAt(d.Kind)
	for i, p := range d.Parts {
		if i == at {
			b = appendU64(b, d.Number)
		}
		b = appendPart(b, p)
	}
	if at == len(d.Parts) {
		b = appendU64(b, d.Number)
	}
	return b
}

// String is for findings: kind, tenant, parts.
func (d DecodedKey) String() string {
	return fmt.Sprintf("%c %q %q %d", d.Kind, d.Tenant, d.Parts, d.Number)
}

// keyText renders a key for a finding.
func keyText(k []byte) string {
	d, err := DecodeKey(k)
	if err != nil {
		return fmt.Sprintf("%x", k)
	}
	return d.String()
}

// lastPart returns the last part of a well-formed key of this store.
func lastPart(k []byte, prefix int) (string, error) {
	p, rest, err := cutPart(k[prefix:])
	if err != nil {
		return "", err
	}
	if len(rest) != 0 {
		return "", errBadKey
	}
	return p, nil
}
