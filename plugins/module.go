package plugins

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/scimward/scimward/plugins/abi"
)

const (
	pageBytes    = 64 << 10
	wasiModule   = "wasi_snapshot_preview1"
	describeTime = time.Second
)

// module is one compiled guest and its idle instances. It lives in the worker, because the host process
// neither compiles nor parses Wasm. The worker checks imports and exports with the parser that runs them,
// before the guest's first instruction.
type module struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	msg      loadMsg
	idle     chan *instance
}

// instance is one guest with its own memory.
type instance struct {
	mod   api.Module
	calls int
	// call is the running call, for the guest's clock and output streams, which get no context. It is nil
	// while the instance starts.
	call atomic.Pointer[guestCall]
}

// loadModule compiles and checks a module. An error begins with the failed stage: compile, check or
// instantiate. In module.describe it is instantiate, abi_version or describe.
func loadModule(ctx context.Context, msg loadMsg, wasm []byte) (*module, error) {
	cfg := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(uint32(msg.MemoryMiB) << 20 / pageBytes).
		WithDebugInfoEnabled(false)
	if msg.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(msg.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("compile: opening the cache: %w", err)
		}
		cfg = cfg.WithCompilationCache(cache)
	}
	m := &module{
		runtime: wazero.NewRuntimeWithConfig(ctx, cfg), msg: msg, idle: make(chan *instance, max(msg.Idle, 1)),
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, fmt.Errorf("instantiate: preparing WASI: %w", err)
	}
	if err := instantiateABI(ctx, m.runtime); err != nil {
		return nil, fmt.Errorf("instantiate: preparing %s: %w", abi.Module, err)
	}
	var err error
	if m.compiled, err = m.runtime.CompileModule(experimental.WithCompilationWorkers(ctx, 2), wasm); err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	if err := checkModule(m.compiled, msg.HTTP); err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	return m, nil
}

// checkModule checks that a module imports and exports only functions of revoker_v1. It names every
// fault.
func checkModule(c wazero.CompiledModule, http bool) error {
	var faults []error
	if len(c.ImportedMemories()) > 0 {
		faults = append(faults, errors.New("imports a memory"))
	}
	if c.ExportedMemories()["memory"] == nil {
		faults = append(faults, errors.New(`exports no memory named "memory"`))
	}
	for _, f := range c.ImportedFunctions() {
		mod, name, _ := f.Import()
		if err := checkImport(mod, name, f, http); err != nil {
			faults = append(faults, err)
		}
	}
	for _, name := range []string{"abi_version", "describe", "health", "revoke", "verify", "identify"} {
		optional := name == "verify" || name == "identify"
		switch f := c.ExportedFunctions()[name]; {
		case f == nil && !optional:
			faults = append(faults, fmt.Errorf("exports no function %s", name))
		case f != nil && (len(f.ParamTypes()) != 0 || !slices.Equal(f.ResultTypes(), []api.ValueType{api.ValueTypeI32})):
			faults = append(faults, fmt.Errorf("export %s is not () -> i32", name))
		}
	}
	return errors.Join(faults...)
}

func checkImport(mod, name string, f api.FunctionDefinition, http bool) error {
	switch mod {
	case wasiModule:
		if strings.HasPrefix(name, "sock_") {
			return fmt.Errorf("imports %s: a plugin has no sockets", name)
		}
		return nil
	case abi.Module:
		fn, ok := abiFunctions()[name]
		switch {
		case !ok:
			return fmt.Errorf("imports %s.%s, which does not exist in version %s", mod, name, version(abi.Version))
		case !slices.Equal(fn.params, f.ParamTypes()) || !slices.Equal(fn.results, f.ResultTypes()):
			return fmt.Errorf("imports %s.%s with another signature", mod, name)
		case fn.http && !http:
			return fmt.Errorf("imports %s, but neither manifest nor grant allows http", name)
		}
		return nil
	default:
		return fmt.Errorf("imports %s.%s: only %s and %s may be imported", mod, name, abi.Module, wasiModule)
	}
}

// version formats the result of abi_version.
func version(v uint32) string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }

// describe runs abi_version and describe of a new instance.
func (m *module) describe(ctx context.Context, w *worker) (readyMsg, error) {
	in, err := m.instance(ctx)
	if err != nil {
		return readyMsg{}, fmt.Errorf("instantiate: %w", err)
	}
	res, err := in.mod.ExportedFunction("abi_version").Call(ctx)
	if err != nil {
		return readyMsg{}, fmt.Errorf("abi_version: %w", err)
	}
	if v := uint32(res[0]); v>>16 != abi.Version>>16 || v&0xffff > abi.Version&0xffff {
		return readyMsg{}, fmt.Errorf("abi_version: the module speaks %s, this host %s", version(v), version(abi.Version))
	}
	msg := callMsg{Op: string(abi.OpDescribe), DeadlineMS: describeTime.Milliseconds()}
	ctx, c := newGuestCall(ctx, w, 0, msg, nil)
	defer c.cancel()
	m.idle <- in
	if done := m.call(ctx, c); done.Fault != "" || done.Code != 0 {
		return readyMsg{}, fmt.Errorf("describe: returned %d %s %s", done.Code, done.Fault, done.Note)
	}
	exports := m.compiled.ExportedFunctions()
	return readyMsg{
		Verify: exports["verify"] != nil, Identify: exports["identify"] != nil, Description: c.output,
	}, nil
}

// call runs one export. It discards an instance that trapped, left its call early or served its calls.
// After a panic the heap of a Go guest is broken, and further calls would read it.
func (m *module) call(ctx context.Context, c *guestCall) doneMsg {
	in, err := m.acquire(ctx)
	if err != nil {
		return doneMsg{Fault: abi.CodeTrap, Note: cut("starting an instance: "+err.Error(), maxLogLine)}
	}
	f := in.mod.ExportedFunction(string(c.op))
	if f == nil {
		m.release(ctx, in)
		return doneMsg{Code: retUnsupported}
	}
	in.calls++
	in.call.Store(c)
	res, err := f.Call(context.WithValue(ctx, callKey{}, c))
	in.call.Store(nil)
	if err != nil {
		discard(ctx, in)
		fault := abi.CodeTrap
		if errors.Is(err, errSleptPast) {
			fault = abi.CodeDeadline
		}
		note := err.Error()
		if words := c.crashed(); words != "" {
			note = words + "\n" + note
		}
		return doneMsg{Fault: fault, Note: cut(note, maxLogLine)}
	}
	m.release(ctx, in)
	c.flush()
	return doneMsg{Code: int32(uint32(res[0]))}
}

// acquire returns an idle instance or makes one.
func (m *module) acquire(ctx context.Context) (*instance, error) {
	select {
	case in := <-m.idle:
		return in, nil
	default:
		return m.instance(ctx)
	}
}

// release makes an instance available to later calls, or discards it.
func (m *module) release(ctx context.Context, in *instance) {
	used := uint64(in.mod.Memory().Size())
	if in.calls >= m.msg.CallsPerInstance || used > uint64(m.msg.MemoryMiB)<<20*3/4 {
		discard(ctx, in)
		return
	}
	select {
	case m.idle <- in:
	default:
		discard(ctx, in)
	}
}

// discard closes an instance, even if the context of its call has ended. Close returns only the guest's
// exit code.
func discard(ctx context.Context, in *instance) {
	_ = in.mod.Close(context.WithoutCancel(ctx))
}

// instance makes a guest. It has a real clock, real randomness, and a sleep that ends with the call. It
// has no arguments, environment, files and sockets.
func (m *module) instance(ctx context.Context) (*instance, error) {
	in := &instance{}
	cfg := wazero.NewModuleConfig().
		WithName(""). // many instances of one module
		WithStartFunctions("_initialize").
		WithStdout(&stream{in: in, level: 1}).
		WithStderr(&stream{in: in, level: 2}).
		WithSysWalltime().
		WithSysNanotime().
		WithNanosleep(in.sleep).
		WithRandSource(rand.Reader)
	mod, err := m.runtime.InstantiateModule(ctx, m.compiled, cfg)
	if err != nil {
		return nil, err
	}
	in.mod = mod
	return in, nil
}

// errSleptPast ends a guest that sleeps past its deadline.
var errSleptPast = errors.New("plugins: slept past the deadline")

func (in *instance) sleep(ns int64) {
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	c := in.call.Load()
	if c == nil {
		<-timer.C // the instance starts, and the host's kill bounds that
		return
	}
	select {
	case <-timer.C:
	case <-c.ctx.Done():
		panic(errSleptPast) // wazero recovers it and ends the guest's call with it
	}
}

// stream writes the output of a guest to the call's log.
type stream struct {
	in    *instance
	level int32
}

var _ io.Writer = (*stream)(nil)

// Write implements io.Writer. It returns no error, even if the log is full.
func (s *stream) Write(p []byte) (int, error) {
	if c := s.in.call.Load(); c != nil {
		if s.level == 2 {
			c.stderr(p)
			return len(p), nil
		}
		for line := range strings.SplitSeq(strings.TrimRight(string(p), "\n"), "\n") {
			c.log(s.level, []byte(line))
		}
	}
	return len(p), nil
}
