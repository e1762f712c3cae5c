package token

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// OwnKeys are the keys of an issuer that is part of this process. Several verifiers may share them. It is
// safe for concurrent use.
type OwnKeys struct {
	mu  sync.Mutex // held by Set
	set atomic.Pointer[keySet]
}

// Set replaces the keys by those of a JWKS document. From then on a token of a removed key is refused, also
// by a verifier that has verified it before. After an error the former keys stay.
func (o *OwnKeys) Set(doc []byte) error {
	keys, err := parseKeySet(doc)
	if err != nil {
		return err
	}
	set := &keySet{keys: keys}
	if set.digest, err = digestKeys(keys); err != nil {
		return fmt.Errorf("token: comparing keys: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
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
