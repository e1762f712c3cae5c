package oauth

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/sidecar/internal/limit"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// The limits of an authorization server.
const (
	defaultRequests = 60 // of one client, a minute, and its burst

	failureRate  = rate.Limit(2) // failed authentications from one address, a second
	failureBurst = 120

	// Verifications a second for addresses beyond their limit: those that all clients share, and those that are
	// divided among them. Together they take about a tenth of a processor.
	extraRate, ownRate   = rate.Limit(500), rate.Limit(500)
	extraBurst, ownBurst = 100, 10
)

// throttles limit failed authentications by the address that they come from, and successful ones by client.
// So nobody can use up the requests of a client without its key.
//
// An address may have many users. Beyond its limit, a request is still verified if it names a client that has
// verifications left, its own or shared ones. So whoever fails often at an address costs bounded work, and keeps
// out at most the client that they name.
type throttles struct {
	failures, requests *limit.Buckets
	own                *limit.Buckets // by client
	extra              *rate.Limiter
}

func newThrottles(shared *limit.Group) (out throttles, err error) {
	var errs [3]error
	out.failures, errs[0] = shared.New("failures")
	out.requests, errs[1] = shared.New("tokens")
	out.own, errs[2] = limit.New()
	out.extra = rate.NewLimiter(extraRate, extraBurst)
	return out, errors.Join(errs[:]...)
}

// verify reports whether a request from an address beyond its limit may be verified. It must name one of the
// clients, whose number is given.
func (t *throttles) verify(to *tenant, raw string, clients int, now time.Time) bool {
	client, known := to.verifier.Names(raw)
	if !known {
		return false
	}
	each := max(ownRate/rate.Limit(max(clients, 1)), 1)
	return t.own.Take(to.Name+"\x00"+client, each, ownBurst, now) == 0 || t.extra.AllowN(now, 1)
}

// busyError says that a source or a client has used up its requests.
type busyError struct {
	wait   time.Duration
	detail string
	reason string
}

func (e *busyError) Error() string { return "oauth: " + e.detail }

// source names the address of a request at a tenant, an IPv6 address by its network of 64 bits, "" if the
// address is not known.
func source(tenant string, r *http.Request) string {
	ip, err := netip.ParseAddr(request.RemoteAddr(r))
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if p, err := ip.Prefix(64); err == nil && ip.Is6() {
		ip = p.Addr()
	}
	return tenant + "\x00" + ip.String()
}

// admit notes whether the address of a request has too many failed authentications.
func (h *handler) admit(q *tokenRequest, r *http.Request) {
	if q.source = source(q.tenant, r); q.source != "" {
		q.over = h.throttles.failures.Wait(q.source, q.received)
	}
}

// tooMany refuses a request from an address with too many failed authentications.
func (q *tokenRequest) tooMany() error {
	return &busyError{q.over, "too many failed requests from this address; wait as Retry-After says", "rate_source"}
}

// failed counts a refused request that was to prove a client and spent no assertion. It returns the answer:
// beyond the limit of an address, only a proven client learns more than that.
func (h *handler) failed(q *tokenRequest, a answer) answer {
	if a.status >= http.StatusInternalServerError || q.spent {
		return a
	}
	bad := a.code == "invalid_client" || a.code == "invalid_grant"
	if q.source != "" && (bad || q.client != "") {
		h.throttles.failures.Take(q.source, failureRate, failureBurst, q.received)
	}
	if q.over > 0 && (bad || q.client == "") {
		return answerFor(q.tooMany())
	}
	return a
}

// spare refuses a request of an authenticated client that has used up its requests. The request counts when
// its assertion is spent, so that nobody who repeats an assertion uses them up.
func (h *handler) spare(q *tokenRequest) error {
	if wait := h.throttles.requests.Wait(q.tenant+"\x00"+q.client, q.received); wait > 0 {
		return &busyError{wait, "too many requests of this client; use its token until it expires", "rate_client"}
	}
	return nil
}

// served counts a request of a client.
func (h *handler) served(c *Client, q *tokenRequest) {
	q.spent = true
	n := cmp.Or(c.RequestsPerMinute, defaultRequests)
	h.throttles.requests.Take(q.tenant+"\x00"+q.client, rate.Limit(n)/60, n, q.received)
}
