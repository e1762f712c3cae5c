package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/prometheus/client_golang/prometheus"
)

// DefaultDeadline is how long one decision may take. The slowest request within the limits
// of package scim needs a small part of it.
const DefaultDeadline = 500 * time.Millisecond

// sizeUnit is how much of a body adds a quarter of the deadline: judging a group takes as long as it has
// members.
const sizeUnit = 256 << 10

// The values of Verdict.Failure: stable words for logs and tests, never for clients.
const (
	FailureProfile     = "unknown profile"
	FailureInput       = "input cannot be represented"
	FailureFacts       = "the store did not answer what the rules read"
	FailureDeadline    = "deadline exceeded"
	FailureCancelled   = "request cancelled"
	FailureEvaluation  = "evaluation error"
	FailureUndefined   = "verdict undefined"
	FailureSeveral     = "several verdicts"
	FailureResult      = "verdict of another type"
	FailureContradicts = "verdict contradicts itself"
	FailureNoBundle    = "the tenant requires a policy bundle and has none"
	FailureStuck       = "an evaluation of the rules does not end"
)

// Options configure an Engine. The zero value is usable.
type Options struct {
	Logger   *slog.Logger          // receives failures; nil discards
	Metrics  prometheus.Registerer // nil keeps the metrics to the engine
	Deadline time.Duration         // bound on one decision; 0 is DefaultDeadline
}

// Engine evaluates the shipped profiles. It is safe for concurrent use: a decision reads one
// activation from start to end, so profiles and revisions of two activations never mix.
type Engine struct {
	log      *slog.Logger
	deadline time.Duration
	metrics  *metrics
	names    *memberTerms
	writers  sync.Pool
	relaxing map[string]map[string][]string // profile and rule to overlays
	active   atomic.Pointer[activation]
	rules    atomic.Pointer[map[string]*Rules] // by tenant; see SetRules
}

// activation is one compiled set of profiles. It never changes after it is published.
type activation struct {
	compiler *ast.Compiler
	data     storage.Store // empty: rules read only their input
	profiles map[string]*prepared
	patterns *patterns
}

// prepared is a compiled query, such as `answer = data.….verdict` of a profile, and what its rules see.
type prepared struct {
	set      *activation
	query    ast.Body
	view     view
	revision string
	memo     memo
}

// answerVar is the variable that a query binds to the profile's answer.
const answerVar = "answer"

// NewEngine compiles every shipped profile and tries each one on two requests with known
// answers. It fails when a profile does not compile or answers wrongly, or when the metrics
// cannot be registered.
func NewEngine(o Options) (*Engine, error) { return newEngine(o, shipped(), sources) }

func newEngine(o Options, profiles []profile, src source) (*Engine, error) {
	e := &Engine{log: o.Logger, deadline: o.Deadline, names: newMemberTerms(), relaxing: relaxing()}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.deadline <= 0 {
		e.deadline = DefaultDeadline
	}
	var err error
	if e.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, fmt.Errorf("registering policy metrics: %w", err)
	}
	a, err := prepare(profiles, src)
	if err != nil {
		return nil, err
	}
	if err := e.activate(a); err != nil {
		return nil, err
	}
	return e, nil
}

// activate publishes a once every profile in it has passed its smoke queries.
func (e *Engine) activate(a *activation) error {
	for name, p := range a.profiles {
		if err := e.smoke(name, p); err != nil {
			return fmt.Errorf("trying profile %s: %w", name, err)
		}
	}
	e.active.Store(a)
	return nil
}

// smoke tries a profile on one request that every profile allows and one that none does.
func (e *Engine) smoke(name string, p *prepared) error {
	good := &Input{
		Profile: name, Tenant: "smoke", Method: "GET", Route: "GET /ServiceProviderConfig",
		Client: Client{ID: "smoke", Issuer: "https://smoke.invalid", Scopes: []string{"scim"}},
	}
	// The machine may be busy at the start, and no request waits for this answer.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if v := e.recall(ctx, p, good); !v.Allow {
		return fmt.Errorf("it refuses discovery: %q %v", v.Failure, v.Violations)
	}
	v := e.recall(ctx, p, &Input{Profile: name})
	if v.Failure != "" {
		return fmt.Errorf("it cannot judge an empty request: %q", v.Failure)
	}
	if v.Allow {
		return errors.New("it allows an empty request")
	}
	return nil
}

// Decide judges one request by the profile that in names, and by the rules of the tenant. Without a clear answer, the
// Verdict denies and its Failure says why.
func (e *Engine) Decide(ctx context.Context, in *Input) Verdict {
	p := e.active.Load().profiles[in.Profile]
	if p == nil {
		v := Verdict{Failure: FailureProfile}
		e.report(ctx, "unknown", in, v)
		return v
	}
	v := e.tighten(ctx, in, e.recall(ctx, p, in))
	e.report(ctx, in.Profile, in, v)
	return v
}

// recall returns the remembered verdict on a request like this one, or judges it. It refuses a request after its
// deadline in both cases.
func (e *Engine) recall(ctx context.Context, p *prepared, in *Input) Verdict {
	w := e.writer()
	defer e.release(w)
	doc, err := p.view.write(w, in)
	if err != nil {
		return Verdict{Revision: p.revision, Failure: FailureInput}
	}
	if ctx.Err() == nil {
		if v, ok := p.memo.get(doc); ok {
			return v
		}
	}
	ctx, cancel := e.limit(ctx, in)
	defer cancel()
	v := e.judge(ctx, p, in.Profile, doc)
	p.memo.put(doc, v)
	return v
}

// limit bounds one evaluation.
func (e *Engine) limit(ctx context.Context, in *Input) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.deadline+time.Duration(in.Size/sizeUnit)*e.deadline/4)
}

// judge evaluates the rules of a profile on a document.
func (e *Engine) judge(ctx context.Context, p *prepared, profile string, doc []byte) Verdict {
	v := Verdict{Revision: p.revision}
	if err := ctx.Err(); err != nil {
		v.Failure = failureOf(ctx, err)
		return v
	}
	answers, err := p.ask(ctx, e.names.parse(doc))
	if err != nil {
		v.Failure = failureOf(ctx, err)
		return v
	}
	switch len(answers) {
	case 0:
		v.Failure = FailureUndefined
		return v
	case 1:
		v = decodeVerdict(v, answers[0][answerVar])
		for i := range v.Violations {
			v.Violations[i].Overlays = e.relaxing[profile][v.Violations[i].Rule]
		}
		return v
	default:
		v.Failure = FailureSeveral
		return v
	}
}

// ask runs the prepared query. It calls the evaluator directly: package rego would start a
// goroutine for each decision and convert the answer to Go's JSON types, which together
// cost more than the rules of a read. With a tracer it tries every rule, also those that cannot apply.
func (p *prepared) ask(
	ctx context.Context, input ast.Value, tracers ...topdown.QueryTracer,
) (topdown.QueryResultSet, error) {
	txn, err := p.set.data.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening policy data: %w", err)
	}
	defer p.set.data.Abort(ctx, txn)
	cancel := topdown.NewCancel()
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	query := topdown.NewQuery(p.query)
	for _, t := range tracers {
		query = query.WithQueryTracer(t)
	}
	return query.
		WithCompiler(p.set.compiler).
		WithStore(p.set.data).
		WithTransaction(txn).
		WithInput(ast.NewTerm(input)).
		WithStrictBuiltinErrors(true).
		WithIndexing(len(tracers) == 0).
		WithEarlyExit(len(tracers) == 0).
		WithCancel(cancel).
		Run(withPatterns(ctx, p.set.patterns))
}

func failureOf(ctx context.Context, err error) string {
	switch cause := ctx.Err(); {
	case errors.Is(err, errStuck):
		return FailureStuck
	case errors.Is(cause, context.DeadlineExceeded):
		return FailureDeadline
	case cause != nil || topdown.IsCancel(err):
		return FailureCancelled
	default:
		return FailureEvaluation
	}
}

// report counts a verdict and logs a failure. profile is a shipped name or "unknown", and
// the caller knows the tenant, so the label set is bounded.
func (e *Engine) report(ctx context.Context, profile string, in *Input, v Verdict) {
	e.metrics.count(in.Tenant, profile, v)
	if v.Failure == "" {
		return
	}
	e.log.LogAttrs(ctx, slog.LevelError, "policy gave no verdict",
		slog.String("profile", in.Profile),
		slog.String("tenant", in.Tenant),
		slog.String("route", in.Route),
		slog.String("revision", v.Revision),
		slog.String("failure", v.Failure),
		slog.String("reason", v.Reason))
}
