package token

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	maxProofBytes = 4 << 10 // an RSA key of 4096 bits and its signature fit
	proofAge      = time.Minute
	typeProof     = "dpop+jwt"
)

// ProofAlgorithms are the algorithms of DPoP proofs.
func ProofAlgorithms() []string {
	var out []string
	for _, a := range algorithms(Proof, false) {
		out = append(out, a.String())
	}
	return out
}

// Proofs verifies the DPoP proofs of one tenant (RFC 9449 §4.3). Call Verify for each request with a proof.
// It is safe for concurrent use.
//
// A proof is valid for one request. Proofs remembers each of them until its iat is too old. The memory is
// bounded: when it is full, proofs are refused with [ReasonProofMemory]. It ends with the process. So a
// proof whose iat is not later than the start needs a nonce of this process, which shows that it was made
// after the start (RFC 9449 §11.1). With [SharedProofs] it needs none: they outlive the process.
type Proofs struct {
	now     func() time.Time
	started time.Time // zero with shared
	shared  SharedProofs
	nonces  nonces
	used    usedProofs
	metrics *verifierMetrics
}

// SharedProofs is what several processes know together about the proofs of one tenant.
type SharedProofs interface {
	// Secrets are those under which nonces are made. The first one makes them.
	Secrets() [][]byte
	// Use remembers a proof until a time, and reports whether no process had used it.
	Use(ctx context.Context, proof string, until time.Time) (first bool, err error)
}

// NewProofs returns a verifier of a tenant's proofs. Nil for now is time.Now. Shared is nil for one process alone.
func NewProofs(
	tenant string, now func() time.Time, shared SharedProofs, metrics prometheus.Registerer,
) (*Proofs, error) {
	if now == nil {
		now = time.Now
	}
	m, err := newVerifierMetrics(&Options{Tenant: tenant, Purpose: Proof, Metrics: metrics})
	if err != nil {
		return nil, err
	}
	p := &Proofs{now: now, shared: shared, used: usedProofs{most: maxProofs}, metrics: m}
	if shared != nil {
		p.nonces.secrets = shared.Secrets
		return p, nil
	}
	p.started, p.nonces = now(), newNonces()
	return p, nil
}

// ProofRequest is the request that a proof must be for.
type ProofRequest struct {
	Method string
	URL    string // as the client sees it, without query and fragment
	Token  string // the access token of the request; empty at the token endpoint
	Key    string // thumbprint that the key must have; empty for any
	ID     string // of the request
	// Ahead says that the service behind the proxy will ask about the same request. The proxy may ask once
	// more, because it repeats a question without an answer.
	Ahead bool
	// Nonce says that the proof needs a nonce of this service.
	Nonce bool
}

// Nonce returns a nonce for the next proof (RFC 9449 §8, §9).
func (p *Proofs) Nonce() string { return p.nonces.make(p.now()) }

// Verify checks a proof, uses it and returns the thumbprint of its key (RFC 7638). For an error *[Error] with
// [ReasonProofNonce] the answer needs a nonce. Any other error is one of [SharedProofs].
func (p *Proofs) Verify(ctx context.Context, raw string, r *ProofRequest) (string, error) {
	c := CheckedProof{of: p, request: *r}
	if refused := c.check(raw); refused != nil {
		p.metrics.count(refused.Reason)
		return "", refused
	}
	return c.Key, c.Use(ctx)
}

// CheckedProof is a proof that fits its request and is not used yet. Nil is that of a request without a proof.
type CheckedProof struct {
	Key     string // its thumbprint (RFC 7638)
	of      *Proofs
	request ProofRequest
	name    string    // of the proof
	until   time.Time // when its iat is too old
}

// Check is Verify without the use: it remembers nothing.
func (p *Proofs) Check(raw string, r *ProofRequest) (*CheckedProof, error) {
	c := &CheckedProof{of: p, request: *r}
	refused := c.check(raw)
	if refused == nil {
		refused = p.used.use(c, p.now(), false)
	}
	if refused != nil {
		p.metrics.count(refused.Reason)
		return nil, refused
	}
	return c, nil
}

// Use remembers a proof as used for its request. It returns a *[Error] if another request has used it, or the error
// of [SharedProofs].
func (c *CheckedProof) Use(ctx context.Context) error {
	if c == nil {
		return nil
	}
	refused := c.of.used.use(c, c.of.now(), true)
	if refused == nil && c.of.shared != nil && !c.request.Ahead {
		first, err := c.of.shared.Use(ctx, c.name, c.until)
		switch {
		case err != nil:
			return fmt.Errorf("token: remembering the DPoP proof: %w", err)
		case !first:
			refused = usedBefore()
		}
	}
	if refused != nil {
		c.of.metrics.count(refused.Reason)
		return refused
	}
	c.of.metrics.countVerified()
	return nil
}

// check checks the key and the signature of a proof, and sets the key.
func (c *CheckedProof) check(raw string) *Error {
	if len(raw) > maxProofBytes {
		return badProof(fmt.Sprintf("it has more than %d bytes", maxProofBytes))
	}
	t, refused := parse(raw, algorithms(Proof, false), nil)
	if refused != nil {
		return &Error{Reason: ReasonProof, Detail: "the DPoP proof: " + refused.Detail, Err: refused}
	}
	if t.typ != typeProof {
		return badProof("typ is dpop+jwt")
	}
	k, err := proofKey(t.jwk, t.alg)
	if err != nil {
		return badProof(err.Error())
	}
	if err := k.verify(t.alg, t.signing, t.sig); err != nil {
		return badProof("the signature does not verify with its jwk")
	}
	if c.Key, err = thumbprintOf(k); err != nil {
		return badProof("its jwk has no thumbprint")
	}
	if c.request.Key != "" && c.Key != c.request.Key {
		return badProof("its key is not the one that the access token is bound to")
	}
	return c.checkClaims(t)
}

// checkClaims checks what the proof says about the request, and sets its name and end.
func (c *CheckedProof) checkClaims(t *unverified) *Error {
	p, r, read := c.of, &c.request, claimReader{obj: t.claims}
	now, id, issued := p.now(), read.text("jti", true), read.time("iat", true)
	method, target := read.text("htm", true), read.text("htu", true)
	if len(id) > maxJTIBytes {
		read.fault("claim jti is longer than %d bytes", maxJTIBytes)
	}
	var hash string
	if r.Token != "" {
		hash = read.text("ath", true)
	}
	nonce := read.text("nonce", false)
	if read.err != nil {
		return badProof(read.err.Error())
	}
	c.name, c.until = c.Key+" "+id, issued.Add(proofAge+Leeway)
	signed, wrong := normalURL(target)
	asked, _ := normalURL(r.URL)
	sum := sha256.Sum256([]byte(r.Token))
	switch {
	case method != r.Method:
		return badProof("htm is not the method of this request")
	case wrong != "":
		return badProof("htu " + wrong)
	case signed != asked:
		return badProof("htu is not the URL of this request, which is " + asked)
	case r.Token != "" && subtle.ConstantTimeCompare([]byte(hash), []byte(base64url.EncodeToString(sum[:]))) != 1:
		return badProof("ath is not the hash of the access token")
	case issued.After(now.Add(Leeway)):
		return badProof("iat is in the future; compare the clocks")
	case now.After(c.until):
		return tooOld()
	case (r.Nonce || p.shared == nil && !issued.After(p.started.Add(Leeway))) && !p.nonces.valid(nonce, now):
		return refuse(ReasonProofNonce, "send a new DPoP proof with the nonce of this answer (header DPoP-Nonce)")
	}
	return nil
}

func tooOld() *Error {
	return badProof(fmt.Sprintf("iat is more than %s ago; make a new proof for each request, and compare the clocks",
		proofAge))
}

func badProof(detail string) *Error { return refuse(ReasonProof, "the DPoP proof: "+detail) }

// proofKey reads the key of a proof, the only key that a token may bring itself: the access token names
// its thumbprint, or gets it.
func proofKey(header any, alg jwa.SignatureAlgorithm) (*key, error) {
	members, ok := header.(map[string]any)
	if !ok {
		return nil, errors.New("header jwk is missing")
	}
	public := map[string]any{}
	for name, v := range members {
		switch {
		case slices.Contains([]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}, name):
			return nil, errors.New("header jwk has a private key; send the public key alone, and replace this one")
		case slices.Contains([]string{"kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops"}, name):
			public[name] = v
		}
	}
	doc, err := json.Marshal(public)
	if err != nil {
		return nil, fmt.Errorf("encoding header jwk: %w", err)
	}
	k, err := parseKey(doc)
	if err != nil || !slices.Contains(k.algs, alg) {
		return nil, errors.New("header jwk is no public key for " + alg.String())
	}
	return k, nil
}

// thumbprintOf returns the thumbprint of a public key (RFC 7638).
func thumbprintOf(k *key) (string, error) {
	public, err := jwk.FromRaw(k.pub)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("hashing a public key: %w", err)
	}
	return base64url.EncodeToString(sum), nil
}
