package plugins

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/internal/admission"
)

// Bounds of loading. Compiling cannot be cancelled, but the module's size bounds it, so its limit is
// generous. A guest's own start has a short limit.
const (
	compileTimeout = 60 * time.Second
	initTimeout    = 5 * time.Second

	healthTimeout   = 3 * time.Second
	identifyTimeout = 500 * time.Millisecond

	// identifyPerSlot is the number of identify calls allowed for each revocation slot. They are short, and
	// requests at the proxy wait for them.
	identifyPerSlot = 4
)

// errNotYet is the loadErr of a plugin whose first load has not ended.
var errNotYet = errors.New("not loaded yet")

// plugin is one configured plugin and its worker.
type plugin struct {
	cfg      Config
	manifest Manifest
	permit   permit
	wasm     []byte
	egress   *egress
	secrets  *secrets
	breaker  breaker
	common   *common

	// slots bounds concurrent calls. identify has its own, in queue, so that requests at the proxy do not wait
	// for long revocations.
	slots      chan struct{}
	queue      *admission.Queue
	identities *identities

	cachedOwner, cachedUnknown prometheus.Counter // answers of identify from the cache

	mu       sync.Mutex // guards all below
	proc     *process   // the last worker that became ready, nil if none did yet
	starting *process
	loadErr  error // why it is not loaded now
	loading  chan struct{}
	closed   bool
	running  int            // calls
	idle     chan struct{}  // closes when no call runs, nil unless the plugin retires
	wg       sync.WaitGroup // loads and watchers; Add under mu while not closed
}

// newPlugin reads manifest and module and computes the permit. Its errors are permanent. The operator
// must change a file or the configuration.
func newPlugin(cfg Config, c *common) (*plugin, error) {
	b, err := readBounded(cfg.Manifest, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", cfg.Manifest, err)
	}
	allowed, err := intersect(m, cfg)
	if err != nil {
		return nil, fmt.Errorf("manifest %s and the configuration's plugin section: %w", cfg.Manifest, err)
	}
	wasm, err := readModule(filepath.Join(filepath.Dir(cfg.Manifest), m.Module.Path), m.Module)
	if err != nil {
		return nil, err
	}
	p := &plugin{
		cfg: cfg, manifest: m, permit: allowed, wasm: wasm, common: c,
		secrets:    newSecrets(cfg.Grant.Secrets),
		slots:      make(chan struct{}, allowed.limits.Instances),
		queue:      admission.New(identifyPerSlot*allowed.limits.Instances, time.Now),
		identities: newIdentities(c.opts.Now),

		cachedOwner:   c.metrics.identifyCached.WithLabelValues(cfg.Tenant, cfg.App, "owner"),
		cachedUnknown: c.metrics.identifyCached.WithLabelValues(cfg.Tenant, cfg.App, "unknown"),
		loadErr:       errNotYet,
	}
	p.breaker.now = c.opts.Now
	p.egress = newEgress(allowed, p.secrets, systemResolver, c.opts.Now)
	p.egress.unreadable = func(ctx context.Context, e *secretError) {
		p.event(ctx, slog.LevelError, "plugin secret cannot be read",
			slog.String("secret", e.name), slog.String("file", e.file), slog.String("error", e.err.Error()))
	}
	return p, nil
}

// readModule reads the module once. The worker receives exactly the bytes that readModule checks.
func readModule(path string, want ManifestModule) ([]byte, error) {
	b, err := readBounded(path, maxModule)
	if err != nil {
		return nil, fmt.Errorf("reading the module: %w", err)
	}
	if int64(len(b)) != want.Size {
		return nil, fmt.Errorf("module %s has %d bytes, module.size says %d", path, len(b), want.Size)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != want.SHA256 {
		return nil, fmt.Errorf("module %s has sha256 %x, module.sha256 says %s", path, sum, want.SHA256)
	}
	return b, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, err
}

func (p *plugin) timeout() time.Duration {
	return time.Duration(p.permit.limits.TimeoutMS) * time.Millisecond
}

// status tells whether a plugin is loaded.
type status struct {
	info   abi.Info
	loaded bool  // it has been loaded once
	err    error // why it is not loaded now
}

func (p *plugin) status() status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return status{err: p.loadErr}
	}
	return status{info: p.proc.info, loaded: true, err: p.loadErr}
}

// worker returns the live worker, and starts one if there is none. Callers share one start.
func (p *plugin) worker(ctx context.Context) (*process, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errors.New("the host is closed")
		}
		if p.proc != nil && p.proc.alive() {
			proc := p.proc
			p.mu.Unlock()
			return proc, nil
		}
		loading := p.startLoading(context.WithoutCancel(ctx)) // others wait for it too
		p.mu.Unlock()
		select {
		case <-loading:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := p.status().err; err != nil {
			return nil, err
		}
	}
}

// startLoading starts loading the module unless a load is running. It returns a channel that closes at
// the end. The caller must have locked mu.
func (p *plugin) startLoading(ctx context.Context) <-chan struct{} {
	if p.loading == nil {
		p.loading = make(chan struct{})
		p.wg.Go(func() { p.load(ctx) })
	}
	return p.loading
}

// load starts a worker that loads the module.
func (p *plugin) load(ctx context.Context) {
	proc, err := p.start()
	p.mu.Lock()
	p.starting = nil
	p.loadErr = err
	if err == nil {
		p.proc = proc
		if p.closed {
			proc.kill()
		}
		p.wg.Go(func() { p.watch(ctx, proc) })
	}
	close(p.loading)
	p.loading = nil
	closed := p.closed
	p.mu.Unlock()
	if err != nil && !closed {
		p.common.metrics.loadFailures.WithLabelValues(p.cfg.Tenant, p.cfg.App).Inc()
		p.event(ctx, slog.LevelError, "plugin did not load", slog.String("error", p.redactor().text(err.Error())))
		p.afterFault(ctx, p.breaker.kill())
	}
}

func (p *plugin) start() (*process, error) {
	l := p.permit.limits
	memory := limitsOf(l)
	p.common.compile <- struct{}{}
	compiled := sync.OnceFunc(func() { <-p.common.compile }) // a slow start of this guest does not delay the others
	defer compiled()
	payload, err := joinParts(loadMsg{
		CacheDir: p.common.opts.CacheDir, MemoryMiB: l.MemoryMiB, Idle: (1 + identifyPerSlot) * l.Instances,
		CallsPerInstance: l.CallsPerInstance, HTTP: len(p.permit.rules) > 0, GoMemory: memory.heap,
	}, p.wasm)
	if err != nil {
		return nil, err
	}
	proc, err := startProcess(p.common.opts.Self, memory)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.starting = proc
	if p.closed {
		proc.kill()
	}
	p.mu.Unlock()
	ready, err := proc.load(payload, p.common.opts.CompileTimeout, compiled)
	if err == nil {
		proc.sandbox = proc.confined(ready)
		if proc.info, err = p.agree(ready); err == nil {
			return proc, nil
		}
	}
	proc.kill()
	<-proc.gone
	return nil, err
}

// agree checks that the module's description equals the manifest.
func (p *plugin) agree(ready readyMsg) (abi.Info, error) {
	var d abi.Description
	if err := json.Unmarshal(ready.Description, &d); err != nil {
		return abi.Info{}, fmt.Errorf("refused at describe: decoding: %w", err)
	}
	m := p.manifest
	if d.Name != m.Name || d.Version != m.Version {
		return abi.Info{}, fmt.Errorf("refused at describe: the module is %q %q, the manifest says %q %q",
			cut(d.Name, 64), cut(d.Version, 64), m.Name, m.Version)
	}
	a, b := slices.Sorted(slices.Values(d.Kinds)), slices.Sorted(slices.Values(m.Kinds))
	if !slices.Equal(a, b) {
		return abi.Info{}, fmt.Errorf("refused at describe: the module answers for kinds %v, the manifest says %v", a, b)
	}
	return abi.Info{
		Name: m.Name, Version: m.Version, Digest: "sha256:" + m.Module.SHA256, Kinds: slices.Clone(m.Kinds),
		Verify: ready.Verify && d.Verify, Identify: ready.Identify && d.Identify,
	}, nil
}

// watch waits for the end of a worker, records it, and starts the next worker unless the plugin is in
// quarantine.
func (p *plugin) watch(ctx context.Context, proc *process) {
	<-proc.gone
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	p.common.metrics.kills.WithLabelValues(p.cfg.Tenant, p.cfg.App, proc.killedFor()).Inc()
	p.event(ctx, slog.LevelWarn, "plugin worker ended", slog.String("reason", proc.killedFor()),
		slog.String("stderr", p.redactor().text(proc.stderr.String())))
	p.afterFault(ctx, p.breaker.kill())
	if p.breaker.open() > 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.startLoading(ctx)
	}
}

// afterFault counts and logs the quarantine that a kill or trap began.
func (p *plugin) afterFault(ctx context.Context, quarantined bool) {
	if quarantined {
		p.common.metrics.quarantines.WithLabelValues(p.cfg.Tenant, p.cfg.App).Inc()
		p.event(ctx, slog.LevelError, "plugin is in quarantine", slog.Duration("for", p.breaker.open()))
	}
}

func (p *plugin) redactor() *redactor { return newRedactor(p.secrets.all()...) }

// event logs one event of the plugin.
func (p *plugin) event(ctx context.Context, level slog.Level, msg string, attrs ...slog.Attr) {
	p.common.opts.Logger.LogAttrs(ctx, level, msg, append(attrs, slog.String("tenant", p.cfg.Tenant),
		slog.String("app", p.cfg.App), slog.String("plugin", p.manifest.Name))...)
}

// run makes one call and removes the secrets from its outcome.
func (p *plugin) run(ctx context.Context, req abi.Request, timeout time.Duration) outcome {
	s := p.egress.session(req.Op != abi.OpRevoke || req.DryRun, known{})
	out := s.redact.outcome(p.call(ctx, req, timeout, s))
	p.countChanged(ctx, req.Op, s.changed.get())
	return out
}

// countChanged counts and logs that redaction changed a name.
func (p *plugin) countChanged(ctx context.Context, op abi.Op, secret string) {
	if secret != "" {
		p.common.metrics.redactedNames.WithLabelValues(p.cfg.Tenant, p.cfg.App, string(op)).Inc()
		p.event(ctx, slog.LevelError, "a name contains a secret: the answer of the application is not used",
			slog.String("op", string(op)), slog.String("secret", secret))
	}
}

// call makes one call and counts it. Its outcome is as the guest wrote it.
func (p *plugin) call(ctx context.Context, req abi.Request, timeout time.Duration, s *session) outcome {
	defer p.begin()()
	out := p.attempt(ctx, req, timeout, s)
	if out.code == abi.CodeTrap {
		if !out.died { // watch logs the end of a worker
			p.event(ctx, slog.LevelError, "plugin call crashed", slog.String("op", string(req.Op)),
				slog.String("request_id", req.RequestID), slog.String("output", s.redact.text(out.note)))
		}
		p.common.metrics.traps.WithLabelValues(p.cfg.Tenant, p.cfg.App).Inc()
		p.afterFault(ctx, p.breaker.trap())
	}
	p.common.metrics.calls.WithLabelValues(p.cfg.Tenant, p.cfg.App, string(req.Op), cmp.Or(out.code, "ok")).Inc()
	return out
}

func (p *plugin) attempt(ctx context.Context, req abi.Request, timeout time.Duration, s *session) outcome {
	if left := p.breaker.open(); left > 0 {
		return outcome{
			code: abi.CodeQuarantined, note: "the plugin broke too often and is not called", retryAfter: left,
		}
	}
	if req.Op != abi.OpIdentify {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return outcome{code: abi.CodeDeadline, note: "all instances are busy"}
		}
	}
	proc, err := p.worker(ctx)
	if err != nil {
		return outcome{code: abi.CodeNotLoaded, note: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	end, _ := ctx.Deadline()
	req.ABI, req.Tenant, req.App, req.Config = "1.0", p.cfg.Tenant, p.cfg.App, p.permit.config
	req.DeadlineMS = time.Until(end).Milliseconds()
	req.Subject = p.subject(req.Subject)
	input, err := json.Marshal(req)
	if err != nil || len(input) > maxInput {
		note := fmt.Sprintf("the request has %d bytes of at most %d", len(input), maxInput)
		return outcome{code: abi.CodeContract, note: note}
	}
	s.log = p.guestLog(req, s.redact)
	return proc.call(ctx, req.Op, input, s)
}

// subject copies the attributes of a user that the manifest allows the guest to see.
func (p *plugin) subject(s *abi.Subject) *abi.Subject {
	if s == nil {
		return nil
	}
	c := *s
	c.Attributes = nil
	for _, name := range p.manifest.SubjectAttributes {
		if v, ok := s.Attributes[name]; ok {
			if c.Attributes == nil {
				c.Attributes = map[string]any{}
			}
			c.Attributes[name] = v
		}
	}
	return &c
}

// guestLog logs a guest's lines with its name and the request, without secrets.
func (p *plugin) guestLog(req abi.Request, redact *redactor) func(context.Context, byte, string) {
	return func(ctx context.Context, level byte, line string) {
		l := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}[min(level, 3)]
		if p.common.opts.Logger.Enabled(ctx, l) {
			p.event(ctx, l, "plugin log", slog.String("op", string(req.Op)), slog.String("request_id", req.RequestID),
				slog.String("line", redact.text(line)))
		}
	}
}

// close kills the worker and waits for all goroutines of the plugin.
func (p *plugin) close() {
	p.mu.Lock()
	p.closed = true
	for _, proc := range []*process{p.proc, p.starting} {
		if proc != nil {
			proc.kill()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	p.identities.close()
	p.egress.close()
}
