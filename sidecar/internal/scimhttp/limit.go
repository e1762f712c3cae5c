package scimhttp

import (
	"fmt"
	"net/http"
	"time"
)

// throttle counts one request of a known client, once. It returns an error above the rate (RFC 6585 §4).
func (h *Handler) throttle(x *exchange) error {
	if x.decision.Claims.ClientID == "" || x.counted {
		return nil
	}
	x.counted = true
	c := &x.decision.Claims
	limit, burst := h.opts.RateOf(x.Tenant, c.Issuer, c.ClientID)
	wait := h.requests.Take(x.Tenant+"\x00"+c.Issuer+"\x00"+c.ClientID, limit, burst, h.opts.Now())
	if wait == 0 {
		return nil
	}
	return &answerError{
		Status: http.StatusTooManyRequests, Retry: max(wait, time.Second), Reason: "rate",
		Detail: fmt.Sprintf("more than %g requests a second; wait as long as Retry-After says", float64(limit)),
	}
}
