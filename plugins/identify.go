package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/scimward/scimward/plugins/abi"
)

// maxIdentities bounds the cache of all plugins of a host.
const maxIdentities = 10_000

// Lifetimes of cached answers. Every request is checked against the lock table, so a lock also applies to
// a cached credential.
const (
	identityMax      = 300 * time.Second
	identityDefault  = 30 * time.Second // the plugin gives no cache_s
	identityNegative = 5 * time.Second  // the application does not know the credential
)

// identityKey names a credential of one application of one tenant by its hash.
type identityKey struct {
	tenant, app string
	sum         [sha256.Size]byte
}

func newIdentityKey(tenant, app, secret string) identityKey {
	return identityKey{tenant, app, sha256.Sum256([]byte(secret))}
}

func (k identityKey) hex() string { return hex.EncodeToString(k.sum[:]) }

type identityEntry struct {
	result abi.IdentifyResult
	until  time.Time
}

// identities is the bounded cache of the owners of credentials. At most one call for a credential is in
// flight. Errors are not cached.
type identities struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	cache *lru.LRU[identityKey, identityEntry]
	// byName indexes the cache by user, because Forget runs while the store commits and must not scan every
	// entry.
	byName map[nameKey]map[identityKey]bool
	calls  map[identityKey]*identifyCall
	// forgets counts the Forget calls of a tenant. An answer to a call that began before a Forget is not
	// cached, because it may be about the same user.
	forgets map[string]uint64
	closed  bool
	wg      sync.WaitGroup
}

// identifyCall is one call of a plugin and its answer once done is closed.
type identifyCall struct {
	done   chan struct{}
	result abi.IdentifyResult
	err    error
}

func newIdentities(now func() time.Time) (*identities, error) {
	i := &identities{
		now: now, byName: map[nameKey]map[identityKey]bool{},
		calls: map[identityKey]*identifyCall{}, forgets: map[string]uint64{},
	}
	var err error
	i.cache, err = lru.NewLRU(maxIdentities, i.evicted)
	return i, err
}

// nameKey is a folded name that some plugin of a tenant gave to a user.
type nameKey struct{ tenant, name string }

// foldName returns equal keys for two names exactly if [strings.EqualFold] reports true.
func foldName(s string) string { return strings.Map(leastFold, s) }

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

// add and evicted keep byName in step with the cache.
func (i *identities) add(key identityKey, e identityEntry) {
	i.cache.Remove(key)
	i.cache.Add(key, e)
	for _, n := range namesOf(key.tenant, e.result.Subject) {
		if i.byName[n] == nil {
			i.byName[n] = map[identityKey]bool{}
		}
		i.byName[n][key] = true
	}
}

func (i *identities) evicted(key identityKey, e identityEntry) {
	for _, n := range namesOf(key.tenant, e.result.Subject) {
		delete(i.byName[n], key)
		if len(i.byName[n]) == 0 {
			delete(i.byName, n)
		}
	}
}

// get returns the cached answer or shares one call of ask. The call has its own deadline and continues
// when this caller leaves.
func (i *identities) get(
	ctx context.Context, key identityKey, ask func(context.Context) (abi.IdentifyResult, error),
) (abi.IdentifyResult, error) {
	i.mu.Lock()
	if e, ok := i.cache.Get(key); ok {
		if i.now().Before(e.until) {
			i.mu.Unlock()
			return e.result, nil
		}
		i.cache.Remove(key)
	}
	c := i.calls[key]
	if c == nil {
		if i.closed {
			i.mu.Unlock()
			return abi.IdentifyResult{}, &Error{Code: abi.CodeNotLoaded, Message: "the host is closed"}
		}
		c = &identifyCall{done: make(chan struct{})}
		i.calls[key] = c
		forgets := i.forgets[key.tenant]
		i.wg.Go(func() {
			c.result, c.err = ask(context.WithoutCancel(ctx))
			i.finish(key, c, forgets)
		})
	}
	i.mu.Unlock()
	select {
	case <-c.done:
		return c.result, c.err
	case <-ctx.Done():
		return abi.IdentifyResult{}, &Error{Code: abi.CodeDeadline, Message: "identify did not answer in time"}
	}
}

// finish ends a call and caches its answer. forgets is the tenant's count when the call began.
func (i *identities) finish(key identityKey, c *identifyCall, forgets uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.calls[key] == c {
		delete(i.calls, key)
	}
	if ttl := lifetime(c.result); c.err == nil && ttl > 0 && i.forgets[key.tenant] == forgets {
		i.add(key, identityEntry{result: c.result, until: i.now().Add(ttl)})
	}
	close(c.done)
}

// lifetime returns how long an answer is cached. A negative cache_s disables caching.
func lifetime(r abi.IdentifyResult) time.Duration {
	ttl := identityDefault
	if r.CacheS != 0 {
		ttl = time.Duration(min(max(r.CacheS, 0), int(identityMax/time.Second))) * time.Second
	}
	if r.Subject == nil {
		return min(ttl, identityNegative)
	}
	return ttl
}

// forget evicts all entries of a user under any of names. It also detaches the tenant's calls, so that a
// later caller starts a new one.
func (i *identities) forget(tenant string, names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forgets[tenant]++
	for key := range i.calls {
		if key.tenant == tenant {
			delete(i.calls, key)
		}
	}
	for _, n := range names {
		for key := range i.byName[nameKey{tenant, foldName(n)}] {
			i.cache.Remove(key) // evicted removes it from byName
		}
	}
}

// forgetApp evicts every answer of an application's plugin, and detaches its calls.
func (i *identities) forgetApp(app appKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forgets[app.tenant]++
	for key := range i.calls {
		if (appKey{key.tenant, key.app}) == app {
			delete(i.calls, key)
		}
	}
	for _, key := range i.cache.Keys() {
		if (appKey{key.tenant, key.app}) == app {
			i.cache.Remove(key)
		}
	}
}

func (i *identities) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.wg.Wait()
}

// identify asks a plugin for the owner of the credential secret.
func (p *plugin) identify(ctx context.Context, c abi.Credential, secret string) (abi.IdentifyResult, error) {
	timeout := p.common.identify
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s := p.egress.session(true, known{name: "credential in " + c.Source + " " + c.Name, value: secret})
	req := abi.Request{Op: abi.OpIdentify, Credentials: []abi.Credential{c}}
	res, err := judgeIdentify(p.call(ctx, req, timeout, s), s, p.common.opts.Now())
	var fault *Error
	if errors.As(err, &fault) && fault.Code == abi.CodeRedacted {
		p.countChanged(ctx, req.Op, s.changed.get())
	}
	return res, err
}
