package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/internal/admission"
)

// The bounds of the cache of one plugin. Credentials without an owner have a small cache of their own, so that
// made-up ones cannot evict the others.
const (
	maxIdentities = 10_000
	maxUnknown    = 1_024
)

// Lifetimes of cached answers. Every request is checked against the lock table, so a lock also applies to
// a cached credential.
const (
	identityMax      = 300 * time.Second
	identityDefault  = 30 * time.Second // the plugin gives no cache_s
	identityNegative = 5 * time.Second  // the application does not know the credential
)

// Question asks who owns a credential of a request.
type Question struct {
	// Credential says where it was found. Identify sets its Ref and SHA256.
	Credential abi.Credential
	// Secret is the credential.
	Secret string
	// Client is the address of the client that sent it. Calls are shared fairly among clients.
	Client string
	// Fixed means that the credential never changes its owner. Otherwise an answer counts only until the next
	// lock of the tenant: a session may have gone to the user who was locked.
	Fixed bool
	// Fresh wants an answer to a call that begins later, unless the credential is fixed. The request may stay open
	// for hours, and nobody asks again meanwhile.
	Fresh bool
}

// credentialHash names a credential and the place where it was found.
type credentialHash [sha256.Size]byte

// hash belongs to the place too: an application may know a text in one place and not in another. An answer
// about the wrong place must not let the credential pass as an unknown one.
func (q *Question) hash() credentialHash {
	text := make([]byte, 0, 512)
	for _, s := range [...]string{q.Credential.Source, q.Credential.Name, q.Credential.Scheme, q.Credential.Prefix} {
		text = append(append(text, s...), 0) // the configuration has no NUL
	}
	return sha256.Sum256(append(text, q.Secret...))
}

type identityEntry struct {
	result abi.IdentifyResult
	until  time.Time // after it, the entry only says that the credential was known
	lock   uint64    // identities.locks when the call began
}

// identities is the cache of the owners of credentials of one application. At most one call for a credential
// is in flight that others may share. Errors are not cached, and neither is a session of nobody.
type identities struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	owners  *lru.LRU[credentialHash, identityEntry]
	unknown *lru.LRU[credentialHash, identityEntry]
	// byName indexes owners by user, because Forget runs while the store commits and must not scan every entry.
	byName map[string]map[credentialHash]bool
	calls  map[credentialHash]*identifyCall
	// locks counts the Forget calls. Whoever asks after a Forget gets an answer to a call that began after it,
	// unless the credential is fixed and belongs to another user.
	locks  uint64
	closed bool
	wg     sync.WaitGroup
}

// identifyCall is one call of a plugin and its answer once done is closed.
type identifyCall struct {
	begun  bool   // the guest may have asked the application
	lock   uint64 // identities.locks when it began
	done   chan struct{}
	result abi.IdentifyResult
	err    error
}

func newIdentities(now func() time.Time) *identities {
	i := &identities{
		now: now, byName: map[string]map[credentialHash]bool{}, calls: map[credentialHash]*identifyCall{},
	}
	// The only error of NewLRU is a size below 1.
	i.owners, _ = lru.NewLRU(maxIdentities, i.evicted)
	i.unknown, _ = lru.NewLRU[credentialHash, identityEntry](maxUnknown, nil)
	return i
}

// foldName returns equal keys for two names exactly if [strings.EqualFold] reports true.
func foldName(s string) string { return strings.Map(leastFold, s) }

func namesOf(s *abi.Identity) []string {
	var out []string
	for _, n := range []string{s.UserName, s.SCIMID, s.AppUserID} {
		if n != "" {
			out = append(out, foldName(n))
		}
	}
	return out
}

// add and evicted keep byName in step with owners.
func (i *identities) add(key credentialHash, e identityEntry) {
	i.owners.Remove(key)
	i.unknown.Remove(key)
	if e.result.Subject == nil {
		i.unknown.Add(key, e)
		return
	}
	i.owners.Add(key, e)
	for _, n := range namesOf(e.result.Subject) {
		if i.byName[n] == nil {
			i.byName[n] = map[credentialHash]bool{}
		}
		i.byName[n][key] = true
	}
}

func (i *identities) evicted(key credentialHash, e identityEntry) {
	for _, n := range namesOf(e.result.Subject) {
		delete(i.byName[n], key)
		if len(i.byName[n]) == 0 {
			delete(i.byName, n)
		}
	}
}

// lookup returns the cached answer, if it counts, and the class of a call for a new one. The caller must have
// locked mu.
func (i *identities) lookup(key credentialHash, fixed bool) (e identityEntry, ok bool, class admission.Class) {
	class = admission.Known
	if e, ok = i.owners.Get(key); !ok {
		class = admission.Unseen
		e, ok = i.unknown.Get(key)
	}
	return e, ok && i.now().Before(e.until) && (fixed || e.lock == i.locks), class
}

// call waits for the turn of a call, calls began, and makes the call.
type call func(began func()) (abi.IdentifyResult, error)

// get returns the cached answer or shares one call, unless the question wants a fresh answer. admit admits a call
// or refuses it, without waiting.
func (i *identities) get(
	ctx context.Context, q Question, admit func(admission.Class) (call, error),
) (res abi.IdentifyResult, cached bool, err error) {
	key := q.hash()
	i.mu.Lock()
	e, ok, class := i.lookup(key, q.Fixed)
	fresh := q.Fresh && !q.Fixed
	if ok && !fresh {
		i.mu.Unlock()
		return e.result, true, nil
	}
	c := i.calls[key]
	if c == nil || fresh && c.begun {
		if i.closed {
			i.mu.Unlock()
			return res, false, &Error{Code: abi.CodeNotLoaded, Message: "the host is closed"}
		}
		call, err := admit(class)
		if err != nil {
			i.mu.Unlock()
			return res, false, err
		}
		c = &identifyCall{done: make(chan struct{})}
		i.calls[key] = c
		i.wg.Go(func() {
			c.result, c.err = call(func() { i.begin(c) })
			i.finish(key, c)
		})
	}
	i.mu.Unlock()
	select {
	case <-c.done:
		return c.result, false, c.err
	case <-ctx.Done():
		return res, false, &Error{Code: abi.CodeDeadline, Message: "identify did not answer in time"}
	}
}

// begin notes that the turn of a call has come.
func (i *identities) begin(c *identifyCall) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c.begun, c.lock = true, i.locks
}

// finish ends a call and caches its answer. A call that is not among the calls any more began before a Forget
// or before a fresh call. Its answer only shows that the credential is known, and replaces no other.
func (i *identities) finish(key credentialHash, c *identifyCall) {
	i.mu.Lock()
	defer i.mu.Unlock()
	newest := i.calls[key] == c
	if newest {
		delete(i.calls, key)
	}
	switch ttl := lifetime(c.result); {
	case c.err != nil:
	case !newest && (i.owners.Contains(key) || i.unknown.Contains(key)):
	case c.result.Anonymous:
		i.owners.Remove(key)
		i.unknown.Remove(key)
	case !newest || ttl <= 0:
		i.add(key, identityEntry{result: c.result})
	default:
		i.add(key, identityEntry{result: c.result, until: i.now().Add(ttl), lock: c.lock})
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

// forget lets no answer about a user under any of names count any more, and no answer about a credential that
// may change its owner. It also detaches the calls that have begun, so that a later caller starts a new one.
func (i *identities) forget(names []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.locks++
	maps.DeleteFunc(i.calls, func(_ credentialHash, c *identifyCall) bool { return c.begun })
	for _, n := range names {
		for key := range i.byName[foldName(n)] {
			if e, ok := i.owners.Peek(key); ok {
				e.until = time.Time{}
				i.owners.Add(key, e)
			}
		}
	}
}

func (i *identities) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.wg.Wait()
}

// identify returns the owner of a credential, from the cache or from the guest.
func (p *plugin) identify(ctx context.Context, q Question) (abi.IdentifyResult, error) {
	deadline := time.Now().Add(p.common.identify)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	res, cached, err := p.identities.get(ctx, q, func(class admission.Class) (call, error) {
		turn, err := p.queue.Enter(class, network(q.Client), deadline)
		if err != nil {
			return nil, p.refuse(class, err)
		}
		return func(began func()) (abi.IdentifyResult, error) {
			// The call continues when this caller leaves, because others may share it.
			ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
			defer cancel()
			waiting := p.common.metrics.identifyWaiting.WithLabelValues(p.cfg.Tenant, p.cfg.App, class.String())
			waiting.Inc()
			err := turn.Wait(ctx)
			waiting.Dec()
			if err != nil {
				return abi.IdentifyResult{}, p.refuse(class, err)
			}
			began()
			return p.ask(ctx, q, turn.Done)
		}, nil
	})
	switch {
	case cached && res.Subject == nil:
		p.cachedUnknown.Inc()
	case cached:
		p.cachedOwner.Inc()
	}
	return res, err
}

// refuse counts a call that is not made.
func (p *plugin) refuse(class admission.Class, err error) error {
	reason := "late"
	if errors.Is(err, admission.ErrFull) {
		reason = "full"
	}
	p.common.metrics.identifyRefused.WithLabelValues(p.cfg.Tenant, p.cfg.App, class.String(), reason).Inc()
	return &Error{Code: abi.CodeBusy, Message: "identify: " + err.Error()}
}

// network returns the part of an address that one client has to itself: an IPv6 client usually has a /64.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	prefix, _ := a.Prefix(64)
	return prefix.String()
}

// ask asks the guest. It calls done when the call has ended, and says whether the application had the time
// that it needed.
func (p *plugin) ask(ctx context.Context, q Question, done func(served bool)) (abi.IdentifyResult, error) {
	c := q.Credential
	sum := sha256.Sum256([]byte(q.Secret))
	c.Ref, c.SHA256 = credentialRef, hex.EncodeToString(sum[:])
	s := p.egress.session(true, known{name: "credential in " + c.Source + " " + c.Name, value: q.Secret})
	req := abi.Request{Op: abi.OpIdentify, Credentials: []abi.Credential{c}}
	out := p.call(ctx, req, p.common.identify, s)
	done(out.code == "" || out.code == abi.CodeDeadline)
	res, err := judgeIdentify(out, s, p.common.opts.Now())
	var fault *Error
	if errors.As(err, &fault) && fault.Code == abi.CodeRedacted {
		p.countChanged(ctx, req.Op, s.changed.get())
	}
	return res, err
}
