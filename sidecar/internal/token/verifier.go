package token

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/prometheus/client_golang/prometheus"
)

// Defaults and bounds of [Options].
const (
	defaultLeeway    = 30 * time.Second
	maxLeeway        = 2 * time.Minute
	defaultCacheSize = 4096
	maxCacheAge      = time.Hour // of an entry whose token lives longer
	maxAssertionLife = 10 * time.Minute
)

// IssuerConfig is one issuer a verifier accepts. Its keys come from Keys, or from
// JWKS, JWKSURL or MetadataURL, or by discovery from Issuer when all are empty.
type IssuerConfig struct {
	Issuer      string // exact `iss`
	Keys        *Keys  // shared source that the caller closes; nil makes one of the following
	JWKS        []byte // a key set document
	JWKSURL     string
	MetadataURL string
	HTTPClient  *http.Client // to fetch these keys; nil is Options.HTTPClient
	Audience    []string     // accepted `aud` of this issuer; empty is Options.Audience, and for Subject tokens any
	AllowRS256  bool         // B108; Subject tokens may always use it
	// AllowNoExpiry accepts Subject tokens without exp: applications issue such
	// personal access tokens. Ignored for the other purposes (B17).
	AllowNoExpiry bool
	// AllowNoJTI accepts assertions without jti; the caller then needs another
	// replay key. Ignored for the other purposes.
	AllowNoJTI bool
}

// Options configure a verifier.
type Options struct {
	Tenant        string // for logs and metrics
	Purpose       Purpose
	Issuers       []IssuerConfig
	Audience      string           // this service; required for access tokens (B33)
	Scope         string           // the one scope of access tokens; empty is "scim" (B15)
	TokenEndpoint string           // a token_endpoint claim must equal it (B18)
	CacheSize     int              // verified tokens kept; 0 is 4096, negative none; assertions are never kept
	Leeway        time.Duration    // clock skew, at most 2 minutes; 0 is 30 seconds
	MaxLifetime   time.Duration    // how far ahead exp may lie; 0 is 10 minutes for assertions and no bound otherwise
	Now           func() time.Time // nil is time.Now
	HTTPClient    *http.Client     // to fetch keys; nil is a client of its own
	Logger        *slog.Logger     // nil discards
	Metrics       prometheus.Registerer
}

// Verifier verifies the tokens of one tenant and purpose. It is safe for
// concurrent use.
//
// Only tokens that passed are cached. There is no cache of refusals: strangers
// choose what would be in it, refusals before the signature are cheap anyway, and
// one after it may become wrong when a key arrives or a clock moves on.
type Verifier struct {
	purpose       Purpose
	issuers       map[string]*issuer
	algorithms    []jwa.SignatureAlgorithm // any issuer's
	base64        *base64.Encoding
	scope         string
	tokenEndpoint string
	leeway        time.Duration
	maxLifetime   time.Duration
	now           func() time.Time
	cache         *lru.Cache[[sha256.Size]byte, *entry] // nil for none
	decoy         *key                                  // see pay
	metrics       verifierMetrics
}

type issuer struct {
	name       string
	keys       *Keys
	owned      bool // closed with the verifier
	audience   []string
	algorithms []jwa.SignatureAlgorithm
	noExpiry   bool
	noJTI      bool
}

// entry is a token that passed. It is good while its issuer's keys are of the
// generation it was verified under, and until the time given. The cache belongs
// to one verifier, so to one tenant and one purpose (edge T3, T4).
type entry struct {
	claims Claims
	issuer *issuer
	gen    uint64
	until  time.Time
}

// NewVerifier checks o and starts what fetches keys; [Verifier.Close] ends it.
func NewVerifier(o Options) (*Verifier, error) {
	v, err := newVerifier(o)
	if err != nil {
		return nil, err
	}
	for _, c := range o.Issuers {
		iss, err := v.newIssuer(c, o)
		if err != nil {
			v.Close()
			return nil, fmt.Errorf("token: issuer %q: %w", c.Issuer, err)
		}
		v.issuers[c.Issuer] = iss
	}
	return v, nil
}

func newVerifier(o Options) (*Verifier, error) {
	if o.Purpose != AccessToken && o.Purpose != Assertion && o.Purpose != Subject {
		return nil, errors.New("token: a verifier needs a purpose")
	}
	if o.Purpose == AccessToken && o.Audience == "" {
		return nil, errors.New("token: a verifier of access tokens needs an audience")
	}
	if o.Leeway < 0 || o.Leeway > maxLeeway {
		return nil, fmt.Errorf("token: leeway %s is not between 0 and %s", o.Leeway, maxLeeway)
	}
	counters, err := newVerifierMetrics(o)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		purpose: o.Purpose, issuers: make(map[string]*issuer, len(o.Issuers)), algorithms: algorithms(o.Purpose, true),
		base64: base64.RawURLEncoding.Strict(), scope: o.Scope, tokenEndpoint: o.TokenEndpoint,
		leeway: o.Leeway, maxLifetime: o.MaxLifetime, now: o.Now,
		metrics: counters,
	}
	if v.scope == "" {
		v.scope = "scim"
	}
	orDuration(&v.leeway, defaultLeeway)
	if v.now == nil {
		v.now = time.Now
	}
	if o.Purpose == Assertion {
		orDuration(&v.maxLifetime, maxAssertionLife)
		return v, v.newDecoy()
	}
	return v, v.newCache(o.CacheSize)
}

func (v *Verifier) newCache(size int) error {
	if size < 0 {
		return nil
	}
	if size == 0 {
		size = defaultCacheSize
	}
	var err error
	v.cache, err = lru.New[[sha256.Size]byte, *entry](size)
	return err
}

// newDecoy makes the key that unknown clients are checked against.
func (v *Verifier) newDecoy() error {
	doc, _, err := GenerateKey()
	if err != nil {
		return err
	}
	s, err := NewSigner(doc)
	if err != nil {
		return err
	}
	v.decoy = &key{pub: &s.key.PublicKey}
	return nil
}

func (v *Verifier) newIssuer(c IssuerConfig, o Options) (*issuer, error) {
	if c.Issuer == "" {
		return nil, errors.New("it has no name")
	}
	if v.issuers[c.Issuer] != nil {
		return nil, errors.New("it is configured twice")
	}
	iss := &issuer{
		name: c.Issuer, keys: c.Keys, audience: slices.Clone(c.Audience), algorithms: algorithms(v.purpose, c.AllowRS256),
		noExpiry: c.AllowNoExpiry && v.purpose == Subject,
		noJTI:    c.AllowNoJTI && v.purpose == Assertion,
	}
	if len(iss.audience) == 0 && o.Audience != "" {
		iss.audience = []string{o.Audience}
	}
	if v.purpose == Assertion && len(iss.audience) == 0 {
		return nil, errors.New("its assertions have no audience")
	}
	if iss.keys != nil {
		return iss, nil
	}
	client := c.HTTPClient
	if client == nil {
		client = o.HTTPClient
	}
	keys, err := NewKeys(KeysOptions{
		Issuer: c.Issuer, JWKS: c.JWKS, JWKSURL: c.JWKSURL, MetadataURL: c.MetadataURL,
		HTTPClient: client, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	if err != nil {
		return nil, err
	}
	iss.keys, iss.owned = keys, true
	return iss, nil
}

// Close ends the fetching of keys and waits for it.
func (v *Verifier) Close() {
	for _, iss := range v.issuers {
		if iss.owned {
			iss.keys.Close()
		}
	}
}

// Ready returns nil when every issuer has keys, else an error for each that has
// none (see [Keys.Ready]).
func (v *Verifier) Ready(ctx context.Context) error {
	var errs []error
	for _, iss := range v.issuers {
		errs = append(errs, iss.keys.Ready(ctx))
	}
	return errors.Join(errs...)
}

// Verify returns the claims of raw. Any error is a *[Error].
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	if len(raw) > MaxTokenBytes {
		v.metrics.count(ReasonMalformed)
		return Claims{}, refuse(ReasonMalformed, fmt.Sprintf("a token has at most %d bytes", MaxTokenBytes))
	}
	now := v.now()
	var sum [sha256.Size]byte
	if v.cache != nil {
		sum = sha256.Sum256([]byte(raw))
		if c, ok := v.recall(sum, now); ok {
			v.metrics.cached.Inc()
			return c, nil
		}
	}
	c, iss, gen, refused := v.verify(ctx, raw, now)
	if refused != nil {
		v.metrics.count(refused.Reason)
		return Claims{}, refused
	}
	v.metrics.verified.Inc()
	if v.cache != nil {
		v.cache.Add(sum, &entry{claims: c, issuer: iss, gen: gen, until: cacheUntil(c, now)})
	}
	return c, nil
}

func cacheUntil(c Claims, now time.Time) time.Time {
	until := now.Add(maxCacheAge)
	if !c.Expires.IsZero() && c.Expires.Before(until) {
		return c.Expires
	}
	return until
}

func (v *Verifier) recall(sum [sha256.Size]byte, now time.Time) (Claims, bool) {
	e, ok := v.cache.Get(sum)
	if !ok {
		return Claims{}, false
	}
	if now.Before(e.until) && e.issuer.keys.Generation(now) == e.gen {
		return e.claims, true
	}
	v.cache.Remove(sum)
	return Claims{}, false
}

func (v *Verifier) verify(ctx context.Context, raw string, now time.Time) (Claims, *issuer, uint64, *Error) {
	p, refused := parse(raw, v.base64, v.algorithms)
	if refused != nil {
		return Claims{}, nil, 0, refused
	}
	iss, k, gen, refused := v.keyFor(ctx, p)
	if refused != nil {
		v.pay(p)
		return Claims{}, nil, 0, refused
	}
	if err := k.verify(p.alg, p.signing, p.sig); err != nil {
		return Claims{}, nil, 0, &Error{Reason: ReasonSignature, Detail: "the signature does not verify", Err: err}
	}
	c, refused := v.judge(p, iss, now)
	if refused != nil {
		return Claims{}, nil, 0, refused
	}
	return c, iss, gen, nil
}

// keyFor finds the issuer a token claims and its key. The name is not proved yet;
// it only says whose keys must prove it.
func (v *Verifier) keyFor(ctx context.Context, p *parsed) (*issuer, *key, uint64, *Error) {
	name, ok := p.claims["iss"].(string)
	if !ok || name == "" {
		return nil, nil, 0, refuse(ReasonIssuer, "claim iss is missing")
	}
	iss := v.issuers[name]
	if iss == nil {
		return nil, nil, 0, refuse(ReasonIssuer, "claim iss names no issuer of this tenant")
	}
	if !slices.Contains(iss.algorithms, p.alg) {
		return nil, nil, 0, refuse(ReasonAlgorithm, "sign with ES256, PS256 or EdDSA")
	}
	k, gen, refused := iss.keys.lookup(ctx, p.kid, p.alg)
	return iss, k, gen, refused
}

// pay spends one verification on a token without a key, so that the time of the
// answer does not tell which clients exist.
func (v *Verifier) pay(p *parsed) {
	if v.decoy == nil {
		return
	}
	sig := bytes.Repeat([]byte{1}, 64) // in range, so that the whole work is done
	// The result is of no interest: the token is refused already.
	_ = v.decoy.verify(jwa.ES256, p.signing, sig)
}
