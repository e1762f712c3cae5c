package oauth

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// fault is a kind of fault in a request.
type fault uint8

const (
	faultRequest       fault = iota // malformed request
	faultTenant                     // no authorization server at this host
	faultNotFound                   // no such document
	faultMethod                     // not POST
	faultTooLarge                   // body beyond the bound
	faultMedia                      // not a form
	faultGrant                      // another grant type
	faultScope                      // another scope
	faultTarget                     // another resource (RFC 8707)
	faultClient                     // the client is not authenticated
	faultUnauthorized               // the client is authenticated and may not use the grant
	faultGrantOther                 // the token was issued to another client
	faultTokenType                  // a token that cannot be revoked here
	faultAuthorization              // the request has an Authorization header
	faultBasic                      // the request has an Authorization header with the scheme Basic
)

// refusal is the error for a request that cannot be granted.
type refusal struct {
	fault  fault
	detail string
}

func (r *refusal) Error() string { return "oauth: " + r.detail }

func refuse(f fault, detail string) error { return &refusal{fault: f, detail: detail} }

var (
	errFull  = errors.New("oauth: the list of revoked tokens is full")
	errApart = errors.New("oauth: this process is out of touch with the others")
)

// answer is an error response (RFC 6749 §5.2).
type answer struct {
	status      int
	code        string
	description string
	reason      string        // stable, for logs and metrics
	basic       bool          // the client tried the scheme Basic
	retry       time.Duration // of a 429: when to try again
}

// notAuthentic is the answer to any sender with an invalid signature. It does not reveal whether
// the client exists.
const notAuthentic = "the client assertion was not accepted: " +
	"unknown client, unknown key, wrong signature, or an algorithm that is not allowed"

// answerFor is the only mapping from an error to an answer. An unknown error is a fault of this
// service and gets 503 without detail.
func answerFor(err error) answer {
	var r *refusal
	var t *token.Error
	var busy *busyError
	switch {
	case errors.As(err, &busy):
		return answer{
			status: http.StatusTooManyRequests, code: "temporarily_unavailable", description: busy.detail,
			reason: busy.reason, retry: busy.wait,
		}
	case errors.As(err, &r):
		a := faultAnswer(r.fault)
		a.description = r.detail
		return a
	case errors.As(err, &t):
		return tokenAnswer(t)
	case errors.Is(err, store.ErrClientEnded):
		return invalidClient(notAuthentic, "client_ended")
	case errors.Is(err, store.ErrReplay):
		return invalidClient("the client assertion was used before; sign a new one for each request", "replay")
	case errors.Is(err, store.ErrForgotten):
		return invalidClient("the client assertion has expired by the clock of a process that shares this store; "+
			"sign a new one, and let the operators of this service compare the clocks", "clock")
	case errors.Is(err, errFull):
		return unavailable("too many tokens are revoked and have not expired yet; try again later", "revocations_full")
	case errors.Is(err, errApart):
		return unavailable("this core is cut off from the others; ask again, and another core if you can", "no_lease")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrConflict):
		return unavailable("tokens cannot be issued now; try again", "store")
	}
	return unavailable("tokens cannot be issued now; try again", "internal")
}

func faultAnswer(f fault) answer {
	const request = "invalid_request"
	switch f {
	case faultTenant:
		return answer{status: http.StatusNotFound, code: request, reason: "tenant"}
	case faultNotFound:
		return answer{status: http.StatusNotFound, code: request, reason: "not_found"}
	case faultMethod:
		return answer{status: http.StatusMethodNotAllowed, code: request, reason: "method"}
	case faultTooLarge:
		return answer{status: http.StatusRequestEntityTooLarge, code: request, reason: "too_large"}
	case faultMedia:
		return answer{status: http.StatusUnsupportedMediaType, code: request, reason: "media_type"}
	case faultGrant:
		return answer{status: http.StatusBadRequest, code: "unsupported_grant_type", reason: "grant_type"}
	case faultScope:
		return answer{status: http.StatusBadRequest, code: "invalid_scope", reason: "scope"}
	case faultTarget:
		return answer{status: http.StatusBadRequest, code: "invalid_target", reason: "resource"}
	case faultGrantOther:
		return answer{status: http.StatusBadRequest, code: "invalid_grant", reason: "token_of_another"}
	case faultTokenType:
		return answer{status: http.StatusBadRequest, code: "unsupported_token_type", reason: "token_type"}
	case faultUnauthorized:
		return answer{status: http.StatusBadRequest, code: "unauthorized_client", reason: "unauthorized_client"}
	case faultClient:
		return invalidClient("", "client")
	case faultAuthorization, faultBasic:
		a := invalidClient("", "authorization_header")
		a.basic = f == faultBasic
		return a
	case faultRequest:
	}
	return answer{status: http.StatusBadRequest, code: request, reason: "request"}
}

func tokenAnswer(t *token.Error) answer {
	if a, ok := proofAnswer(t); ok {
		return a
	}
	switch {
	case t.Reason == token.ReasonUnavailable:
		return unavailable("the client's keys cannot be read now; try again", "client_keys")
	case t.Authentic():
		return invalidClient("the client assertion was not accepted: "+t.Detail, string(t.Reason))
	case t.Reason == token.ReasonMalformed, t.Reason == token.ReasonHeader:
		return invalidClient("the client assertion cannot be read: "+t.Detail, string(t.Reason))
	}
	return invalidClient(notAuthentic, string(t.Reason))
}

func invalidClient(description, reason string) answer {
	return answer{status: http.StatusUnauthorized, code: "invalid_client", description: description, reason: reason}
}

func unavailable(description, reason string) answer {
	return answer{
		status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: description, reason: reason,
	}
}

// writeError writes an answer. A 401 must name a scheme (RFC 9110 §15.5.2). It names the scheme of
// the request (RFC 6749 §5.2), or Bearer.
func writeError(w http.ResponseWriter, a answer) {
	h := w.Header()
	switch a.status {
	case http.StatusUnauthorized:
		scheme := "Bearer"
		if a.basic {
			scheme = "Basic"
		}
		h.Set("WWW-Authenticate", scheme+` realm="oauth"`)
	case http.StatusTooManyRequests: // RFC 6585 §4
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(max(a.retry.Seconds(), 1)))))
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	}
	writeJSON(w, a.status, map[string]any{"error": a.code, "error_description": printable(a.description)})
}

// writeJSON writes a body that must not be stored (RFC 6749 §5.1).
func writeJSON(w http.ResponseWriter, status int, v map[string]any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the client disconnected
}

// printable replaces the characters that RFC 6749 §5.2 forbids in a description.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\' || r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}
