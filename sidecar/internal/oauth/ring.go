package oauth

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// The life of a signing key, on one line of time:
//
//	created, published     signs                  a newer key signs          its last token has expired
//	      | publishAhead --> |                          | keptAfter -----------> |
//	      | next             | signing                  | overlap                | retired: the private part is erased
//
// Only the creation, the erasure and a drop are writes, one record each. The steps between them follow from
// the clock. So a crash between any two steps leaves a key in one of these states.
const (
	// publishAhead is how long a new key is published before it signs. Clients may keep the JWKS for 5
	// minutes (Cache-Control), and their clocks differ.
	publishAhead = 10 * time.Minute
	// keptAfter is how long a key is published after it signed last.
	keptAfter = maxTokenLifetime + token.Leeway + time.Second

	// DefaultRotation is how long a key signs.
	DefaultRotation = 90 * 24 * time.Hour

	maxRetired = 50 // public parts that stay, for the seals of evidence reports
)

// accessTokenKeys is the use of the stored keys that sign access tokens.
const accessTokenKeys = "access-token"

// KeyState is a step in the life of a signing key.
type KeyState string

// The states of a signing key.
const (
	KeyNext    KeyState = "next"    // published, does not sign yet
	KeySigning KeyState = "signing" // signs access tokens and evidence reports
	KeyOverlap KeyState = "overlap" // signs no more; its tokens are accepted until they expire
	KeyRetired KeyState = "retired" // verifies evidence reports only; the private part is erased
)

// SigningKey is a signing key as operators see it.
type SigningKey struct {
	ID        string    `json:"kid"`
	State     KeyState  `json:"state"`
	Created   time.Time `json:"created"`
	Signs     time.Time `json:"signs"`          // from when it signs
	Until     time.Time `json:"until,omitzero"` // of one that signs or has signed: until when
	Encrypted bool      `json:"encrypted"`      // at rest; true for a retired key, which has no private part
}

// signsFrom is when a key begins to sign.
func signsFrom(k *store.Key) time.Time {
	if k.Signs.IsZero() {
		return k.Created
	}
	return k.Signs
}

// ordered sorts keys by the time from which they sign.
func ordered(keys []store.Key) []store.Key {
	slices.SortFunc(keys, func(a, b store.Key) int { return signsFrom(&a).Compare(signsFrom(&b)) })
	return keys
}

// stage returns the state of each of the ordered keys at a time, and until when a key signs or has signed.
func stage(keys []store.Key, now time.Time) (states []KeyState, until []time.Time) {
	signing := -1
	for i := range keys {
		if len(keys[i].JWK) > 0 && (signing < 0 || !signsFrom(&keys[i]).After(now)) {
			signing = i // without a key whose time has come, the clock is wrong: the first one signs
		}
	}
	for i := range keys {
		var end time.Time
		for j := i + 1; j < len(keys) && end.IsZero(); j++ {
			end = signsFrom(&keys[j])
		}
		state := KeyNext
		switch {
		case len(keys[i].JWK) == 0:
			state = KeyRetired
		case i == signing:
			state = KeySigning
		case i < signing:
			state = KeyOverlap
		default:
			end = time.Time{}
		}
		states, until = append(states, state), append(until, end)
	}
	return states, until
}

// ring has the signing keys of a tenant.
type ring struct {
	tenant  string
	public  token.OwnKeys
	current atomic.Pointer[ringView]

	mu    sync.Mutex // held while the keys are read from the store and put in force; no request takes it
	fault error      // why the newest keys of the store are not in force
}

// ringView is one state of the keys. It does not change.
type ringView struct {
	keys     []store.Key     // ordered; JWK as it is in the store
	signers  []*token.Signer // nil for a retired key
	jwks     []byte          // public parts of the keys whose tokens are accepted
	evidence []byte          // public parts of these and of the retired ones
	secrets  [][]byte        // of the nonces of DPoP, one from each private part
}

// signer returns the signer of the key that signs at a time.
func (v *ringView) signer(now time.Time) *token.Signer {
	states, _ := stage(v.keys, now)
	return v.signers[slices.Index(states, KeySigning)]
}

// young reports whether the key that signs at a time may not have reached every process yet: it signs at once, in
// place of a dropped one, or is the first one.
func (v *ringView) young(now time.Time) bool {
	states, _ := stage(v.keys, now)
	return now.Before(v.keys[slices.Index(states, KeySigning)].Created.Add(publishAhead))
}

// load opens the keys of the store and puts them in force.
func (r *ring) load(keys []store.Key, open func(*store.Key) ([]byte, error)) error {
	v := &ringView{keys: ordered(keys), signers: make([]*token.Signer, len(keys))}
	var live, all [][]byte
	for i := range v.keys {
		k := &v.keys[i]
		if len(k.JWK) > 0 {
			doc, err := open(k)
			if err != nil {
				return err
			}
			if v.signers[i], err = token.NewSigner(doc); err != nil {
				return fmt.Errorf("reading signing key %s: %w", k.ID, err)
			}
			live = append(live, k.Public)
			v.secrets = append(v.secrets, nonceSecret(r.tenant, doc))
		}
		all = append(all, k.Public)
	}
	v.jwks, v.evidence = token.JWKS(live...), token.JWKS(all...)
	if bytes.Equal(v.jwks, v.evidence) { // no retired key
		v.evidence = v.jwks
	}
	if err := r.public.Set(v.jwks); err != nil {
		return fmt.Errorf("publishing signing keys: %w", err)
	}
	r.current.Store(v)
	return nil
}

// nonceSecret derives a secret for nonces from a private JWK. All processes that share the store have the same ones. It
// reveals nothing of the key.
func nonceSecret(tenant string, doc []byte) []byte {
	h := hmac.New(sha256.New, doc)
	_, _ = h.Write([]byte("scimward dpop nonce\x00" + tenant)) // never fails
	return h.Sum(nil)
}

// list describes the keys for operators, the newest first.
func (v *ringView) list(now time.Time) []SigningKey {
	states, until := stage(v.keys, now)
	out := make([]SigningKey, 0, len(v.keys))
	for i := range v.keys {
		k := &v.keys[i]
		out = append(out, SigningKey{
			ID: k.ID, State: states[i], Created: k.Created, Signs: signsFrom(k), Until: until[i],
			Encrypted: k.Sealed != "" || len(k.JWK) == 0,
		})
	}
	slices.Reverse(out)
	return out
}
