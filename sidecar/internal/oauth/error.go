package oauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// fault is what is wrong with a request, before it is put into a protocol's words.
type fault uint8

const (
	faultTenant        fault = iota // no authorization server at this host
	faultNotFound                   // no such document
	faultMethod                     // not POST
	faultRequest                    // malformed request
	faultTooLarge                   // body beyond the bound
	faultMedia                      // not a form
	faultGrant                      // another grant type
	faultScope                      // another scope
	faultTarget                     // another resource (RFC 8707)
	faultClient                     // the client is not authenticated
	faultAuthorization              // it tried with an Authorization header
)

// refusal is a request that is refused for its own sake.
type refusal struct {
	fault  fault
	detail string
	scheme string // of the Authorization header, faultAuthorization only
}

func (r *refusal) Error() string { return "oauth: " + r.detail }

// answer is an error in the words of RFC 6749 §5.2.
type answer struct {
	status      int
	code        string
	description string
	challenge   string // WWW-Authenticate
	retry       int    // seconds, Retry-After
	reason      string // stable, for logs and metrics
}

// notAuthentic is told to everyone whose signature did not verify: a client that
// exists and one that does not are answered alike.
const notAuthentic = "the client assertion was not accepted: unknown client, unknown key, wrong signature, or an algorithm that is not allowed"

const retrySeconds = 5

// answerFor is the only place where an error becomes an answer. What it does not
// know is a fault on our side: 503, without detail.
func answerFor(err error) answer {
	var r *refusal
	var t *token.Error
	switch {
	case errors.As(err, &r):
		return r.answer()
	case errors.As(err, &t):
		return answerForToken(t)
	case errors.Is(err, store.ErrReplay):
		return invalidClient("the client assertion was used before; sign a new one for each request", "replay")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrConflict):
		return unavailable("tokens cannot be issued now; try again", "store")
	}
	return unavailable("tokens cannot be issued now; try again", "internal")
}

func (r *refusal) answer() answer {
	switch r.fault {
	case faultTenant:
		return answer{status: http.StatusNotFound, code: "invalid_request", description: "there is no authorization server at this host", reason: "tenant"}
	case faultNotFound:
		return answer{status: http.StatusNotFound, code: "invalid_request", description: "there is no such document", reason: "not_found"}
	case faultMethod:
		return answer{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "the token endpoint takes POST", reason: "method"}
	case faultTooLarge:
		return answer{status: http.StatusRequestEntityTooLarge, code: "invalid_request", description: r.detail, reason: "too_large"}
	case faultMedia:
		return answer{status: http.StatusUnsupportedMediaType, code: "invalid_request", description: r.detail, reason: "media_type"}
	case faultGrant:
		return answer{status: http.StatusBadRequest, code: "unsupported_grant_type", description: "the only grant type is client_credentials", reason: "grant_type"}
	case faultScope:
		return answer{status: http.StatusBadRequest, code: "invalid_scope", description: "the only scope is scim", reason: "scope"}
	case faultTarget:
		return answer{status: http.StatusBadRequest, code: "invalid_target", description: r.detail, reason: "resource"}
	case faultClient:
		return invalidClient(r.detail, "client")
	case faultAuthorization:
		a := invalidClient(r.detail, "authorization_header")
		a.challenge = r.scheme + ` realm="oauth"` // RFC 6749 §5.2: the scheme that was used
		return a
	case faultRequest:
	}
	return answer{status: http.StatusBadRequest, code: "invalid_request", description: r.detail, reason: "request"}
}

func answerForToken(t *token.Error) answer {
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

// invalidClient is 401 (B12). A 401 must name a scheme (RFC 9110 §15.5.2); ours
// has none, so it names that of the tokens that are issued here.
func invalidClient(description, reason string) answer {
	return answer{status: http.StatusUnauthorized, code: "invalid_client", description: description, challenge: `Bearer realm="oauth"`, reason: reason}
}

func unavailable(description, reason string) answer {
	return answer{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", description: description, retry: retrySeconds, reason: reason}
}

func writeError(w http.ResponseWriter, a answer) {
	h := w.Header()
	if a.challenge != "" {
		h.Set("WWW-Authenticate", a.challenge)
	}
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	writeJSON(w, a.status, map[string]any{"error": a.code, "error_description": plain(a.description)})
}

// writeJSON answers with a body that must not be kept (RFC 6749 §5.1, B14).
func writeJSON(w http.ResponseWriter, status int, v map[string]any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client went away: nobody is left to tell
}

// plain keeps a description within the characters of RFC 6749 §5.2.
func plain(s string) string {
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
