package token

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// OwnKeys are the keys of an issuer that is part of this process. Several verifiers may share them. It is
// safe for concurrent use.
type OwnKeys struct {
	mu    sync.Mutex // held by Set and End
	set   atomic.Pointer[keySet]
	ended map[string]bool // by kid
}

// Set replaces the keys by those of a JWKS document. From then on a token of a removed key is refused, also
// by a verifier that has verified it before. After an error the former keys stay.
func (o *OwnKeys) Set(doc []byte) error {
	keys, err := parseKeySet(doc)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.replace(keys)
}

// End refuses every token of a key from now on. A later Set does not bring the key back, because its document may be
// older.
func (o *OwnKeys) End(kid string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended == nil {
		o.ended = map[string]bool{}
	}
	o.ended[kid] = true
	if old := o.set.Load(); old != nil {
		return o.replace(old.keys)
	}
	return nil
}

// replace puts those of the keys in force that have not ended. o.mu is held.
func (o *OwnKeys) replace(keys []*key) error {
	set := &keySet{}
	for _, k := range keys {
		if !o.ended[k.kid] {
			own := *k // the former set may be in use
			set.keys = append(set.keys, &own)
		}
	}
	var err error
	if set.digest, err = digestKeys(set.keys); err != nil {
		return fmt.Errorf("token: comparing keys: %w", err)
	}
	gen := uint64(1)
	if old := o.set.Load(); old != nil {
		if old.digest == set.digest {
			return nil
		}
		gen = old.gen + 1
	}
	publish(&o.set, set, gen)
	return nil
}

// publish numbers a set of keys and puts it in force.
func publish(to *atomic.Pointer[keySet], set *keySet, gen uint64) {
	set.gen = gen
	for _, key := range set.keys {
		key.gen = gen
	}
	to.Store(set)
}
