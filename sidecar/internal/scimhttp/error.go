package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// answerError is the answer to a failed request: a SCIM error (RFC 7644 §3.12) with its header
// fields. As an error it maps to itself.
type answerError struct {
	Status    int
	Type      string // scimType (RFC 7644 Table 9); empty if none applies
	Detail    string
	Challenge string        // WWW-Authenticate
	Retry     time.Duration // Retry-After, rounded up to seconds
	Allow     string
	Reason    string // stable code for log and metric, never sent
}

func (f *answerError) Error() string { return fmt.Sprintf("http %d: %s", f.Status, f.Reason) }

// Retry-After for requests that may succeed later.
const (
	retryConflict = time.Second     // other writers were faster
	retryPaused   = time.Minute     // until an operator resumes
	retryStore    = 5 * time.Second // the disk refuses writes, or the store is closing
)

// Reasons if the store accepts no writes, and if this process may not have what others have answered.
const (
	reasonStore = "store_unavailable"
	reasonApart = "no_lease"
)

// ErrApart says that this process is out of touch with those that share its store.
var ErrApart = errors.New("scimhttp: this process is out of touch with the others")

// answerFor is the only mapping from an error to an answer. An unknown error is a 500 without
// detail.
func answerFor(err error) *answerError {
	var (
		known   *answerError
		se      *scim.Error
		unique  *store.UniquenessError
		missing *store.MissingMembersError
		limit   *store.LimitError
		broken  *panicError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &se):
		return &answerError{Status: se.Status, Type: se.Type, Detail: se.Detail + authz.Setting(se.Code), Reason: "scim"}
	case errors.As(err, &unique):
		return &answerError{
			Status: http.StatusConflict, Type: scim.TypeUniqueness, Reason: "uniqueness",
			Detail: "another resource has this " + unique.Attribute +
				"; look it up with a filter and change that one, or send another value",
		}
	case errors.As(err, &missing):
		return &answerError{
			Status: http.StatusBadRequest, Type: scim.TypeInvalidValue, Reason: "missing_members",
			Detail: "members that do not exist here: " + someIDs(missing.IDs) + "; create them first",
		}
	case errors.As(err, &limit):
		return &answerError{
			Status: http.StatusBadRequest, Type: scim.TypeInvalidValue, Reason: "value_limit",
			Detail: fmt.Sprintf("%s has more than %d %s, which is the limit; send less",
				limit.Attribute, limit.Limit, limit.Unit),
		}
	case errors.As(err, &broken):
		return &answerError{Status: http.StatusInternalServerError, Detail: "internal error", Reason: reasonPanic}
	}
	return answerForSentinel(err)
}

func answerForSentinel(err error) *answerError {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &answerError{Status: http.StatusNotFound, Detail: "there is no such resource", Reason: "not_found"}
	case errors.Is(err, store.ErrClientEnded): // between the decision and the commit
		return &answerError{
			Status: http.StatusUnauthorized, Detail: "the access token is not valid here: ask the token endpoint for a new one",
			Challenge: `Bearer error="invalid_token"`, Reason: "client_ended",
		}
	case errors.Is(err, store.ErrPaused): // between the decision and the commit
		return unavailable("SCIM of this tenant is paused by its operator: send the request again later", retryPaused,
			"paused")
	case errors.Is(err, store.ErrPolicyChanged): // likewise
		return unavailable("the policy of this tenant has just changed; send the request again", retryConflict,
			"policy_changed")
	case errors.Is(err, store.ErrSelfMember):
		return &answerError{
			Status: http.StatusBadRequest, Type: scim.TypeInvalidValue, Reason: "self_member",
			Detail: "a group cannot be a member of itself; leave its own id out of members",
		}
	case errors.Is(err, store.ErrTooLarge):
		return &answerError{
			Status: http.StatusRequestEntityTooLarge, Reason: "change_too_large",
			Detail: "the change is too large for one transaction; send it in several requests",
		}
	case errors.Is(err, store.ErrManyLocks):
		return unavailable("this name is locked by an operator, and there is no room for one more lock; "+
			"ask the operator of the application to lift locks that are not needed", retryStore, "many_locks")
	case errors.Is(err, store.ErrConflict):
		return unavailable("other requests changed the resource at the same time; send the request again",
			retryConflict, "conflict")
	case errors.Is(err, ErrApart):
		return unavailable("this core is cut off from the others and cannot answer; send the request again, "+
			"to another core if you can", retryStore, reasonApart)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return unavailable("changes cannot be stored at the moment; send the request again", retryStore, reasonStore)
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable("the request took too long; send it again", retryConflict, "deadline")
	case errors.Is(err, context.Canceled):
		return unavailable("the request was cancelled", retryConflict, "cancelled")
	}
	return &answerError{Status: http.StatusInternalServerError, Detail: "internal error", Reason: "internal"}
}

func badRequest(reason, detail string) *answerError {
	return &answerError{Status: http.StatusBadRequest, Reason: reason, Detail: detail}
}

func unavailable(detail string, retry time.Duration, reason string) *answerError {
	return &answerError{Status: http.StatusServiceUnavailable, Detail: detail, Retry: retry, Reason: reason}
}

// Unavailable answers 503 with a SCIM error, for a request that another part of the process refuses.
func Unavailable(w http.ResponseWriter, detail string) { unavailable(detail, 0, "").write(w) }

// Misdirected answers 421 with a SCIM error: the service is in another process.
func Misdirected(w http.ResponseWriter, detail string) {
	(&answerError{Status: http.StatusMisdirectedRequest, Detail: detail, Reason: authz.ReasonElsewhere}).write(w)
}

// answerForDecision returns the answer to a denied request. The zero decision is a fault of this
// service and gets 503, never 403.
func answerForDecision(d authz.Decision) *answerError {
	d = d.Refusal()
	return &answerError{
		Status: d.Status, Type: d.ScimType, Detail: d.Detail,
		Challenge: d.Challenge, Retry: d.Retry, Reason: d.Reason, Allow: d.AllowMethods,
	}
}

// someIDs lists at most five ids, each cut to 64 bytes. The client wrote them, and the answer must
// stay small.
func someIDs(ids []string) string {
	const most, longest = 5, 64
	var b strings.Builder
	for i, id := range ids {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(ids)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if len(id) > longest {
			id = id[:longest] + "…"
		}
		b.WriteString(strconv.Quote(id))
	}
	return b.String()
}

// write sends the answer. The status in the body is a string (RFC 7644 §3.12).
func (f *answerError) write(w http.ResponseWriter) {
	o := scim.Object{
		"schemas": []any{scim.ErrorURN},
		"status":  strconv.Itoa(f.Status),
		"detail":  f.Detail,
	}
	if f.Type != "" {
		o["scimType"] = f.Type
	}
	if f.Challenge != "" {
		w.Header().Set("WWW-Authenticate", f.Challenge)
	}
	if f.Allow != "" {
		w.Header().Set("Allow", f.Allow)
	}
	if f.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.Retry.Seconds()))))
	}
	writeJSON(w, f.Status, scim.Encode(o))
}
