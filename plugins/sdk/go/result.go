package revoker

import (
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// Revoked says that no credential of the kind is usable any more and that this call revoked count. If
// count is not 0, the host calls again. A call that found none answers [Nothing].
func Revoked(count int, evidence ...Evidence) Result {
	return Result{State: abi.StateRevoked, Count: count, Evidence: evidence}
}

// Nothing says that the plugin looked and no credential existed. Two such answers in a row end the work
// on a kind, like two of [Revoked] with count 0.
func Nothing() Result { return Result{State: abi.StateNothingToRevoke} }

// Partial says that count were revoked and remaining are left, 0 if unknown. The host calls again at once
// with cursor.
func Partial(count, remaining int, cursor string) Result {
	return Result{State: abi.StatePartial, Count: count, Remaining: remaining, Cursor: cursor}
}

// Retry says that the call failed and may succeed later. If after is 0, the host chooses the wait.
func Retry(code, message string, after time.Duration) Result {
	return Result{State: abi.StateRetry, Code: code, Message: message, RetryAfterMS: after.Milliseconds()}
}

// Failed says that a repeated call cannot succeed before a repair.
func Failed(code, message string) Result {
	return Result{State: abi.StateFailed, Code: code, Message: message}
}

// Unsupported says that the application cannot revoke this kind. The proxy keeps refusing such
// credentials until they expire.
func Unsupported(message string) Result {
	return Result{State: abi.StateUnsupported, Message: message}
}

// WouldRevoke is the outcome of a dry run that found count.
func WouldRevoke(count int) Result { return Result{State: abi.StateWouldRevoke, Count: count} }

// FromHTTP maps the answer to one revoking request to an outcome:
//
//	2xx                      revoked, with the request as evidence
//	404, 410                 nothing_to_revoke
//	408, 409, 425, 429, 5xx  retry, after the time that the application asked for
//	401, 403                 failed, code app_denied, because the plugin's own access is denied
//	no answer                retry, or failed when the host refused to send
//	anything else            failed
//
// A 2xx counts as one credential. If the application answers 2xx even where none exists, look first and
// answer [Nothing] yourself. Otherwise every call finds one and the work never ends.
func (c *Context) FromHTTP(r Response) Result {
	what := r.Method + " " + path(r.URL)
	switch {
	case r.Err != nil && r.Err.Retryable:
		return Retry(r.Err.Code, what+": "+r.Err.Message, r.RetryAfter)
	case r.Err != nil:
		return Failed(r.Err.Code, what+": "+r.Err.Message)
	case r.OK():
		p := path(r.URL)
		id := p[strings.LastIndexByte(p, '/')+1:]
		return Revoked(1, Evidence{ID: id, Action: what, Status: r.Status})
	}
	msg := what + " answered " + strconv.Itoa(r.Status)
	switch r.Status {
	case 404, 410:
		return Nothing()
	case 401, 403:
		return Failed(abi.CodeUnauthorized, msg)
	case 429:
		return Retry(abi.CodeRateLimited, msg, r.RetryAfter)
	}
	if r.Status >= 500 || r.Status == 408 || r.Status == 409 || r.Status == 425 {
		return Retry(abi.CodeAppError, msg, r.RetryAfter)
	}
	return Failed(abi.CodeAppError, msg)
}

// reserve is the time Each leaves for reporting before the deadline.
const reserve = 250 * time.Millisecond

// Each revokes ids one by one with del and adds up the outcomes. The state is revoked if all are gone,
// nothing_to_revoke without ids, and partial if the deadline is near. A 401, 403, 429 or a missing answer
// stops it, other failures do not. In a dry run it does not call del.
func (c *Context) Each(ids []string, del func(id string) Response) Result {
	if len(ids) == 0 {
		return Nothing()
	}
	if c.DryRun() {
		r := WouldRevoke(len(ids))
		r.Found = len(ids)
		return r
	}
	var worst *Result
	sum := Revoked(0)
	sum.Found = len(ids)
	gone := 0
	for _, id := range ids {
		if c.Left() < reserve {
			break
		}
		resp := del(id)
		r := c.FromHTTP(resp)
		switch r.State {
		case abi.StateRevoked:
			sum.Count++
			gone++
			sum.Evidence = append(sum.Evidence, Evidence{ID: id, Action: r.Evidence[0].Action, Status: resp.Status})
		case abi.StateNothingToRevoke:
			gone++
		default:
			worst = worse(worst, r)
		}
		if resp.Err != nil || resp.Status == 401 || resp.Status == 403 || resp.Status == 429 {
			break
		}
	}
	return total(sum, worst, len(ids)-gone)
}

// worse returns the more serious outcome. failed is worse than retry, and the first of two equals wins.
func worse(a *Result, b Result) *Result {
	if a == nil || (a.State == abi.StateRetry && b.State == abi.StateFailed) {
		return &b
	}
	return a
}

func total(sum Result, worst *Result, left int) Result {
	switch {
	case worst != nil:
		sum.State, sum.Code, sum.Message, sum.RetryAfterMS = worst.State, worst.Code, worst.Message, worst.RetryAfterMS
		sum.Remaining = left
	case left > 0:
		sum.State, sum.Remaining = abi.StatePartial, left
	case sum.Count == 0:
		sum.State = abi.StateNothingToRevoke
	}
	return clip(sum)
}

// path returns the path and query of an absolute URL.
func path(u string) string {
	if _, rest, ok := strings.Cut(u, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return u
}
