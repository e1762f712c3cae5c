package authz

import (
	"net/http"
	"strings"
)

// Fault reports whether a refusal is our fault and may be another answer a moment
// later. 501 is an answer, not a fault.
func (d Decision) Fault() bool {
	return !d.allow && (d.Status < 400 || d.Status >= 500) && d.Status != http.StatusNotImplemented
}

// Refusal returns a refusal with what an answer must hold: an error status, a
// detail, a reason, and a wait where the fault is ours. Whoever renders a decision
// starts from it, so that the proxy's answer and the handler's are the same
// (DESIGN §7). What has no error status is a fault: 503, never 403.
func (d Decision) Refusal() Decision {
	if d.Status < 400 || d.Status > 599 {
		d.Status = http.StatusServiceUnavailable
	}
	if d.Reason == "" {
		d.Reason = ReasonUndecided
	}
	if d.Detail == "" {
		d.Detail = defaultDetail(d.Status)
	}
	if d.Fault() && d.Retry <= 0 {
		d.Retry = retryFault
	}
	return d
}

func defaultDetail(status int) string {
	if status == http.StatusServiceUnavailable {
		return "the request cannot be judged at the moment: send it again"
	}
	if text := http.StatusText(status); text != "" {
		return strings.ToLower(text)
	}
	return "refused"
}
