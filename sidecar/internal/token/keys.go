package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults and bounds of [KeysOptions].
const (
	defaultRefresh      = 5 * time.Minute
	defaultMinRefresh   = time.Minute
	defaultMaxRefresh   = 15 * time.Minute
	defaultMaxStale     = 24 * time.Hour
	defaultCooldown     = 30 * time.Second
	defaultFetchTimeout = 5 * time.Second
	defaultMaxKeyBytes  = 256 << 10
	defaultMaxKeys      = 64
	firstRetry          = 2 * time.Second
)

// KeysOptions say where an issuer's keys are. Exactly one of JWKS, JWKSURL and
// MetadataURL may be set; with none of them the metadata is discovered from
// Issuer. Every URL is https, or http on loopback.
type KeysOptions struct {
	Issuer      string // issuer identifier; needed for MetadataURL and discovery, where the document must repeat it byte for byte (B21)
	JWKS        []byte // the document itself; never refreshed
	JWKSURL     string
	MetadataURL string // RFC 8414 or OpenID Provider metadata, where it is not at the well-known place

	HTTPClient   *http.Client     // nil is a client of its own; redirects are never followed
	Now          func() time.Time // nil is time.Now
	Rand         func() float64   // jitter, in [0,1); nil is math/rand
	MinRefresh   time.Duration    // lower bound of the time between refreshes; 0 is 1 minute
	MaxRefresh   time.Duration    // upper bound, so how long a removed key may live on; 0 is 15 minutes
	MaxStale     time.Duration    // how long the last good keys serve an outage; 0 is 24 hours
	Cooldown     time.Duration    // least time between two fetches that unknown kids ask for; 0 is 30 seconds
	FetchTimeout time.Duration    // of one refresh, discovery included; 0 is 5 seconds
	MaxBytes     int64            // of a document; 0 is 256 KiB
	MaxKeys      int              // of a set; 0 is 64

	Logger  *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil is none
}

// Keys is the key source of one issuer (B23). A goroutine of its own refreshes it
// in the background, guided by the cache headers within bounds and spread by
// jitter. A token with an unknown kid may start one refresh out of turn: all that
// wait share it, and a cooldown keeps strangers from using it as a pump. When the
// issuer cannot be reached, the last good keys stay until MaxStale.
//
// Each different set of keys has its own generation; what was verified under
// another generation has to be verified again.
type Keys struct {
	o      KeysOptions
	static bool
	fetch  fetcher
	set    atomic.Pointer[keySet]
	fails  prometheus.Counter
	loads  prometheus.Counter

	wake chan struct{} // to the refresher: a flight was asked for
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex // guards what follows; held for moments only
	flight *flight    // the refresh that is asked for or under way
	forced time.Time  // when an unknown kid last asked
	err    error      // of the last refresh
	closed bool
}

// flight is one refresh that any number of callers wait for.
type flight struct{ done chan struct{} }

var errClosed = errors.New("token: the key source is closed")

// NewKeys checks o and starts the refresher; [Keys.Close] ends it. Keys that
// have to be fetched are not there yet when it returns: see [Keys.Ready].
func NewKeys(o KeysOptions) (*Keys, error) {
	o.defaults()
	k := &Keys{o: o, wake: make(chan struct{}, 1), stop: func() {}}
	if o.JWKS != nil {
		if o.JWKSURL != "" || o.MetadataURL != "" {
			return nil, errors.New("token: keys are given both as a document and as a URL")
		}
		if err := k.loadStatic(); err != nil {
			return nil, err
		}
		return k, nil
	}
	f, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	k.fetch = f
	total, err := register(o.Metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "scimward_token_key_refreshes_total",
		Help: "Refreshes of issuers' key sets by outcome.",
	}, []string{"outcome"}))
	if err != nil {
		return nil, err
	}
	k.loads, k.fails = total.WithLabelValues("ok"), total.WithLabelValues("failed")
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.flight = &flight{done: make(chan struct{})}
	k.done.Go(func() { k.run(ctx) })
	return k, nil
}

func (o *KeysOptions) defaults() {
	orDuration(&o.MinRefresh, defaultMinRefresh)
	orDuration(&o.MaxRefresh, max(defaultMaxRefresh, o.MinRefresh))
	orDuration(&o.MaxStale, defaultMaxStale)
	orDuration(&o.Cooldown, defaultCooldown)
	orDuration(&o.FetchTimeout, defaultFetchTimeout)
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxKeyBytes
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func orDuration(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

func (k *Keys) loadStatic() error {
	keys, err := parseKeySet(k.o.JWKS, k.o.MaxKeys)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	k.static = true
	k.set.Store(&keySet{gen: 1, keys: keys})
	return nil
}

// Close ends the refresher and waits for it. Callers that wait for a refresh are
// let go with an error.
func (k *Keys) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.stop()
	k.done.Wait()
}

// Generation returns the number of the current set of keys, 0 when there is none
// that may be used at now.
func (k *Keys) Generation(now time.Time) uint64 {
	if set := k.current(now); set != nil {
		return set.gen
	}
	return 0
}

// Ready returns nil when there are keys to verify with. It waits for a refresh
// that is under way, and otherwise returns the error of the last one at once.
func (k *Keys) Ready(ctx context.Context) error {
	if k.current(k.o.Now()) != nil {
		return nil
	}
	k.mu.Lock()
	f := k.flight
	k.mu.Unlock()
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return fmt.Errorf("waiting for keys of %s: %w", k.name(), ctx.Err())
		}
	}
	if k.current(k.o.Now()) != nil {
		return nil
	}
	return fmt.Errorf("fetching keys of %s: %w", k.name(), k.lastError())
}

func (k *Keys) name() string {
	if k.o.Issuer != "" {
		return k.o.Issuer
	}
	return k.o.JWKSURL
}

func (k *Keys) lastError() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		return errors.New("the last good keys are too old")
	}
	return k.err
}

// current returns the set in use, nil when there is none or it is too old.
func (k *Keys) current(now time.Time) *keySet {
	set := k.set.Load()
	if set == nil || (!k.static && now.Sub(set.fetched) > k.o.MaxStale) {
		return nil
	}
	return set
}

// lookup returns the key for kid and alg and the generation it belongs to. It
// waits only where the kid is unknown and a refresh may be asked for.
func (k *Keys) lookup(ctx context.Context, kid string, alg jwa.SignatureAlgorithm) (*key, uint64, *Error) {
	set := k.current(k.o.Now())
	if set != nil {
		found, ambiguous := set.find(kid, alg)
		if found != nil {
			return found, set.gen, nil
		}
		if ambiguous {
			return nil, 0, refuse(ReasonKey, "the header names no kid and several keys fit")
		}
	}
	if k.static {
		return nil, 0, refuse(ReasonKey, "no key of the issuer has this kid and fits this alg")
	}
	err := k.refetch(ctx)
	if set = k.current(k.o.Now()); set == nil {
		return nil, 0, &Error{Reason: ReasonUnavailable, Detail: "the keys of the issuer cannot be read now", Err: err}
	}
	if found, _ := set.find(kid, alg); found != nil {
		return found, set.gen, nil
	}
	if err != nil { // the kid may be a new one that the outage hides
		return nil, 0, &Error{Reason: ReasonUnavailable, Detail: "the kid is not known and the keys of the issuer cannot be read now", Err: err}
	}
	return nil, 0, refuse(ReasonKey, "no key of the issuer has this kid and fits this alg")
}

// refetch joins the refresh under way, or asks for one if the cooldown allows,
// and waits for it within ctx. Joining and asking are one step under the lock, so
// any number of callers cause one fetch. It returns the error of the last refresh.
func (k *Keys) refetch(ctx context.Context) error {
	k.mu.Lock()
	f := k.flight
	if f == nil {
		now := k.o.Now()
		if k.closed || (!k.forced.IsZero() && now.Sub(k.forced) < k.o.Cooldown) {
			defer k.mu.Unlock()
			return k.err
		}
		f = &flight{done: make(chan struct{})}
		k.flight, k.forced = f, now
		k.wake <- struct{}{} // has room: only a new flight sends, and the refresher drains it
	}
	k.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for keys: %w", ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// run is the refresher: the only goroutine that fetches and publishes.
func (k *Keys) run(ctx context.Context) {
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		f := k.takeFlight()
		wait, err := k.refresh(ctx)
		if err != nil {
			wait = min(firstRetry<<min(failures, 10), k.o.MinRefresh)
			failures++
		} else {
			failures = 0
		}
		k.land(f, err)
		timer.Reset(time.Duration(float64(wait) * (0.9 + 0.2*k.o.Rand())))
		select {
		case <-timer.C:
		case <-k.wake:
		case <-ctx.Done():
			if f := k.takeFlight(); f != nil {
				k.land(f, errClosed)
			}
			return
		}
	}
}

// takeFlight returns the flight that was asked for, or a new one for a refresh in
// turn, and takes the signal that belongs to it.
func (k *Keys) takeFlight() *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == nil {
		k.flight = &flight{done: make(chan struct{})}
	}
	select {
	case <-k.wake:
	default:
	}
	return k.flight
}

func (k *Keys) land(f *flight, err error) {
	k.mu.Lock()
	k.flight, k.err = nil, err
	k.mu.Unlock()
	close(f.done)
}

// refresh fetches once and publishes what it got. A failure leaves the last good
// set where it is.
func (k *Keys) refresh(ctx context.Context) (next time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.o.FetchTimeout)
	defer cancel()
	next, err = k.load(ctx)
	if err != nil {
		k.fails.Inc()
		k.o.Logger.LogAttrs(ctx, slog.LevelWarn, "refreshing keys", slog.String("issuer", k.name()), slog.String("error", err.Error()))
		return 0, err
	}
	k.loads.Inc()
	return next, nil
}

func (k *Keys) load(ctx context.Context) (time.Duration, error) {
	doc, age, err := k.fetch.keys(ctx)
	if err != nil {
		return 0, err
	}
	keys, err := parseKeySet(doc, k.o.MaxKeys)
	if err != nil {
		return 0, err
	}
	set := &keySet{gen: 1, keys: keys, fetched: k.o.Now()}
	if set.digest, err = digestKeys(keys); err != nil {
		return 0, err
	}
	if old := k.set.Load(); old != nil {
		set.gen = old.gen
		if old.digest != set.digest {
			set.gen++
		}
	}
	k.set.Store(set)
	return min(max(age, k.o.MinRefresh), k.o.MaxRefresh), nil
}
