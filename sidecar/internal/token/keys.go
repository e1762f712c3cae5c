package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

// Times and bounds of a [keySource].
const (
	defaultRefresh = 5 * time.Minute  // without cache headers
	minRefresh     = time.Minute      // least time between two refreshes
	maxRefresh     = 15 * time.Minute // most time between two refreshes: a removed key may stay in use so long
	maxStale       = 24 * time.Hour   // how long the last good keys stay in use during an outage
	cooldown       = 30 * time.Second // least time between two refreshes for unknown kids
	fetchTimeout   = 5 * time.Second  // of one refresh, discovery included
	firstRetry     = 2 * time.Second
	maxKeyBytes    = 256 << 10 // of a document
	maxKeys        = 64        // of a set
)

// keySource has the keys of one issuer. Unless they come from a document, a goroutine refreshes
// them in the background. It follows the cache headers within limits, with jitter. A token with an
// unknown kid may start an extra refresh. All callers share this refresh, and a cooldown prevents
// frequent ones. While the issuer is unreachable, the last good keys stay in use until maxStale.
//
// Each different set of keys has its own generation. A token that was verified under another
// generation must be verified again.
type keySource struct {
	name string // of the issuer, for logs and errors
	now  func() time.Time
	rand func() float64
	log  *slog.Logger

	fetch   *fetcher // nil for keys from a document
	set     *atomic.Pointer[keySet]
	metrics *verifierMetrics

	wake    chan struct{} // a caller asked for a refresh
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex    // guards the fields below
	pending chan struct{} // closed at the end of the running or requested refresh; nil if there is none
	forced  time.Time     // when an unknown kid last caused a refresh
	err     error         // of the last refresh
	closed  bool
}

var (
	errClosed = errors.New("token: the verifier is closed")
	errStale  = errors.New("the last good keys are too old")
)

// newKeySource starts the refresher, which close stops. Keys that must be fetched may still be
// missing when it returns: see ready.
func newKeySource(c *IssuerConfig, o *Options, metrics *verifierMetrics) (*keySource, error) {
	k := &keySource{name: cmp.Or(c.KeyIssuer, c.Issuer), now: o.Now, rand: o.Rand, log: o.Logger, stop: func() {}}
	if c.Own != nil {
		if c.JWKS != nil || c.JWKSURL != "" || c.KeyIssuer != "" || c.Own.set.Load() == nil {
			return nil, errors.New("the issuer's own keys are missing, or not the only ones")
		}
		k.set = &c.Own.set
		return k, nil
	}
	k.set = &atomic.Pointer[keySet]{}
	if c.JWKS != nil {
		if c.JWKSURL != "" || c.KeyIssuer != "" {
			return nil, errors.New("keys are configured both as a document and as a URL or issuer")
		}
		keys, err := parseKeySet(c.JWKS)
		if err != nil {
			return nil, err
		}
		publish(k.set, &keySet{keys: keys}, 1)
		return k, nil
	}
	var err error
	if k.fetch, err = newFetcher(k.name, c.JWKSURL, c.HTTPClient); err != nil {
		return nil, err
	}
	if former := o.Former.fetched(c); former != nil {
		k.set.Store(former.set.Load())
	}
	k.metrics = metrics
	metrics.expectRefreshes()
	k.wake, k.pending = make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.running.Go(func() { k.run(ctx) })
	return k, nil
}

// fetched returns the keys that a verifier fetches from the same place as c, with the same client. A nil
// verifier has none.
func (v *Verifier) fetched(c *IssuerConfig) *keySource {
	if v == nil {
		return nil
	}
	for _, iss := range v.issuers {
		from := iss.keys.fetch
		if from != nil && iss.keys.name == cmp.Or(c.KeyIssuer, c.Issuer) && from.jwksURL == c.JWKSURL &&
			from.given == c.HTTPClient {
			return iss.keys
		}
	}
	return nil
}

// close stops the refresher and waits for it. Callers that wait for a refresh get an error.
func (k *keySource) close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop()
	k.running.Wait()
}

// generation returns the number of the current set of keys, or 0 without a usable set.
func (k *keySource) generation(now time.Time) uint64 {
	if set := k.current(now); set != nil {
		return set.gen
	}
	return 0
}

// ready returns nil if there are usable keys. Otherwise it waits for a running refresh. If none
// runs, it returns the error of the last one.
func (k *keySource) ready(ctx context.Context) error {
	if k.current(k.now()) != nil {
		return nil
	}
	k.mu.Lock()
	pending := k.pending
	k.mu.Unlock()
	var err error
	if pending != nil {
		err = k.wait(ctx, pending)
	} else {
		err = k.lastError()
	}
	if k.current(k.now()) != nil {
		return nil
	}
	return fmt.Errorf("fetching keys of %s: %w", k.name, cmp.Or(err, errStale))
}

func (k *keySource) lastError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// wait waits for a refresh within ctx and returns the refresh's error.
func (k *keySource) wait(ctx context.Context, pending <-chan struct{}) error {
	select {
	case <-pending:
		return k.lastError()
	case <-ctx.Done():
		return fmt.Errorf("waiting for keys: %w", ctx.Err())
	}
}

// current returns the set in use, or nil if there is none or it is too old.
func (k *keySource) current(now time.Time) *keySet {
	set := k.set.Load()
	if set == nil || (k.fetch != nil && now.Sub(set.fetched) > maxStale) {
		return nil
	}
	return set
}

// lookup returns the key for kid and alg. It waits only if the kid is unknown and the cooldown
// allows a refresh.
func (k *keySource) lookup(ctx context.Context, kid string, alg jwa.SignatureAlgorithm) (*key, *Error) {
	const unknown = "no key of the issuer has this kid and fits this alg"
	found, ambiguous := k.current(k.now()).find(kid, alg)
	switch {
	case found != nil:
		return found, nil
	case ambiguous:
		return nil, refuse(ReasonKey, "the header has no kid and several keys fit")
	case k.fetch == nil:
		return nil, refuse(ReasonKey, unknown)
	}
	err := k.refetch(ctx)
	set := k.current(k.now())
	if found, _ = set.find(kid, alg); found != nil {
		return found, nil
	}
	if set == nil || err != nil { // the kid may be a new one that cannot be fetched
		return nil, &Error{
			Reason: ReasonUnavailable, Detail: "the key is not known and the keys of the issuer cannot be read now", Err: err,
		}
	}
	return nil, refuse(ReasonKey, unknown)
}

// refetch waits within ctx for the running refresh. If none runs, it requests one, unless the
// cooldown forbids it. Both steps happen under one lock, so that any number of callers cause one
// fetch. It returns the error of the last refresh.
func (k *keySource) refetch(ctx context.Context) error {
	k.mu.Lock()
	pending := k.pending
	if pending == nil {
		now := k.now()
		if k.closed || (!k.forced.IsZero() && now.Sub(k.forced) < cooldown) {
			defer k.mu.Unlock()
			return k.err
		}
		pending = make(chan struct{})
		k.pending, k.forced = pending, now
		k.wake <- struct{}{} // never blocks: only a new request sends, and begin drains it
	}
	k.mu.Unlock()
	return k.wait(ctx, pending)
}

// run is the refresher. Only this goroutine fetches and publishes keys.
func (k *keySource) run(ctx context.Context) {
	for failures := 0; ; {
		k.begin()
		next, err := k.refresh(ctx)
		if err != nil {
			next = min(firstRetry<<min(failures, 10), minRefresh)
			failures++
		} else {
			failures = 0
		}
		k.end(err)
		select {
		case <-time.After(time.Duration(float64(next) * (0.9 + 0.2*k.rand()))):
		case <-k.wake:
		case <-ctx.Done():
			k.begin()
			k.end(errClosed)
			return
		}
	}
}

// begin starts a requested or a scheduled refresh. It consumes the signal of the request.
func (k *keySource) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending == nil {
		k.pending = make(chan struct{})
	}
	select {
	case <-k.wake:
	default:
	}
}

// end wakes the callers that wait for the refresh.
func (k *keySource) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.pending)
	k.pending, k.err = nil, err
}

// refresh fetches once and publishes the result. It returns how long the result stays fresh. After
// a failure the last good set stays in use.
func (k *keySource) refresh(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fresh, err := k.load(ctx)
	if err != nil {
		k.metrics.countRefresh("failed")
		k.log.LogAttrs(ctx, slog.LevelWarn, "refreshing keys",
			slog.String("issuer", k.name), slog.String("error", err.Error()))
		return 0, err
	}
	k.metrics.countRefresh("ok")
	return fresh, nil
}

func (k *keySource) load(ctx context.Context) (time.Duration, error) {
	doc, err := k.fetch.keys(ctx)
	if err != nil {
		return 0, err
	}
	set := &keySet{fetched: k.now()}
	if set.keys, err = parseKeySet(doc.body); err != nil {
		return 0, err
	}
	if set.digest, err = digestKeys(set.keys); err != nil {
		return 0, err
	}
	gen := uint64(1)
	if old := k.set.Load(); old != nil {
		gen = old.gen
		if old.digest != set.digest {
			gen++
		}
	}
	publish(k.set, set, gen)
	return min(max(doc.fresh, minRefresh), maxRefresh), nil
}
