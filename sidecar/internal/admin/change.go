package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/strictjson"
)

// HeaderOperator is the name that an operator gives, percent-encoded. Nobody checks it.
const HeaderOperator = "Scimward-Operator"

// The bounds of what an operator writes, in bytes.
const (
	maxChange   = 64 << 10 // the body
	maxReason   = 500
	maxOperator = 100
)

// act is one change that an operator asks for.
type act struct {
	Tenant    string // of the route, configured; empty if the route has none
	User      string // the operator's user at the operating system
	Claimed   string // the name that the operator gave, empty for none
	Reason    string // set by because
	RequestID string
	Received  time.Time
	Locked    []store.Locked // whom the act locked
}

// because sets the reason of an act that needs one.
func (a *act) because(reason string) error {
	a.Reason = strings.TrimSpace(reason)
	if a.Reason == "" {
		return refuse(http.StatusBadRequest, "a reason is required: it goes into the audit trail")
	}
	if !printable(a.Reason, maxReason) {
		return refuse(http.StatusBadRequest, "the reason must be one line of at most %d bytes", maxReason)
	}
	return nil
}

// cause is the cause of the act's store writes, such as "operator.lock".
func (a *act) cause(action string) store.Cause {
	return store.Cause{
		Actor: "operator:" + a.User, Claimed: a.Claimed, Reason: a.Reason, RequestID: a.RequestID,
		Action: action, Decision: "operator", Received: a.Received,
	}
}

// printable reports whether s is one line of text of at most limit bytes.
func printable(s string, limit int) bool {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, hidden)
}

// refusal is an answer that tells the operator what to do.
type refusal struct {
	status int
	detail string
	more   map[string]any // members of the problem document
}

func (r *refusal) Error() string { return r.detail }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, detail: fmt.Sprintf(format, args...)}
}

// confirm waits until every process has what the act took away, and what others took away before.
func (h *Handler) confirm(ctx context.Context, a *act) error {
	if h.opts.Confirm == nil {
		return nil
	}
	return h.opts.Confirm(ctx, a.Tenant, a.RequestID, a.Locked)
}

// statusOf returns 200 without an error, the status of a refusal, and 503 for any other error.
func statusOf(err error) int {
	var r *refusal
	if err == nil {
		return http.StatusOK
	}
	if errors.As(err, &r) {
		return r.status
	}
	return http.StatusServiceUnavailable
}

// change serves a request that changes something. It refuses an unknown tenant in the route, an
// operator without a name, and a body that is not exactly one In as JSON. The result of do is the
// answer. do returns an error of refuse for what the operator can mend; any other error is a 503
// whose cause is in the log only.
func change[In any](h *Handler, name string, do func(context.Context, *act, In) (any, error)) http.HandlerFunc {
	return changeOf(h, name, bounds{maxChange, 100}, do)
}

// bounds are those of a body.
type bounds struct {
	bytes    int
	elements int // of one array or object
}

// changeOf is change for a body with other bounds.
func changeOf[In any](
	h *Handler, name string, limit bounds, do func(context.Context, *act, In) (any, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, err := h.actOf(r)
		var in In
		if err == nil {
			err = decode(http.MaxBytesReader(w, r.Body, int64(limit.bytes)), limit, &in)
		}
		var out any
		if err == nil {
			out, err = do(r.Context(), a, in)
		}
		h.answer(w, r, name, a, out, err)
	}
}

// answer writes the result of an act, and one event to the log. A result, and a refusal that may report one, waits
// until it holds at every process.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, name string, a *act, out any, err error) {
	if statusOf(err) < http.StatusInternalServerError && r.Method != http.MethodGet {
		if unknown := h.confirm(r.Context(), a); unknown != nil {
			h.opts.Logger.ErrorContext(r.Context(), "not confirmed for an operator", slog.String("action", name),
				slog.String("tenant", a.Tenant), slog.String("request_id", a.RequestID), slog.Any("error", unknown))
			problem(w, http.StatusServiceUnavailable, "the answer of this core is not sent, and a change is made here: "+
				unknown.Error()+"; repeat the command to wait again", nil)
			return
		}
	}
	attrs := []any{slog.String("action", name), slog.String("tenant", a.Tenant), slog.String("request_id", a.RequestID)}
	var refused *refusal
	switch {
	case err == nil:
		h.opts.Logger.InfoContext(r.Context(), "done for an operator", attrs...)
		h.write(w, r, http.StatusOK, out)
	case errors.As(err, &refused):
		h.opts.Logger.InfoContext(r.Context(), "refused to an operator", append(attrs, slog.Int("status", refused.status))...)
		problem(w, refused.status, refused.detail, refused.more)
	default:
		h.opts.Logger.ErrorContext(r.Context(), "failed for an operator", append(attrs, slog.Any("error", err))...)
		problem(w, http.StatusServiceUnavailable, "it could not be done"+seeLog, nil)
	}
}

// actOf reads who asks for a change, and for which tenant.
func (h *Handler) actOf(r *http.Request) (*act, error) {
	a := &act{User: peerIn(r.Context()).User, RequestID: rand.Text(), Received: h.opts.Now()}
	claimed, err := url.PathUnescape(r.Header.Get(HeaderOperator))
	if err != nil || !printable(claimed, maxOperator) {
		return a, refuse(http.StatusBadRequest, "the operator's name must be one line of at most %d bytes", maxOperator)
	}
	a.Claimed = strings.TrimSpace(claimed)
	if tenant := r.PathValue("tenant"); tenant != "" {
		if err := h.configured(tenant); err != nil {
			return a, err
		}
		a.Tenant = tenant
	}
	return a, nil
}

// configured refuses a tenant that is not configured, and lists those that are.
func (h *Handler) configured(tenant string) error {
	known := h.opts.Tenants()
	if slices.Contains(known, tenant) {
		return nil
	}
	return refuse(http.StatusNotFound, "no tenant %q: use a name under tenants in the configuration, one of %s",
		tenant, strings.Join(known, ", "))
}

// decode reads exactly one JSON object. Unknown and repeated members are refused. body ends after the bytes of limit.
func decode(body io.Reader, limit bounds, to any) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return refuse(http.StatusRequestEntityTooLarge, "the body must have at most %d bytes", limit.bytes)
	}
	_, fault := strictjson.Decode[map[string]any](b, strictjson.Rules{
		Depth: 4, Nesting: 5, Members: limit.elements, Values: 10 * limit.elements, FoldName: strings.ToLower,
	})
	if fault != nil {
		return refuse(http.StatusBadRequest, "the body is no JSON object: %v", fault)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return refuse(http.StatusBadRequest, "reading the body: %v", err)
	}
	return nil
}
