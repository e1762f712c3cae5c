package token

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	cacheSize        = 4096      // verified tokens
	maxCacheAge      = time.Hour // of an entry, if its token lives longer
	maxAssertionLife = 10 * time.Minute
)

// IssuerConfig is an issuer that a verifier accepts. JWKS or JWKSURL is the source of its keys. If
// both are empty, the metadata of KeyIssuer names the source. Every URL is https, or http on
// loopback.
type IssuerConfig struct {
	Issuer     string       // exact `iss`
	JWKS       []byte       // the key set document; never refreshed
	JWKSURL    string       // of the key set document
	KeyIssuer  string       // issuer of the metadata (RFC 8414, OpenID Connect) with jwks_uri; empty is Issuer
	HTTPClient *http.Client // fetches the keys without following redirects; nil is a plain client
	Audience   []string     // accepted `aud`; empty is Options.Audience, and for Subject tokens any
	AllowRS256 bool         // Subject tokens may always use it
	// AllowNoExpiry accepts Subject tokens without exp, because applications issue such personal
	// access tokens. It has no effect on other purposes.
	AllowNoExpiry bool
	// MaxLifetime limits exp - iat of access tokens; zero is no limit. It limits how far exp of an assertion
	// is ahead; zero is 10 minutes.
	MaxLifetime time.Duration
	// Clients knows the clients of access tokens. Verify asks for every token, also for one that it has
	// verified before. Nil accepts every client.
	Clients Clients

	// Algorithms are the accepted ones, of ES256, PS256, EdDSA and RS256. Empty is the first three, and
	// RS256 with AllowRS256.
	Algorithms []string
	// Subject is the exact `sub` of assertions. Several clients may share the issuer of their assertions
	// and differ in it. Empty is any.
	Subject string
	// ClientID is Claims.ClientID of assertions. Empty is Issuer.
	ClientID string
	// AllowNoJTI accepts assertions without jti. Claims.JTI is then a hash of what was signed, so that
	// another signature over the same assertion is still the same one.
	AllowNoJTI bool
	// Optional leaves its keys out of Ready: what an operator adds must not make the process unready.
	Optional bool
	// Mapping says how access tokens name client, scope and id.
	Mapping Mapping
	// Own are the keys of an issuer in this process, in place of JWKS, JWKSURL and KeyIssuer.
	Own *OwnKeys
	// Revoked knows the revoked access tokens. Verify asks for every token, also for one that it has
	// verified before. Nil knows none.
	Revoked Revocations
}

// Revocations reports whether the access token with a jti is revoked. It answers from memory.
type Revocations interface{ Revoked(jti string) bool }

// Clients reports whether the client of verified claims may act now, and the token is one of it: not of a
// former client of the same name.
type Clients interface{ Has(c *Claims) bool }

// Options configure a verifier.
type Options struct {
	Tenant        string // for logs and metrics
	Purpose       Purpose
	Issuers       []IssuerConfig
	Audience      string           // this service; required for access tokens
	TokenEndpoint string           // a token_endpoint claim must equal it (IL1 §3.1)
	Now           func() time.Time // nil is time.Now
	Rand          func() float64   // jitter of refreshes, in [0,1); nil is math/rand
	Logger        *slog.Logger     // nil discards
	Metrics       prometheus.Registerer
	// Former is the verifier that this one replaces; may be nil. Where an issuer has its keys from the same
	// place, its last good ones stay in use until a fetch succeeds.
	Former *Verifier
}

// Verifier verifies the tokens of one tenant and purpose. It is safe for concurrent use.
//
// Failures are not cached. Anyone could fill such a cache, failures before the signature check are
// cheap, and later ones go stale when a key arrives.
type Verifier struct {
	purpose       Purpose
	issuers       []*issuer                // several may have one iss: assertions of one issuer may differ in sub
	algorithms    []jwa.SignatureAlgorithm // accepted from any issuer
	tokenEndpoint string
	now           func() time.Time
	cache         *lazyCache[[sha256.Size]byte, *entry] // nil for assertions
	headers       *headers
	decoy         func() *key // see verifyDecoy; set for assertions only
	metrics       *verifierMetrics
}

type issuer struct {
	name, clientID, subject   string
	audience                  []string
	noExpiry, noJTI, optional bool
	maxLifetime               time.Duration
	mapping                   *Mapping
	clients                   Clients
	revoked                   Revocations
	keys                      *keySource
	algorithms                []jwa.SignatureAlgorithm
}

// entry is a verified token. It is valid until the given time, while the keys of its issuer have
// the same generation. The cache belongs to one verifier, and so to one tenant and one purpose.
type entry struct {
	claims Claims
	issuer *issuer
	gen    uint64
	until  time.Time
}

// NewVerifier checks o and starts fetching keys. [Verifier.Close] stops it.
func NewVerifier(o Options) (*Verifier, error) {
	if o.Purpose != AccessToken && o.Purpose != Assertion && o.Purpose != Subject {
		return nil, errors.New("token: a verifier needs a purpose")
	}
	if o.Purpose == AccessToken && o.Audience == "" {
		return nil, errors.New("token: a verifier of access tokens needs an audience")
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
	v := &Verifier{
		purpose: o.Purpose, issuers: make([]*issuer, 0, len(o.Issuers)), algorithms: algorithms(o.Purpose, true),
		tokenEndpoint: o.TokenEndpoint, now: o.Now, headers: newHeaders(),
	}
	var err error
	if v.metrics, err = newVerifierMetrics(&o); err != nil {
		return nil, err
	}
	if o.Purpose == Assertion {
		v.decoy = sync.OnceValue(newDecoy)
	} else {
		v.cache = &lazyCache[[sha256.Size]byte, *entry]{most: cacheSize}
	}
	for i := range o.Issuers {
		c := &o.Issuers[i]
		if err := v.addIssuer(c, &o); err != nil {
			v.Close()
			return nil, fmt.Errorf("token: issuer %q: %w", c.Issuer, err)
		}
	}
	return v, nil
}

func (v *Verifier) addIssuer(c *IssuerConfig, o *Options) error {
	if c.Issuer == "" {
		return errors.New("it has no name")
	}
	twin := func(i *issuer) bool { return i.name == c.Issuer && i.subject == c.Subject }
	if slices.ContainsFunc(v.issuers, twin) {
		return errors.New("it is configured twice")
	}
	accepted, err := accepted(v.purpose, c)
	if err != nil {
		return err
	}
	audience := c.Audience
	if len(audience) == 0 && o.Audience != "" {
		audience = []string{o.Audience}
	}
	if v.purpose == Assertion && len(audience) == 0 {
		return errors.New("its assertions have no audience")
	}
	keys, err := newKeySource(c, o, v.metrics)
	if err != nil {
		return err
	}
	v.issuers = append(v.issuers, &issuer{
		name: c.Issuer, clientID: c.ClientID, subject: c.Subject, audience: audience, noExpiry: c.AllowNoExpiry,
		noJTI: c.AllowNoJTI, optional: c.Optional, maxLifetime: c.MaxLifetime, mapping: c.Mapping.withDefaults(),
		clients: c.Clients, revoked: c.Revoked, keys: keys, algorithms: accepted,
	})
	return nil
}

// newDecoy makes the key for the assertions of unknown clients. It returns nil if there is no randomness.
func newDecoy() *key {
	doc, _, err := GenerateKey()
	if err != nil {
		return nil
	}
	s, err := NewSigner(doc)
	if err != nil {
		return nil
	}
	return &key{pub: &s.key.PublicKey}
}

// Close stops fetching keys and waits for the goroutines.
func (v *Verifier) Close() {
	for _, iss := range v.issuers {
		iss.keys.close()
	}
}

// Ready returns an error for each issuer without keys, except optional ones. It waits within ctx for running fetches.
func (v *Verifier) Ready(ctx context.Context) error {
	var errs []error
	for _, iss := range v.issuers {
		if !iss.optional {
			errs = append(errs, iss.keys.ready(ctx))
		}
	}
	return errors.Join(errs...)
}

// Keyless returns the optional clients without usable keys, by client id, with the reason. It does not wait.
func (v *Verifier) Keyless() map[string]error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	out := map[string]error{}
	for _, iss := range v.issuers {
		if !iss.optional {
			continue
		}
		if err := iss.keys.ready(now); err != nil && !errors.Is(err, context.Canceled) { // one runs: nothing is known yet
			out[iss.clientID] = err
		}
	}
	return out
}

// Verify returns the claims of raw. An error is always a *[Error].
func (v *Verifier) Verify(ctx context.Context, raw string) (Claims, error) {
	e, cached, refused := v.find(ctx, raw)
	if refused == nil && v.purpose == AccessToken {
		refused = e.checkNow()
	}
	switch {
	case refused != nil:
		v.metrics.count(refused.Reason)
		return Claims{}, refused
	case cached:
		v.metrics.countCached()
	default:
		v.metrics.countVerified()
	}
	return e.claims, nil
}

// checkNow checks what may change during the life of a verified access token.
func (e *entry) checkNow() (refused *Error) {
	switch c := &e.claims; {
	case e.issuer.clients != nil && !e.issuer.clients.Has(c):
		refused = refuse(ReasonClient, "the client of this token does not exist here, is disabled or has expired")
	case e.issuer.revoked != nil && e.issuer.revoked.Revoked(c.JTI):
		refused = refuse(ReasonRevoked, "the token was revoked; ask for a new one")
	default:
		return nil
	}
	refused.Issuer, refused.ClientID, refused.KeyID = e.claims.Issuer, e.claims.ClientID, e.claims.KeyID
	return refused
}

// find returns the entry of a verified token, from the cache or after verifying it.
func (v *Verifier) find(ctx context.Context, raw string) (e *entry, cached bool, refused *Error) {
	if len(raw) > MaxTokenBytes {
		return nil, false, refuse(ReasonMalformed, fmt.Sprintf("a token has at most %d bytes", MaxTokenBytes))
	}
	now := v.now()
	var sum [sha256.Size]byte
	if v.cache != nil {
		sum = sha256.Sum256([]byte(raw))
		if e := v.cached(sum, now); e != nil {
			return e, true, nil
		}
	}
	if e, refused = v.verify(ctx, raw, now); refused != nil {
		return nil, false, refused
	}
	if v.cache != nil {
		v.cache.add(sum, e)
	}
	return e, false, nil
}

func (v *Verifier) cached(sum [sha256.Size]byte, now time.Time) *entry {
	e, ok := v.cache.get(sum)
	if !ok {
		return nil
	}
	if now.Before(e.until) && e.issuer.keys.generation(now) == e.gen {
		return e
	}
	v.cache.remove(sum)
	return nil
}

func (v *Verifier) verify(ctx context.Context, raw string, now time.Time) (e *entry, refused *Error) {
	t, refused := parse(raw, v.algorithms, v.headers)
	if refused != nil {
		return nil, refused
	}
	defer func() {
		if refused != nil {
			v.describe(refused, t)
		}
	}()
	var k *key
	iss, refused := v.issuerOf(t)
	if refused == nil {
		k, refused = iss.keys.lookup(ctx, t.kid, t.alg)
	}
	if refused != nil {
		v.verifyDecoy(t)
		return nil, refused
	}
	if err := k.verify(t.alg, t.signing, t.sig); err != nil {
		return nil, &Error{Reason: ReasonSignature, Detail: "the signature does not verify", Err: err}
	}
	v.headers.add(t)
	e = &entry{issuer: iss, gen: k.gen, until: now.Add(maxCacheAge)}
	if e.claims, refused = v.check(t, iss, now); refused != nil {
		return nil, refused
	}
	if exp := e.claims.Expires; !exp.IsZero() && exp.Before(e.until) {
		e.until = exp
	}
	return e, nil
}

// Names returns the client that an assertion names, before anything is verified. It returns false for one that no
// client of this verifier can have sent.
func (v *Verifier) Names(raw string) (clientID string, known bool) {
	if len(raw) > MaxTokenBytes {
		return "", false
	}
	t, refused := parse(raw, v.algorithms, v.headers)
	if refused != nil {
		return "", false
	}
	iss, refused := v.issuerOf(t)
	if refused != nil {
		return "", false
	}
	return cmp.Or(iss.clientID, iss.name), true
}

// describe adds to a refusal who claims to have issued the token, to whom, with which key.
func (v *Verifier) describe(refused *Error, t *unverified) {
	issuer, _ := t.claims["iss"].(string)
	names := []string{"client_id"}
	if v.purpose == Assertion {
		names = []string{"sub"}
	}
	refused.Issuer, refused.KeyID = shown(issuer), t.kid
	for _, named := range v.issuers {
		if named.name != issuer {
			continue
		}
		if refused.Issuer = issuer; v.purpose == AccessToken {
			names = named.mapping.ClientClaims
		}
		break
	}
	r := claimReader{obj: t.claims}
	refused.ClientID, _ = r.first(names)
}

// maxShown bounds, in bytes, what a log line shows of one value in a token.
const maxShown = 64

// shown quotes a value that an attacker may have chosen: short, ASCII, "" if it is absent.
func shown(s string) string {
	if s == "" {
		return ""
	}
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return fmt.Sprintf("%+q", s)
}

// issuerOf finds the issuer that the token names. The name is not proven yet. It selects the key
// for the signature.
func (v *Verifier) issuerOf(t *unverified) (*issuer, *Error) {
	name, ok := t.claims["iss"].(string)
	if !ok || name == "" {
		return nil, refuse(ReasonIssuer, "claim iss is missing")
	}
	iss := v.issuerFor(name, t.claims["sub"])
	if iss == nil {
		return nil, refuse(ReasonIssuer, "claim iss names no issuer of this tenant")
	}
	if !slices.Contains(iss.algorithms, t.alg) {
		return nil, refuse(ReasonAlgorithm, useAlgorithms)
	}
	return iss, nil
}

// issuerFor returns the issuer of this name whose Subject is sub, or else the one for any subject.
func (v *Verifier) issuerFor(name string, sub any) (found *issuer) {
	for _, iss := range v.issuers {
		switch {
		case iss.name != name:
		case iss.subject == "":
			found = iss
		case iss.subject == sub:
			return iss
		}
	}
	return found
}

// verifyDecoy does one verification for an assertion without a key, so that the response time does
// not reveal which clients exist.
func (v *Verifier) verifyDecoy(t *unverified) {
	if v.decoy == nil {
		return
	}
	sig := bytes.Repeat([]byte{1}, 64) // in range, so that the verification does all its work
	if decoy := v.decoy(); decoy != nil {
		_ = decoy.verify(jwa.ES256, t.signing, sig)
	}
}
