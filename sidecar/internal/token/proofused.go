package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

const (
	maxProofs  = 1 << 17 // remembered for one tenant: 15 MiB, 1,000 requests a second
	proofLife  = proofAge + 2*Leeway
	nonceLife  = 5 * time.Minute
	nonceStep  = time.Minute
	nonceBytes = 8 + 16
)

// proofHash names a proof, or the request that it came with.
type proofHash [16]byte

func hashProof(s string) proofHash {
	sum := sha256.Sum256([]byte(s))
	return proofHash(sum[:])
}

// proofUse is the request that a proof came with.
type proofUse struct {
	request proofHash
	asked   uint8 // by the proxy
	served  bool  // by the service
}

// maxAsked is how often the proxy may ask about one request: once, and once again without an answer.
const maxAsked = 2

// usedProofs remembers proofs as long as they could be valid.
type usedProofs struct {
	most int // maxProofs

	mu    sync.Mutex
	uses  map[proofHash]proofUse
	queue []struct {
		proof proofHash
		until time.Time
	} // in the order of their first use
}

// use accepts a proof for one request, and remembers that if keep is set. The proxy asks first, and then the
// service. After the service has asked, nobody may use the proof again, also not with the same request id.
func (u *usedProofs) use(c *CheckedProof, now time.Time, keep bool) *Error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(now)
	r := &c.request
	name, request := hashProof(c.name), hashProof(r.ID)
	use, known := u.uses[name]
	switch {
	case now.After(c.until): // its first use may be forgotten
		return tooOld()
	case known && (use.request != request || use.served || r.Ahead && use.asked >= maxAsked):
		return usedBefore()
	case !known && len(u.uses) >= u.most:
		return refuse(ReasonProofMemory, "too many DPoP proofs were sent in the last two minutes; try again later")
	case !keep:
		return nil
	case !known:
		if u.uses == nil {
			u.uses = map[proofHash]proofUse{}
		}
		u.queue = append(u.queue, struct {
			proof proofHash
			until time.Time
		}{name, now.Add(proofLife)})
	}
	use.request = request
	if r.Ahead {
		use.asked++
	} else {
		use.served = true
	}
	u.uses[name] = use
	return nil
}

func usedBefore() *Error {
	return refuse(ReasonProofReplay,
		"the DPoP proof: it was used before; make a new one, with a new jti, for each request")
}

// forget removes the proofs whose iat is too old by now.
func (u *usedProofs) forget(now time.Time) {
	for len(u.queue) > 0 && now.After(u.queue[0].until) {
		delete(u.uses, u.queue[0].proof)
		u.queue = u.queue[1:]
	}
}

// nonces makes and recognizes nonces without remembering them: a nonce is a time and its MAC under a secret. After a
// restart, the client of a process alone gets a new one with its next answer (RFC 9449 §8.2).
type nonces struct {
	secrets func() [][]byte // the first one makes nonces
}

// newNonces has a secret of this process.
func newNonces() nonces {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	return nonces{func() [][]byte { return [][]byte{secret} }}
}

func (n nonces) make(now time.Time) string {
	for _, secret := range n.secrets() {
		return nonceOf(secret, now.Truncate(nonceStep).Unix())
	}
	return ""
}

func nonceOf(secret []byte, second int64) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nonceBytes), uint64(second))
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write(b) // a hash never fails
	return base64url.EncodeToString(mac.Sum(b)[:nonceBytes])
}

func (n nonces) valid(nonce string, now time.Time) bool {
	b, err := decode(nonce)
	if err != nil || len(b) != nonceBytes {
		return false
	}
	made := int64(binary.BigEndian.Uint64(b)) // anything, until the MAC below
	if age := now.Sub(time.Unix(made, 0)); age < -Leeway || age > nonceLife {
		return false
	}
	return slices.ContainsFunc(n.secrets(), func(secret []byte) bool {
		return hmac.Equal([]byte(nonce), []byte(nonceOf(secret, made)))
	})
}
