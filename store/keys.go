package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// The key space. Only this file builds keys of the state.
//
//	key  = kind tenant part…          part = escaped bytes 00 01
//	be64 = 8 bytes, big endian, unescaped, before a part or at the end
//
// A part escapes 00 as 00 FF and ends with 00 01. So no value can imitate the end
// of its part, and one tenant's prefix is never the prefix of another's.
//
// Four kinds have no tenant. Three belong to the log (store/log/local): L for log records,
// G for the genesis record of a trimmed log, Z for the feed row of a record. M belongs to
// the machine and is in stores with a shared log only.
const (
	kindAudit       = 'a'
	kindAuditOf     = 'b'
	kindAuditHead   = 'h'
	kindUser        = 'u'
	kindUnique      = 'x'
	kindIndex       = 'i'
	kindCounter     = 'c'
	kindGroup       = 'g'
	kindGen         = 'n'
	kindStat        = 's'
	kindEdge        = 'e'
	kindReverse     = 'r'
	kindMemberOf    = 'm'
	kindSweep       = 'w'
	kindLock        = 'l'
	kindLockName    = 't'
	kindOffboarding = 'o'
	kindOpen        = 'p'
	kindJob         = 'j'
	kindJobOf       = 'k'
	kindDue         = 'd'
	kindRefusal     = 'R'
	kindHeld        = 'H'
	kindJTI         = 'q'
	kindJTIExpiry   = 'v'
	kindForgotten   = 'V'
	kindClientUse   = 'U'
	kindClient      = 'K'
	kindPause       = 'P'
	kindKey         = 'y'
	kindRevoked     = 'Q'

	kindOperatorLock = 'z'
	kindCore         = 'E'

	kindPolicy         = 'B'
	kindPolicyDocument = 'D'
	kindPolicyPart     = 'T'

	// The rows of clients of former versions, see moveClients.
	kindFormerClient    = 'C'
	kindFormerClientUse = 'f'
)

// keyKind describes the keys of one kind.
type keyKind struct {
	kind   byte
	name   string
	parts  int // after the tenant
	number int // before which part the be64 is, from 1; zero for a key without one
}

// keyKinds lists every kind, with its parts and its value in the comment. Verify walks the
// kinds in this order, the audit records first.
//
//nolint:gochecknoglobals // never assigned again
var keyKinds = [...]keyKind{
	// Audit.
	{kind: kindAudit, name: "audit record", number: 1},                // be64(n) -> audit record n of the tenant
	{kind: kindAuditOf, name: "audit record of", parts: 1, number: 2}, // resource be64(n)
	{kind: kindAuditHead, name: "audit head"},                         // -> number, position and hash of the newest record
	// A user. The codes of the attributes are in indexes.go. Groups have index keys too.
	{kind: kindUser, name: "user", parts: 1},           // id -> resource
	{kind: kindUnique, name: "unique index", parts: 2}, // attribute value -> id
	{kind: kindIndex, name: "index", parts: 3},         // attribute value id
	{kind: kindCounter, name: "counter", parts: 1},     // name -> count, see the names of the counters
	// A group and its members. The generation changes when a group is emptied.
	{kind: kindGroup, name: "group", parts: 1},                     // id -> resource
	{kind: kindGen, name: "generation", parts: 1},                  // group -> generation of its members
	{kind: kindStat, name: "group counter", parts: 1},              // group -> count of members, last change
	{kind: kindEdge, name: "member", parts: 2, number: 2},          // group be64(generation) member -> type of the member
	{kind: kindReverse, name: "membership", parts: 2},              // member group -> generations
	{kind: kindMemberOf, name: "membership mark", parts: 1},        // member; written when a group gets the member
	{kind: kindSweep, name: "old generation", parts: 1, number: 2}, // group be64(generation), until swept or adopted
	// A lock.
	{kind: kindLock, name: "lock", parts: 1},                    // user -> lock
	{kind: kindLockName, name: "locked name", parts: 2},         // attribute value -> user
	{kind: kindOperatorLock, name: "operator's lock", parts: 1}, // id -> operator's lock
	// A deactivation or deletion.
	{kind: kindOffboarding, name: "offboarding", parts: 1, number: 2}, // user be64(epoch) -> offboarding
	{kind: kindOpen, name: "open offboarding", parts: 1, number: 2},   // user be64(epoch), until it is settled
	{kind: kindJob, name: "job", parts: 1},                            // id -> job
	{kind: kindJobOf, name: "job of", parts: 2, number: 2},            // user be64(epoch) job
	{kind: kindDue, name: "due job", parts: 1, number: 1},             // be64(time) job
	{kind: kindHeld, name: "held deletion", parts: 1},                 // job, until the deletion is done or closed
	{kind: kindRefusal, name: "refused deactivation", parts: 1},       // user -> refusals, until deactivated or dismissed
	// OAuth.
	{kind: kindJTI, name: "used jti", parts: 2},                              // issuer jti -> expiry
	{kind: kindJTIExpiry, name: "expiry of a used jti", parts: 2, number: 1}, // be64(time) issuer jti
	{kind: kindForgotten, name: "end of the forgotten jtis"},                 // -> time
	{kind: kindClient, name: "OAuth client", parts: 2},                       // issuer id -> client, also of a deleted one
	{kind: kindClientUse, name: "use of an OAuth client", parts: 2},          // issuer id -> last use
	{kind: kindFormerClient, name: "former OAuth client", parts: 1},          // id -> client
	{kind: kindFormerClientUse, name: "former client use", parts: 1},         // id -> last use
	{kind: kindPause, name: "pause"},                                         // -> since when SCIM is paused
	{kind: kindKey, name: "signing key", parts: 1},                           // id -> key
	{kind: kindRevoked, name: "revoked token", parts: 1, number: 1},          // be64(time) jti, until it has expired
	// Policy bundles.
	{kind: kindPolicy, name: "policy bundle in force"},                           // -> its name
	{kind: kindPolicyDocument, name: "policy document"},                          // -> what is known of the kept ones
	{kind: kindPolicyPart, name: "part of a policy bundle", parts: 1, number: 2}, // digest be64(n) -> bytes
	// The installation. The tenant is empty.
	{kind: kindCore, name: "core", parts: 1}, // id -> core
}

// kindOf returns the description of a kind, nil for an unknown one.
func kindOf(kind byte) *keyKind {
	for i := range keyKinds {
		if keyKinds[i].kind == kind {
			return &keyKinds[i]
		}
	}
	return nil
}

// The names of the counters.
const (
	counterUsers  = "users"
	counterGroups = "groups"
	counterKeys   = "keys"
	counterLocks  = "lock changes" // the sum of Lock.Revision, which shows a lost lock

	counterRefusals      = "refused users"
	counterOperatorLocks = "operator locks"
)

// maxPart bounds a part of a key in bytes, because the engine bounds keys. Of a longer
// value the key has the first 64 bytes and the SHA-256.
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

// key builds a key of parts. It is also the prefix of keys with more parts.
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

// numberedKey builds a key of one part and a number. It may be a prefix too.
func numberedKey(kind byte, tenant, part string, n uint64) []byte {
	return appendU64(key(kind, tenant, part), n)
}

func edgeKey(tenant, gid string, gen uint64, id string) []byte {
	return appendPart(numberedKey(kindEdge, tenant, gid, gen), id)
}

func jobOfKey(tenant, uid string, epoch uint64, id string) []byte {
	return appendPart(numberedKey(kindJobOf, tenant, uid, epoch), id)
}

func dueKey(tenant string, at int64, id string) []byte {
	return appendPart(appendU64(key(kindDue, tenant), orderedTime(at)), id)
}

func jtiExpiryKey(tenant string, at int64, issuer, jti string) []byte {
	return appendPart(appendPart(appendU64(key(kindJTIExpiry, tenant), orderedTime(at)), issuer), jti)
}

func revokedKey(tenant string, at int64, jti string) []byte {
	return appendPart(appendU64(key(kindRevoked, tenant), orderedTime(at)), jti)
}

func auditKey(tenant string, n uint64) []byte { return appendU64(key(kindAudit, tenant), n) }

// orderedTime maps nanoseconds to a number that sorts in the same order, also before 1970.
func orderedTime(nanos int64) uint64 { return uint64(nanos) ^ 1<<63 }

// timeOf is the inverse of orderedTime.
func timeOf(ordered uint64) int64 { return int64(ordered ^ 1<<63) }

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
			if len(out) > maxPart {
				return "", nil, errBadKey
			}
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

// DecodedKey has the parts of a key.
type DecodedKey struct {
	Kind   byte
	Tenant string
	Parts  []string // without the number
	Number uint64   // the be64, zero for a kind without be64
}

// DecodeKey splits a state key into its parts. Encode of the result gives k again.
func DecodeKey(k []byte) (d DecodedKey, err error) {
	if len(k) == 0 || kindOf(k[0]) == nil {
		return DecodedKey{}, errBadKey
	}
	info, rest := kindOf(k[0]), k[1:]
	d.Kind = k[0]
	if d.Tenant, rest, err = cutPart(rest); err != nil {
		return DecodedKey{}, err
	}
	for i := range info.parts + 1 {
		if i+1 == info.number {
			if d.Number, rest, err = cutU64(rest); err != nil {
				return DecodedKey{}, err
			}
		}
		if i < info.parts {
			var p string
			if p, rest, err = cutPart(rest); err != nil {
				return DecodedKey{}, err
			}
			d.Parts = append(d.Parts, p)
		}
	}
	if len(rest) != 0 {
		return DecodedKey{}, errBadKey
	}
	return d, nil
}

// Encode builds the key.
func (d DecodedKey) Encode() []byte {
	b := appendPart([]byte{d.Kind}, d.Tenant)
	for i := range len(d.Parts) + 1 {
		if info := kindOf(d.Kind); info != nil && i+1 == info.number {
			b = appendU64(b, d.Number)
		}
		if i < len(d.Parts) {
			b = appendPart(b, d.Parts[i])
		}
	}
	return b
}

// keyText renders a key for a finding: kind, tenant, parts, number.
func keyText(k []byte) string {
	d, err := DecodeKey(k)
	if err != nil {
		return fmt.Sprintf("%x", k)
	}
	return fmt.Sprintf("%s %q %q %d", kindOf(d.Kind).name, d.Tenant, d.Parts, d.Number)
}

// lastPart returns the last part of a well-formed key of this store.
func lastPart(k []byte, prefix int) (string, error) {
	p, rest, err := cutPart(k[prefix:])
	if err != nil || len(rest) != 0 {
		return "", errBadKey
	}
	return p, nil
}
