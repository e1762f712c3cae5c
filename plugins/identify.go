package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/scimward/scimward/plugins/abi"
)

// How long an identity is remembered (design: plugins §6.5). The lock is judged on
// every request, so a remembered credential dies with its user all the same.
const (
	identityMax      = 300 * time.Second
	identityDefault  = 30 * time.Second // a plugin that says nothing
	identityNegative = 5 * time.Second  // a credential the application does not know
)

// identityKey names a credential of one application of one tenant, by its hash.
type identityKey struct {
	tenant, app string
	sum         [sha256.Size]byte
}

type identityEntry struct {
	result abi.IdentifyResult
	until  time.Time
}

// identities is the bounded cache of who owns which credential. At most one call
// for a credential is in flight; errors are not remembered.
type identities struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	cache *lru.LRU[identityKey, identityEntry]
	// named finds what the cache has of a user: Forget runs while the store commits,
	// and does not look at every entry.
	named   map[nameKey]map[identityKey]bool
	flights map[identityKey]*flight
	// forgotten counts the Forget calls of a tenant: an answer that was asked for
	// before one may be of a user it was about, and is not kept.
	forgotten map[string]uint64
	closed    bool
	wg        sync.WaitGroup
}

type flight struct {
	done   chan struct{}
	result abi.IdentifyResult
	err    error
}

func newIdentities(entries int, now func() time.Time) (*identities, error) {
	i := &identities{now: now, named: map[nameKey]map[identityKey]bool{}, flights: map[identityKey]*flight{}, forgotten: map[string]uint64{}}
	var err error
	i.cache, err = lru.NewLRU(entries, i.dropped)
	return i, err
}

// nameKey is a name that some plugin of a tenant gave to a user, folded.
type nameKey struct{ tenant, name string }

// foldName is equal for two names exactly when [strings.EqualFold] is true of them.
func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

func namesOf(tenant string, s *abi.Identity) []nameKey {
	if s == nil {
		return nil
	}
	var out []nameKey
	for _, n := range []string{s.UserName, s.SCIMID, s.AppUserID} {
		if n != "" {
			out = append(out, nameKey{tenant, foldName(n)})
		}
	}
	return out
}

// remember and dropped keep named in step with the cache.
func (i *identities) remember(key identityKey, e identityEntry) {
	i.cache.Remove(key)
	i.cache.Add(key, e)
	for _, n := range namesOf(key.tenant, e.result.Subject) {
		if i.named[n] == nil {
			i.named[n] = map[identityKey]bool{}
		}
		i.named[n][key] = true
	}
}

func (i *identities) dropped(key identityKey, e identityEntry) {
	for _, n := range namesOf(key.tenant, e.result.Subject) {
		delete(i.named[n], key)
		if len(i.named[n]) == 0 {
			delete(i.named, n)
		}
	}
}

// get returns the remembered answer or shares one call of ask, which has its own
// deadline and goes on when this caller leaves.
func (i *identities) get(ctx context.Context, key identityKey, ask func(context.Context) (abi.IdentifyResult, error)) (abi.IdentifyResult, error) {
	i.mu.Lock()
	if e, ok := i.cache.Get(key); ok {
		if i.now().Before(e.until) {
			i.mu.Unlock()
			return e.result, nil
		}
		i.cache.Remove(key)
	}
	f := i.flights[key]
	if f == nil {
		if i.closed {
			i.mu.Unlock()
			return abi.IdentifyResult{}, &Error{Code: abi.CodeNotLoaded, Message: "the host is closed"}
		}
		f = &flight{done: make(chan struct{})}
		i.flights[key] = f
		asked := i.forgotten[key.tenant]
		i.wg.Go(func() {
			fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), identifyTimeout)
			defer cancel()
			f.result, f.err = ask(fctx)
			i.land(key, f, asked)
		})
	}
	i.mu.Unlock()
	select {
	case <-f.done:
		return f.result, f.err
	case <-ctx.Done():
		return abi.IdentifyResult{}, &Error{Code: abi.CodeDeadline, Message: "identify did not answer in time"}
	}
}

// land ends a flight and remembers its answer.
func (i *identities) land(key identityKey, f *flight, asked uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.flights[key] == f {
		delete(i.flights, key)
	}
	if ttl := lifetime(f.result); f.err == nil && ttl > 0 && i.forgotten[key.tenant] == asked {
		i.remember(key, identityEntry{result: f.result, until: i.now().Add(ttl)})
	}
	close(f.done)
}

// lifetime is how long an answer is remembered; cache_s below zero asks for not at all.
func lifetime(r abi.IdentifyResult) time.Duration {
	ttl := time.Duration(min(max(r.CacheS, -1), 300)) * time.Second
	switch {
	case ttl == 0:
		ttl = identityDefault
	case ttl < 0:
		return 0
	}
	if r.Subject == nil {
		return min(ttl, identityNegative)
	}
	return min(ttl, identityMax)
}

// forget drops what is known of a user under any of names, and detaches the flights
// of the tenant: who asks from now on gets a fresh answer.
func (i *identities) forget(tenant string, names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forgotten[tenant]++
	for key := range i.flights {
		if key.tenant == tenant {
			delete(i.flights, key)
		}
	}
	for _, n := range names {
		for key := range i.named[nameKey{tenant, foldName(n)}] {
			i.cache.Remove(key) // and so out of named
		}
	}
}

func (i *identities) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.wg.Wait()
}

// identify asks a plugin whose credential it is.
func (p *plugin) identify(ctx context.Context, c abi.Credential, secret string) (abi.IdentifyResult, error) {
	req := abi.Request{Op: abi.OpIdentify, Credentials: []abi.Credential{c}}
	out, redact := p.run(ctx, p.askSlots, req, identifyTimeout, secret)
	return judgeIdentify(out, redact, p.host.opts.Now())
}

func hashOf(secret string) ([sha256.Size]byte, string) {
	sum := sha256.Sum256([]byte(secret))
	return sum, hex.EncodeToString(sum[:])
}
