package scimhttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/client"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// recorder records the sent status. Before the first byte goes out it waits for confirm. After an error of confirm,
// refuse sends another answer, and this one is dropped.
type recorder struct {
	http.ResponseWriter
	status  int
	confirm func() error
	refuse  func(error)
	refused error
}

func (r *recorder) WriteHeader(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	says := status < http.StatusInternalServerError && status != http.StatusUnauthorized &&
		status != http.StatusTooManyRequests // other answers say nothing about anybody
	if says {
		r.refused = r.confirm()
	}
	if r.refused == nil {
		r.ResponseWriter.WriteHeader(status)
		return
	}
	for _, name := range []string{"ETag", "Location", "Content-Length"} {
		r.Header().Del(name)
	}
	r.status = http.StatusServiceUnavailable
	r.refuse(r.refused)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.refused != nil {
		return len(b), nil //nolint:nilerr // the client has another answer
	}
	return r.ResponseWriter.Write(b)
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.begin(r)
	ctx := r.Context()
	rec := &recorder{ResponseWriter: w, confirm: func() error { return h.confirm(ctx, x) }, refuse: func(err error) {
		f := answerFor(err)
		x.reason, x.err = f.Reason, err
		f.write(w)
	}}
	w.Header().Set(headers.Decision, x.ID)
	defer func() { h.end(ctx, x, rec.status) }()

	err := h.serveOrPanic(ctx, rec, r, x)
	if err == nil {
		return
	}
	if rec.refused != nil {
		return
	}
	if rec.status != 0 { // a partial answer must not look complete
		x.reason, x.err = reasonPanic, err
		panic(http.ErrAbortHandler)
	}
	f := answerFor(err)
	x.reason = f.Reason
	if f.Status >= http.StatusInternalServerError {
		x.err = err
	}
	h.recordRefusal(ctx, x, f)
	f.write(rec)
}

// confirm waits until no process serves anybody whom the answer may call inactive, locked or gone. An answer to a
// stranger says nothing about anybody.
func (h *Handler) confirm(ctx context.Context, x *exchange) error {
	if h.opts.Confirm == nil || x.decision.Claims.ClientID == "" {
		return nil
	}
	if err := h.opts.Confirm(ctx, x.Tenant, x.ID, x.locked); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// reasonPanic is the reason of a request that ended in a panic.
const reasonPanic = "panic"

// panicError names the place of a panic. It omits the text of the panic, which might quote the
// request.
type panicError struct{ at string }

func (e *panicError) Error() string { return "panic at " + e.at }

// serveOrPanic runs serve and turns a panic into an error. So the client gets a SCIM error and the
// log names the route.
func (h *Handler) serveOrPanic(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{at: panicSite()}
		}
	}()
	return h.serve(ctx, w, r, x)
}

// panicSite returns the function and line that panicked. It must be called in the deferred function
// that recovers.
func panicSite() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, "runtime.")
		if panicking && !inside {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			return "an unknown place"
		}
	}
}

// serve decides and acts.
func (h *Handler) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) error {
	tenant, ok := h.opts.TenantOf(r)
	if !ok {
		return store.ErrNotFound
	}
	x.Tenant = tenant
	if err := x.read(r, h.opts.MaxBody); err != nil {
		return err
	}
	done, err := h.readRest(ctx, r, x)
	defer done()
	if err != nil {
		return err
	}
	if h.opts.Settled != nil && !x.reads() {
		h.opts.Settled(ctx, tenant)
	}
	began := time.Now()
	x.decision = h.opts.Decider.Decide(ctx, x.Request)
	x.decided = time.Since(began)
	if n := x.decision.Nonce; n != "" {
		w.Header().Set("DPoP-Nonce", n)
	}
	if err := h.throttle(x); err != nil {
		return err
	}
	if !x.decision.Allowed() || x.decision.SCIM == nil || x.decision.Tenant != tenant {
		return answerForDecision(x.decision)
	}
	if h.opts.Current != nil { // after the decision, so that no stranger makes this process ask the others
		if err := h.opts.Current(ctx); err != nil {
			return err
		}
	}
	x.scim = x.decision.SCIM
	x.answer = w.Header()
	x.warn()
	if x.pre, err = readPreconditions(x.Headers); err != nil {
		return err
	}
	return h.act(ctx, w, x)
}

// decideResult decides about the resource that a change gives. It knows more than the decision about the request,
// so the rules that it finds violated are those of the request.
func (h *Handler) decideResult(ctx context.Context, x *exchange, tx *store.Tx, stored, result scim.Object) error {
	x.final = true
	f := facts{h: h, tx: tx, x: x}
	if stored != nil {
		f.id = x.resource
	}
	d := h.opts.Decider.DecideResult(ctx, x.scim, authz.Change{Stored: stored, Result: result, Facts: f})
	if d.Policy != "" {
		x.decision.Violated, x.decision.Warn, x.decision.Hold = d.Violated, d.Warn, d.Hold
	}
	if d.Input != nil {
		x.decision.Input, x.decision.Final = d.Input, d.Final
	}
	x.decision.Judged += d.Judged
	x.decided += d.Judged
	if x.refused = !d.Allowed(); x.refused {
		x.answer.Del(headerDeviation) // nothing deviates that is refused
		return answerForDecision(d)
	}
	x.warn()
	tx.Decided(x.judgement())
	return nil
}

// warn puts what deviates from the profile into the answer.
func (x *exchange) warn() {
	x.answer.Del(headerDeviation)
	if found := x.deviations(); len(found) > 0 {
		x.answer.Set(headerDeviation, strings.Join(found, ", "))
	}
}

// headerDeviation lists how an allowed request deviates from the profile.
const headerDeviation = "SCIM-Profile-Deviation"

// decideLate is decideResult for a change that only the tenant's rules judge by the resource.
func (h *Handler) decideLate(ctx context.Context, x *exchange, tx *store.Tx, stored, result scim.Object) error {
	if !x.scim.Later {
		return nil
	}
	return h.decideResult(ctx, x, tx, stored, result)
}

// errUnjudged says that a change would be committed that the tenant's rules have not judged.
var errUnjudged = errors.New("the rules of the tenant have not judged the change")

// judged wraps the function of a transaction. Nothing is committed that the rules must still judge.
func (x *exchange) judged(fn func() error) error {
	x.final, x.refused = false, false // a transaction may run again
	if err := fn(); err != nil {
		return err
	}
	if x.scim.Later && !x.final {
		return errUnjudged
	}
	return nil
}

// update changes the store in one transaction.
func (h *Handler) update(ctx context.Context, x *exchange, fn func(*store.Tx) error) (store.Seq, error) {
	var locked []store.Locked
	seq, err := h.opts.Store.Update(ctx, x.Tenant, x.cause(), func(tx *store.Tx) error {
		err := x.judged(func() error { return fn(tx) })
		locked = tx.Locked()
		return err
	})
	if err == nil {
		x.locked = locked
	}
	return seq, err
}

// updateMembers changes a group with any number of members.
func (h *Handler) updateMembers(ctx context.Context, x *exchange, c store.MemberChange,
	fn func(*store.Tx, string, func() (int, error)) error,
) (store.Seq, error) {
	judged := func(tx *store.Tx, id string, members func() (int, error)) error {
		return x.judged(func() error { return fn(tx, id, members) })
	}
	return h.opts.Store.UpdateMembers(ctx, x.Tenant, x.cause(), c, judged)
}

// deviations lists how an allowed request deviates from the profile: the rules in warn mode, and the codes of
// what the parser changed for a client with overlays. Each is a token, so that the header is a list of RFC 9651
// §3.1.
func (x *exchange) deviations() []string {
	if len(x.scim.Dialect.Overlays()) == 0 {
		return x.decision.Warn
	}
	return slices.Concat(x.decision.Warn, x.decision.Deviations)
}

// act runs the operation. The decision allowed the route, so a missing operation is a fault of this
// service.
func (h *Handler) act(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	switch x.scim.Endpoint {
	case endpointUsers, endpointGroups:
		if op := h.operation(x); op != nil {
			return op(ctx, w, x)
		}
	case endpointConfig, endpointTypes, endpointSchemas:
		if x.reads() {
			return h.discover(w, x)
		}
	}
	return fmt.Errorf("serving %s: allowed, but there is no operation for it", x.route)
}

// operation is one of the twelve operations on resources.
type operation func(context.Context, http.ResponseWriter, *exchange) error

func (h *Handler) operation(x *exchange) operation {
	pick := func(user, group operation) operation {
		if x.scim.Endpoint == endpointUsers {
			return user
		}
		return group
	}
	byID := x.scim.ID != ""
	switch method := x.Method; {
	case x.reads() && byID:
		return pick(h.readUser, h.readGroup)
	case x.reads():
		return pick(h.listUsers, h.listGroups)
	case method == http.MethodPost && !byID:
		return pick(h.createUser, h.createGroup)
	case method == http.MethodPut && byID:
		return pick(h.replaceUser, h.replaceGroup)
	case method == http.MethodPatch && byID:
		return pick(h.patchUser, h.patchGroup)
	case method == http.MethodDelete && byID:
		return pick(h.deleteUser, h.deleteGroup)
	}
	return nil
}

// end writes the log event of the request. The event never contains tokens, bodies, queries or
// attribute values.
func (h *Handler) end(ctx context.Context, x *exchange, status int) {
	took := h.opts.Now().Sub(x.Received)
	h.m.request(x.Tenant, x.route, status, took)
	h.opts.Used(client.Use{
		Tenant: x.Tenant, Claims: &x.decision.Claims, Token: x.decision.Token, Status: status, Reason: x.reason,
	})
	h.opts.Judged(&x.decision)
	h.opts.Decided(&authz.Answered{
		Request: &x.Request, Decision: &x.decision, Service: true, Refused: x.scim == nil || x.refused, Status: status,
		Reason: x.reason, Route: x.route, Resource: cmp.Or(x.resource, x.decision.Target), Decided: x.decided, Took: took,
	})
	level := slog.LevelInfo
	if len(x.taken) > 0 {
		level = slog.LevelWarn
	}
	if status >= http.StatusInternalServerError || x.err != nil {
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.ID), slog.String("tenant", x.Tenant),
		slog.String("client", x.decision.Claims.ClientID), slog.String("route", x.route),
		slog.Int("status", status), slog.Duration("took", took), slog.String("remote", x.Remote),
	}
	add := func(present bool, a slog.Attr) {
		if present {
			attrs = append(attrs, a)
		}
	}
	add(x.resource != "", slog.String("resource", x.resource))
	add(x.seq != 0, slog.Uint64("seq", x.seq))
	add(x.reason != "", slog.String("reason", x.reason))
	add(len(x.decision.Deviations) > 0, slog.Any("deviations", x.decision.Deviations))
	add(x.decision.Policy != "", slog.String("policy", x.decision.Policy))
	add(x.err != nil, slog.Any("error", x.err))
	add(len(x.taken) > 0, slog.String("warning", "the user has the "+strings.Join(x.taken, ", ")+" of another user, so "+
		"older credentials, and those of unknown age, are refused: see scimward status"))
	if x.decision.Token != nil {
		attrs = append(attrs, x.decision.Token.Attrs()...)
	}
	h.opts.Logger.LogAttrs(ctx, level, "scim request", attrs...)
}
