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
)

// throttles limit failed authentications by the address that they come from, before any signature is
// verified, and successful ones by client. So nobody can use up the requests of a client without its key.
type throttles struct {
	failures, requests *limit.Buckets
}

func newThrottles() (out throttles, err error) {
	var failed, asked error
	out.failures, failed = limit.New()
	out.requests, asked = limit.New()
	return out, errors.Join(failed, asked)
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

// admit refuses a request from an address with too many failed authentications.
func (h *handler) admit(q *tokenRequest, r *http.Request) error {
	q.source = source(q.tenant, r)
	if wait := h.throttles.failures.Wait(q.source, q.received); q.source != "" && wait > 0 {
		return &busyError{wait, "too many failed requests from this address; wait as long as Retry-After says", "rate_source"}
	}
	return nil
}

// failed counts a failed authentication.
func (h *handler) failed(q *tokenRequest, a answer) {
	if a.reason != "token_of_another" && (a.code == "invalid_client" || a.code == "invalid_grant") && q.source != "" {
		h.throttles.failures.Take(q.source, failureRate, failureBurst, q.received)
	}
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
	n := cmp.Or(c.RequestsPerMinute, defaultRequests)
	h.throttles.requests.Take(q.tenant+"\x00"+q.client, rate.Limit(n)/60, n, q.received)
}
