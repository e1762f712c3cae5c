package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// Host runs the plugins of all tenants. Its methods are safe for concurrent use.
type Host struct {
	common   *common
	set      atomic.Pointer[set]
	retiring sync.WaitGroup // replaced plugins that finish their calls
}

type appKey struct{ tenant, app string }

func (k appKey) String() string { return k.tenant + "/" + k.app }

// Open loads the plugins and returns when each is ready or refused. [Host.Ready] says which. Open returns an error if
// the options cannot work for any plugin, or if ctx ends. Close the host after use.
func Open(ctx context.Context, opts Options) (*Host, error) {
	h, err := Start(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := h.Wait(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Start is Open without waiting: the plugins load in the background. A call of one waits for it, [Host.Wait] for all,
// and [Host.Started] says which are still loading.
func Start(ctx context.Context, opts Options) (*Host, error) {
	common, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	h := &Host{common: common}
	h.set.Store(&set{})
	first, err := h.prepare(ctx, opts.Plugins, func(p *plugin) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.startLoading(context.WithoutCancel(ctx))
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	first.Apply()
	return h, nil
}

// Wait returns when each plugin is ready or refused. It returns the error of ctx if that ends before.
func (h *Host) Wait(ctx context.Context) error {
	for _, p := range h.set.Load().plugins {
		p.mu.Lock()
		loading := p.loading
		p.mu.Unlock()
		if loading == nil {
			continue
		}
		select {
		case <-loading:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// common is shared by all plugins of a host.
type common struct {
	opts     Options
	metrics  *metrics
	compile  chan struct{} // one compilation at a time
	identify time.Duration // deadline of an identify call
}

func prepare(opts Options) (*common, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.CompileTimeout == 0 {
		opts.CompileTimeout = compileTimeout
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if len(opts.Self) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this executable: %w", err)
		}
		opts.Self = []string{exe, "plugin-worker"}
	}
	if opts.CacheDir != "" {
		if err := privateDir(opts.CacheDir); err != nil {
			return nil, err
		}
		var err error
		if opts.CacheDir, err = filepath.Abs(opts.CacheDir); err != nil {
			return nil, fmt.Errorf("finding the cache: %w", err)
		}
	}
	m, err := newMetrics(opts.Metrics)
	if err != nil {
		return nil, err
	}
	return &common{opts: opts, metrics: m, compile: make(chan struct{}, 1), identify: identifyTimeout}, nil
}

// privateDir makes dir for this user alone. It returns an error if others can access it, because the
// process executes the code in it.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the cache of compiled plugins: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("making the cache of compiled plugins: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the cache of compiled plugins %s has mode %04o: only its owner may have access (0700)",
			dir, info.Mode().Perm())
	}
	return nil
}

// Revoke asks the plugin of an application to revoke req.Kinds for req.Subject. The caller may store and
// act on the result without a further check:
//
//   - Kinds contains each of req.Kinds exactly once, in that order. If the guest gave several outcomes of
//     one kind, the last counts. Error is nil.
//   - State is a state of the ABI. "would_revoke" appears only in a dry run, "revoked" and "partial" only
//     outside one. A kind that the guest did not report is "retry", or "failed" if the guest says that a
//     repeat cannot help. Its code says why (deadline, trap, quarantined, not_loaded, not_reported,
//     contract, or the guest's own). An outcome that breaks the contract, such as an unknown state, is
//     "failed" with code "contract".
//   - Found, Count and Remaining are not negative. RetryAfterMS is between 0 and an hour.
//   - Code has at most 64 bytes, Message 512, Cursor 1024. There are at most 100 pieces of evidence, with
//     an ID of at most 256 bytes and an Action of at most 512.
//   - Paths and URLs in Message and Action are reduced to the routes of the manifest.
//   - Texts are valid UTF-8 without control characters, known secrets and anything that looks like a
//     credential. Only Cursor is unchanged.
//
// The error is ErrNoPlugin or nil.
func (h *Host) Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error) {
	p, err := h.plugin(tenant, app)
	var fault *Error
	switch {
	case errors.As(err, &fault):
		return judgeRevoke(req, outcome{code: fault.Code, note: fault.Message}), nil
	case err != nil:
		return abi.Result{}, err
	}
	req.Op = abi.OpRevoke
	return p.permit.shapeResult(judgeRevoke(req, p.run(ctx, req, p.timeout()))), nil
}

// Verify asks the plugin how many credentials of req.Kinds are still usable. The result contains each of
// req.Kinds exactly once, in that order. Live is a number, or abi.LiveUnknown if the guest gave no answer
// or contradicts itself. Probe has at most 256 bytes and is cleaned like the texts of [Host.Revoke].
// Error is nil. The error is ErrNoPlugin or an [*Error], and then every kind is unknown. Code
// "unsupported" means that this plugin cannot verify.
func (h *Host) Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.VerifyResult{}, err
	}
	if st := p.status(); st.loaded && !st.info.Verify {
		return abi.VerifyResult{}, &Error{Code: abi.CodeUnsupported, Message: "the plugin has no verify"}
	}
	req.Op = abi.OpVerify
	res, err := judgeVerify(req, p.run(ctx, req, p.timeout()))
	return p.permit.shapeLiveness(res), p.permit.shapeError(err)
}

// Identify asks the plugin for the owner of a credential. The host caches the answer for at most 300 s. If the
// credential may change its owner, the answer also counts only until the next Forget of the tenant. Concurrent
// calls for one credential share one call of the plugin, of at most 500 ms and a grace period. A call that
// cannot end in time is refused at once, with code "busy" (see package admission). If Subject is nil, the
// application does not know the credential, or Anonymous says that it is a session of nobody. On an error
// ([*Error] or ErrNoPlugin) the owner is unknown, and the caller must deny the request.
func (h *Host) Identify(ctx context.Context, tenant, app string, q Question) (abi.IdentifyResult, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.IdentifyResult{}, err
	}
	if st := p.status(); st.loaded && !st.info.Identify {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeUnsupported, Message: "the plugin has no identify"}
	}
	if q.Secret == "" || len(q.Secret) > maxSecret {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeContract, Message: "the credential is empty or too long"}
	}
	return p.identify(ctx, q)
}

// CanIdentify returns nil if [Host.Identify] can work for an application. Otherwise it returns
// ErrNoPlugin or an [*Error], which says what is missing, such as a rule that allows sending the user's
// credential. Code "not_loaded" may be temporary. "unsupported" stays until module or configuration
// change. CanIdentify calls no plugin and is cheap.
func (h *Host) CanIdentify(tenant, app string) error {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return err
	}
	st := p.status()
	name := p.manifest.Name
	switch {
	case !st.loaded:
		return &Error{Code: abi.CodeNotLoaded, Message: fmt.Sprintf("plugin %s: %v", name, st.err)}
	case !st.info.Identify:
		return &Error{Code: abi.CodeUnsupported, Message: fmt.Sprintf("plugin %s exports no identify", name)}
	case !slices.ContainsFunc(p.permit.rules, func(r rule) bool { return r.identify }):
		return &Error{Code: abi.CodeUnsupported, Message: fmt.Sprintf(
			"plugin %s: no http rule has identify: true, in its manifest and in plugin.http", name)}
	}
	return nil
}

// Forget lets no cached answer about a tenant's user count any more, under any of the names (userName, SCIM id,
// the application's own id), and no cached answer about a credential of the tenant that may change its owner.
// Call it when the user changes, after the lock is in force and before the change is acknowledged.
func (h *Host) Forget(tenant string, names ...string) {
	for key, p := range h.set.Load().plugins {
		if key.tenant == tenant {
			p.identities.forget(names)
		}
	}
}

// Health makes the plugin's health call. It returns ErrNoPlugin or an [*Error].
func (h *Host) Health(ctx context.Context, tenant, app string) (abi.Health, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.Health{}, err
	}
	var doc abi.Health
	if err := decodeAnswer(p.run(ctx, abi.Request{Op: abi.OpHealth}, healthTimeout), &doc); err != nil {
		return abi.Health{}, err
	}
	if !slices.Contains([]string{"ok", "degraded", "error"}, doc.Status) {
		return abi.Health{}, &Error{Code: abi.CodeContract, Message: "health has an unknown status"}
	}
	doc.Message = cut(p.permit.shape(clean(doc.Message, abi.MessageBytes)), abi.MessageBytes)
	return doc, nil
}

// Info describes a plugin. It returns false if no plugin is configured or it has never loaded.
func (h *Host) Info(tenant, app string) (abi.Info, bool) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.Info{}, false
	}
	st := p.status()
	return st.info, st.loaded
}

// Sandbox returns how the kernel confines the plugin's worker, nil while there is none.
func (h *Host) Sandbox(tenant, app string) []Measure {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return nil
	}
	return slices.Clone(p.proc.sandbox)
}

func (h *Host) plugin(tenant, app string) (*plugin, error) {
	key := appKey{tenant, app}
	now := h.set.Load()
	if err := now.refused[key]; err != nil {
		return nil, &Error{Code: abi.CodeNotLoaded, Message: err.Error()}
	}
	if p := now.plugins[key]; p != nil {
		return p, nil
	}
	return nil, ErrNoPlugin
}

// Started returns nil when the first load of every plugin has ended, well or not. Otherwise it names the
// plugins that still load.
func (h *Host) Started() error {
	var errs []error
	for key, p := range h.set.Load().plugins {
		if err := p.status().err; errors.Is(err, errNotYet) {
			errs = append(errs, fmt.Errorf("plugin %s: %w", key, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Ready returns nil if every plugin is loaded and not in quarantine. Otherwise it names each other plugin
// with the reason.
func (h *Host) Ready() error {
	var errs []error
	now := h.set.Load()
	for key, err := range now.refused {
		errs = append(errs, fmt.Errorf("plugin %s: %w", key, err))
	}
	for key, p := range now.plugins {
		err := p.status().err
		if left := p.breaker.open(); left > 0 {
			err = fmt.Errorf("in quarantine for %s more", left.Round(time.Second))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: %w", key, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Close kills the workers and waits for them. Calls in flight end as "retry".
func (h *Host) Close() error {
	for _, p := range h.set.Load().plugins {
		p.close()
	}
	h.retiring.Wait()
	return nil
}
