package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// The key space. Keys of the state are built here and nowhere else.
//
//	key  = kind tenant part…          part = escaped bytes 00 01
//	be64 = 8 bytes, big endian, unescaped, before a part or at the end
//
// A part escapes 00 as 00 FF and ends with 00 01. So no value can imitate the end
// of its part, and one tenant's prefix is never the prefix of another's.
//
// Three kinds belong to the log and so to no tenant: log records L, the genesis
// record G of a trimmed log, and the feed row Z of a record (store/log/local).
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
	kindJTI         = 'q'
	kindJTIExpiry   = 'v'
	kindClient      = 'f'
	kindKey         = 'y'
)

// keyKind describes the keys of one kind.
type keyKind struct {
	kind   byte
	name   string
	parts  int // after the tenant
	number int // before which part the be64 is; noNumber when there is none
}

const noNumber = -1

// keyKinds lists every kind with its parts and value, by what writes it. Verify
// walks the kinds in this order, the audit records first.
//
//nolint:gochecknoglobals // never assigned again
var keyKinds = [...]keyKind{
	// Every change, but for housekeeping.
	{kindAudit, "audit record", 0, 0},          // be64(n) -> audit record n of the tenant
	{kindAuditOf, "audit record of", 1, 1},     // resource be64(n)
	{kindAuditHead, "audit head", 0, noNumber}, // -> number, position and hash of the newest record
	// A user. The codes of attributes are in indexes.go; a group has i keys too.
	{kindUser, "user", 1, noNumber},           // id -> resource
	{kindUnique, "unique index", 2, noNumber}, // attribute value -> id
	{kindIndex, "index", 3, noNumber},         // attribute value id
	{kindCounter, "counter", 1, noNumber},     // name -> count of users, groups or signing keys
	// A group and its members. The generation changes when a group is emptied.
	{kindGroup, "group", 1, noNumber},              // id -> resource
	{kindGen, "generation", 1, noNumber},           // group -> generation of its members
	{kindStat, "group counter", 1, noNumber},       // group -> count of members, last change
	{kindEdge, "member", 2, 1},                     // group be64(generation) member -> type of the member
	{kindReverse, "membership", 2, noNumber},       // member group -> generation
	{kindMemberOf, "membership mark", 1, noNumber}, // member; written when a group gets the member
	{kindSweep, "old generation", 1, 1},            // group be64(generation), until its members are swept
	// A lock: its row, and a key for each name of the user.
	{kindLock, "lock", 1, noNumber},            // user -> lock
	{kindLockName, "locked name", 2, noNumber}, // attribute value -> user
	// A deactivation or deletion: a lock, and an offboarding with a job for each app and kind.
	{kindOffboarding, "offboarding", 1, 1}, // user be64(epoch) -> offboarding
	{kindOpen, "open offboarding", 1, 1},   // user be64(epoch), until it is verified
	{kindJob, "job", 1, noNumber},          // id -> job
	{kindJobOf, "job of", 2, 1},            // user be64(epoch) job
	{kindDue, "due job", 1, 0},             // be64(time) job
	// OAuth.
	{kindJTI, "used jti", 2, noNumber},            // issuer jti -> expiry
	{kindJTIExpiry, "expiry of a used jti", 2, 0}, // be64(time) issuer jti
	{kindClient, "OAuth client", 1, noNumber},     // id -> client
	{kindKey, "signing key", 1, noNumber},         // id -> key
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
)

// maxPart bounds a part of a key. A longer value is replaced by its first 64 bytes
// and its SHA-256, which keeps equality and the engine's limit.
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

// numberedKey builds a key of one part and a number, which may be a prefix too.
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

func auditKey(tenant string, n uint64) []byte { return appendU64(key(kindAudit, tenant), n) }

// orderedTime maps nanoseconds to a number that sorts alike, times before 1970 included.
func orderedTime(nanos int64) uint64 { return uint64(nanos) ^ 1<<63 }

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

// A DecodedKey is a key taken apart, for verification and for people.
type DecodedKey struct {
	Kind   byte
	Tenant string
	Parts  []string // without the number
	Number uint64   // the be64, zero where the kind has none
}

// DecodeKey takes a state key apart; Encode of the result is k again.
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
		if i == info.number {
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

// Encode builds the key again.
func (d DecodedKey) Encode() []byte {
	b := appendPart([]byte{d.Kind}, d.Tenant)
	for i := range len(d.Parts) + 1 {
		if info := kindOf(d.Kind); info != nil && i == info.number {
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
