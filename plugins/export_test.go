package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// SetIdentifyTimeout replaces the 500 ms of an identify call.
func (h *Host) SetIdentifyTimeout(d time.Duration) {
	for _, p := range h.set.Load().plugins {
		p.common.identify = d
	}
}

// SetCacheSize replaces the bound of the cache of identities.
func (h *Host) SetCacheSize(entries int) {
	for _, p := range h.set.Load().plugins {
		p.identities.owners.Resize(entries)
		p.identities.unknown.Resize(entries)
	}
}

// The parts below are tested without a worker.

// Egress is egress of a manifest and its grant.
type Egress struct{ e *egress }

// Resolver turns a host name into addresses; nil is the system's.
type Resolver = func(context.Context, string) ([]netip.Addr, error)

// NewEgress computes what m may do under c and opens egress for it.
func NewEgress(m Manifest, c Config, resolve Resolver, now func() time.Time) (*Egress, error) {
	p, err := intersect(m, c)
	if err != nil {
		return nil, err
	}
	if resolve == nil {
		resolve = systemResolver
	}
	return &Egress{newEgress(p, newSecrets(c.Grant.Secrets), resolve, now)}, nil
}

// Close closes idle connections.
func (e *Egress) Close() { e.e.close() }

// Call is one call's session.
type Call struct{ s *session }

// Call opens a session; credential is named c1.
func (e *Egress) Call(readOnly bool, credential string) *Call {
	return &Call{e.e.session(readOnly, known{"credential", credential})}
}

// Send sends req.
func (c *Call) Send(ctx context.Context, req abi.HTTPRequest, body []byte) (abi.Errno, abi.HTTPResponse, []byte) {
	doc, err := json.Marshal(req)
	if err != nil {
		panic(err)
	}
	return c.SendRaw(ctx, doc, body)
}

// SendRaw sends a document as a guest wrote it.
func (c *Call) SendRaw(ctx context.Context, doc, body []byte) (abi.Errno, abi.HTTPResponse, []byte) {
	msg, answer := c.s.send(ctx, doc, body)
	var m abi.HTTPResponse
	if err := json.Unmarshal(msg.Meta, &m); err != nil {
		panic(err)
	}
	return abi.Errno(msg.Errno), m, answer
}

func planted() *session {
	return &session{redact: newRedactor(known{"secret planted", "planted-secret"})}
}

func redact(out outcome) outcome { return planted().redact.outcome(out) }

// Redact removes one secret from text, and says whether it was there.
func Redact(secret, text string) (clean string, touched bool) {
	r := newRedactor(known{"secret", secret})
	return r.text(text), r.touches(text) != ""
}

// Judge is judgeRevoke for a guest that made reports and then returned ret with output, or ended
// with code.
func Judge(req abi.Request, code string, ret int32, output []byte, reports ...[]byte) abi.Result {
	out := outcome{code: code, ret: ret, output: output, reports: slices.Clone(reports)}
	return judgeRevoke(req, redact(out))
}

// JudgeIdentify is judgeIdentify for a guest that returned ret with output.
func JudgeIdentify(ret int32, output []byte, now time.Time) (abi.IdentifyResult, error) {
	return judgeIdentify(outcome{ret: ret, output: output}, planted(), now)
}

// JudgeVerify is judgeVerify for a guest that returned ret with output.
func JudgeVerify(req abi.Request, ret int32, output []byte) (abi.VerifyResult, error) {
	return judgeVerify(req, redact(outcome{ret: ret, output: output}))
}

// Reframe reads one frame of b and returns its wire form.
func Reframe(b []byte) ([]byte, error) {
	f, err := readFrame(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return appendFrame(nil, f)
}

// Breaker is the breaker.
type Breaker struct{ b breaker }

// NewBreaker makes a breaker on a clock.
func NewBreaker(now func() time.Time) *Breaker { return &Breaker{breaker{now: now}} }

// Kill, Trap and Open are the breaker's.
func (b *Breaker) Kill() bool          { return b.b.kill() }
func (b *Breaker) Trap() bool          { return b.b.trap() }
func (b *Breaker) Open() time.Duration { return b.b.open() }

// CheckAddr and CleanPath are the rules of addresses and paths.
func CheckAddr(a netip.Addr, private ...netip.Prefix) error { return checkAddr(a, private) }

// CleanPath is cleanPath.
func CleanPath(p string) (string, error) { return cleanPath(p) }

// RetryAfter is retryAfter.
func RetryAfter(v string, now time.Time) time.Duration { return retryAfter(v, now) }

// ClassOf is the class of the next call for a question.
func (h *Host) ClassOf(tenant, app string, q Question) string {
	i := h.set.Load().plugins[appKey{tenant, app}].identities
	i.mu.Lock()
	defer i.mu.Unlock()
	_, _, class := i.lookup(q.hash(), false)
	return class.String()
}

// Network is network.
func Network(address string) string { return network(address) }

// Shape is the text of a guest as evidence shows it.
func Shape(m Manifest, c Config, text string) (string, error) {
	p, err := intersect(m, c)
	return p.shape(text), err
}

// ABIFunctions returns the functions that a guest may import, with the number of their parameters.
func ABIFunctions() map[string]int {
	out := map[string]int{}
	for name, f := range abiFunctions() {
		out[name] = len(f.params)
	}
	return out
}
