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
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// Host runs the plugins of all tenants. Its methods are safe for concurrent use.
type Host struct {
	plugins    map[appKey]*plugin
	failed     map[appKey]error // what cannot load until its files or configuration change
	identities *identities
}

type appKey struct{ tenant, app string }

func (k appKey) String() string { return k.tenant + "/" + k.app }

// Open loads every plugin, one after the other, and returns when each is ready or
// has been refused; [Host.Ready] says which. It errs on options that cannot work
// for any plugin and when ctx ends. Close the host after use.
func Open(ctx context.Context, opts Options) (*Host, error) {
	parts, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	h := &Host{plugins: map[appKey]*plugin{}, failed: map[appKey]error{}}
	if h.identities, err = newIdentities(parts.opts.IdentifyEntries, parts.opts.Now); err != nil {
		return nil, fmt.Errorf("making the cache of identities: %w", err)
	}
	for _, cfg := range opts.Plugins {
		key := appKey{cfg.Tenant, cfg.App}
		if h.plugins[key] != nil || h.failed[key] != nil || cfg.Tenant == "" || cfg.App == "" {
			return nil, errors.Join(fmt.Errorf("plugins: %s has two plugins, or no name", key), h.Close())
		}
		p, err := newPlugin(cfg, parts)
		if err != nil {
			h.failed[key] = err
			parts.metrics.loadFailures.WithLabelValues(cfg.Tenant, cfg.App).Inc()
			parts.log.LogAttrs(ctx, slog.LevelError, "plugin refused",
				slog.String("tenant", cfg.Tenant), slog.String("app", cfg.App), slog.String("error", err.Error()))
			continue
		}
		h.plugins[key] = p
		if _, err := p.worker(ctx); err != nil && ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), h.Close())
		}
	}
	return h, nil
}

func prepare(opts Options) (*hostParts, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Resolve == nil {
		opts.Resolve = defaultResolve
	}
	if opts.IdentifyEntries == 0 {
		opts.IdentifyEntries = 10_000
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
	return &hostParts{opts: opts, log: opts.Logger, metrics: m, compile: make(chan struct{}, 1)}, nil
}

// privateDir makes dir for this user alone, and refuses one that others can write
// or read: the code in it is run, guarded by a checksum only (S10).
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the cache of compiled plugins: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("making the cache of compiled plugins: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the cache of compiled plugins %s has mode %04o: others than its owner must have no access (0700)", dir, info.Mode().Perm())
	}
	return nil
}

// Revoke has the plugin of an application revoke req.Kinds for req.Subject. The
// caller may store and act on the result without a further check:
//
//   - Kinds holds each of req.Kinds exactly once, in that order. Error is nil.
//   - State is one of the ABI's, "would_revoke" only in a dry run, "revoked" and
//     "partial" only outside one. A kind that the guest did not report is "retry"
//     with a code that says why (deadline, trap, quarantined, not_loaded,
//     not_reported, contract, or the guest's own). An outcome that breaks the
//     contract, such as an unknown state, is "failed" with code "contract".
//   - Found, Count and Remaining are not negative. RetryAfterMS is at most an hour.
//   - Code has at most 64 bytes, Message 512, Cursor 1024. There are at most 100
//     pieces of evidence, with an ID of at most 256 bytes and an Action of 512.
//   - All texts but Cursor, which is the guest's own, are valid UTF-8 without control
//     characters, known secrets and anything that looks like a credential.
//
// The error is ErrNoPlugin or nil.
func (h *Host) Revoke(ctx context.Context, tenant, app string, req abi.Request) (abi.Result, error) {
	key := appKey{tenant, app}
	p := h.plugins[key]
	if p == nil {
		out, ok := h.refused(key)
		if !ok {
			return abi.Result{}, ErrNoPlugin
		}
		return judgeRevoke(req, out, redactor{}), nil
	}
	req.Op = abi.OpRevoke
	out, redact := p.run(ctx, p.slots, req, p.timeout(), "")
	return judgeRevoke(req, out, redact), nil
}

// refused is the outcome of every call of a plugin that cannot load; false when
// there is no such plugin.
func (h *Host) refused(key appKey) (outcome, bool) {
	err := h.failed[key]
	if err == nil {
		return outcome{}, false
	}
	return outcome{code: abi.CodeNotLoaded, note: err.Error()}, true
}

func (p *plugin) timeout() time.Duration {
	return time.Duration(p.permit.limits.TimeoutMS) * time.Millisecond
}

// Verify asks the plugin how many credentials of req.Kinds are still usable. The
// result holds each of req.Kinds exactly once, in that order: Live is a number, or
// abi.LiveUnknown if the guest gave no answer or contradicts itself. Probe is
// cleaned as the texts of [Host.Revoke] and has at most 256 bytes. Error is nil. The
// error is ErrNoPlugin or an [*Error], and then every kind is unknown; code
// "unsupported" says that this plugin cannot verify.
func (h *Host) Verify(ctx context.Context, tenant, app string, req abi.Request) (abi.VerifyResult, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.VerifyResult{}, err
	}
	if info, ok := p.described(); ok && !info.Verify {
		return abi.VerifyResult{}, &Error{Code: abi.CodeUnsupported, Message: "the plugin has no verify"}
	}
	req.Op = abi.OpVerify
	out, redact := p.run(ctx, p.slots, req, p.timeout(), "")
	return judgeVerify(req, out, redact)
}

// Identify asks the plugin whose credential secret is. c says where it was found;
// its Ref and SHA256 are set here. The answer is remembered, at most 300 s, and
// concurrent calls for one credential share one. It takes at most 500 ms and a
// grace. A nil Subject says that the application does not know the credential; an
// error ([*Error] or ErrNoPlugin) says that nobody knows, and the caller must not
// let the request pass.
func (h *Host) Identify(ctx context.Context, tenant, app string, c abi.Credential, secret string) (abi.IdentifyResult, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.IdentifyResult{}, err
	}
	if info, ok := p.described(); ok && !info.Identify {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeUnsupported, Message: "the plugin has no identify"}
	}
	if secret == "" || len(secret) > maxSecret {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeContract, Message: "the credential is empty or too long"}
	}
	sum, hex := hashOf(secret)
	c.Ref, c.SHA256 = "c1", hex
	return h.identities.get(ctx, identityKey{tenant, app, sum}, func(ctx context.Context) (abi.IdentifyResult, error) {
		return p.identify(ctx, c, secret)
	})
}

// CanIdentify is nil when [Host.Identify] can work for an application, and otherwise
// says what the operator lacks: the plugin, its loading, its identify, or a rule over
// which the user's credential may be sent. It calls nothing and is cheap. The error is
// ErrNoPlugin or an [*Error]; code "not_loaded" may pass, "unsupported" does not until
// module or configuration change. Where a subject of an application is opaque, every
// such request is refused while it errs.
func (h *Host) CanIdentify(tenant, app string) error {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return err
	}
	p.mu.Lock()
	info, loaded, loadErr := p.info, p.loaded, p.loadErr
	p.mu.Unlock()
	marked := func(r rule) bool { return r.identify }
	switch {
	case !loaded:
		return &Error{Code: abi.CodeNotLoaded, Message: fmt.Sprintf("plugin %s: %v", p.manifest.Name, loadErr)}
	case !info.Identify:
		return &Error{Code: abi.CodeUnsupported, Message: fmt.Sprintf("plugin %s exports no identify", p.manifest.Name)}
	case !slices.ContainsFunc(p.permit.rules, marked):
		return &Error{Code: abi.CodeUnsupported, Message: fmt.Sprintf("plugin %s: no http rule has identify: true, in its manifest and in plugin.http", p.manifest.Name)}
	}
	return nil
}

// Forget drops the remembered credentials of a user of a tenant, under any of its
// names (userName, SCIM id, the application's own id). Call it when the user changes.
func (h *Host) Forget(tenant string, names ...string) { h.identities.forget(tenant, names) }

// Health asks the plugin how it is. The error is ErrNoPlugin or an [*Error].
func (h *Host) Health(ctx context.Context, tenant, app string) (abi.Health, error) {
	p, err := h.plugin(tenant, app)
	if err != nil {
		return abi.Health{}, err
	}
	out, redact := p.run(ctx, p.slots, abi.Request{Op: abi.OpHealth}, healthTimeout, "")
	var doc abi.Health
	if err := decodeAnswer(out, redact, &doc); err != nil {
		return abi.Health{}, err
	}
	if !slices.Contains([]string{"ok", "degraded", "error"}, doc.Status) {
		return abi.Health{}, &Error{Code: abi.CodeContract, Message: "health has an unknown status"}
	}
	doc.Message = cut(doc.Message, abi.MessageBytes)
	return doc, nil
}

// Info describes a plugin; false when none is configured or it has never loaded.
func (h *Host) Info(tenant, app string) (abi.Info, bool) {
	p := h.plugins[appKey{tenant, app}]
	if p == nil {
		return abi.Info{}, false
	}
	return p.described()
}

func (p *plugin) described() (abi.Info, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info, p.loaded
}

func (h *Host) plugin(tenant, app string) (*plugin, error) {
	key := appKey{tenant, app}
	if err := h.failed[key]; err != nil {
		return nil, &Error{Code: abi.CodeNotLoaded, Message: err.Error()}
	}
	if p := h.plugins[key]; p != nil {
		return p, nil
	}
	return nil, ErrNoPlugin
}

// Ready is nil when every plugin is loaded and called. Otherwise it names each that
// is not, with the reason.
func (h *Host) Ready() error {
	var errs []error
	for key, err := range h.failed {
		errs = append(errs, fmt.Errorf("plugin %s: %w", key, err))
	}
	for key, p := range h.plugins {
		p.mu.Lock()
		err := p.loadErr
		p.mu.Unlock()
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
	for _, p := range h.plugins {
		p.close()
	}
	h.identities.close()
	return nil
}
