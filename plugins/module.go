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

// stageError says at which stage of loading a module was refused: compile, check,
// instantiate, abi_version or describe.
type stageError struct {
	stage string
	err   error
}

func (e *stageError) Error() string { return e.stage + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// module is one compiled guest and its idle instances. It lives in the worker: the
// host process neither compiles nor parses Wasm, so the check of imports and
// exports is made by the same parser that will run them, before the first
// instruction of the guest (design: plugins §6.1, S9).
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
	// call is the one running call, read by the guest's clock and output streams,
	// which get no context; nil while the instance starts.
	call atomic.Pointer[guestCall]
}

func loadModule(ctx context.Context, msg loadMsg, wasm []byte) (*module, error) {
	cfg := wazero.NewRuntimeConfigCompiler().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithMemoryLimitPages(uint32(msg.MemoryMiB) << 20 / pageBytes).
		WithDebugInfoEnabled(false)
	if msg.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(msg.CacheDir)
		if err != nil {
			return nil, &stageError{"compile", fmt.Errorf("opening the cache: %w", err)}
		}
		cfg = cfg.WithCompilationCache(cache)
	}
	m := &module{runtime: wazero.NewRuntimeWithConfig(ctx, cfg), msg: msg, idle: make(chan *instance, max(msg.Idle, 1))}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return nil, &stageError{"instantiate", fmt.Errorf("preparing WASI: %w", err)}
	}
	if err := instantiateABI(ctx, m.runtime); err != nil {
		return nil, &stageError{"instantiate", fmt.Errorf("preparing %s: %w", abi.Module, err)}
	}
	var err error
	if m.compiled, err = m.runtime.CompileModule(experimental.WithCompilationWorkers(ctx, 2), wasm); err != nil {
		return nil, &stageError{"compile", err}
	}
	if err := checkModule(m.compiled, msg.HTTP); err != nil {
		return nil, &stageError{"check", err}
	}
	return m, nil
}

// checkModule refuses a module whose imports or exports are not those of
// revoker_v1. It names every fault.
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
	exports := c.ExportedFunctions()
	for _, name := range []string{"abi_version", "describe", "health", "revoke"} {
		if exports[name] == nil {
			faults = append(faults, fmt.Errorf("exports no function %s", name))
		}
	}
	for _, name := range []string{"abi_version", "describe", "health", "revoke", "verify", "identify"} {
		f := exports[name]
		if f != nil && (len(f.ParamTypes()) != 0 || !slices.Equal(f.ResultTypes(), []api.ValueType{api.ValueTypeI32})) {
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
			return fmt.Errorf("imports %s.%s, which does not exist in version %d.%d", mod, name, abi.Version>>16, abi.Version&0xffff)
		case !slices.Equal(fn.params, f.ParamTypes()) || !slices.Equal(fn.results, f.ResultTypes()):
			return fmt.Errorf("imports %s.%s with another signature", mod, name)
		case fn.http && !http:
			return fmt.Errorf("imports %s, but neither manifest nor grant give it http", name)
		}
		return nil
	default:
		return fmt.Errorf("imports %s.%s: only %s and %s may be imported", mod, name, abi.Module, wasiModule)
	}
}

// describe runs abi_version and describe of a fresh instance.
func (m *module) describe(ctx context.Context, w *worker) (readyMsg, error) {
	in, err := m.instance(ctx)
	if err != nil {
		return readyMsg{}, &stageError{"instantiate", err}
	}
	v, err := in.mod.ExportedFunction("abi_version").Call(ctx)
	if err != nil {
		return readyMsg{}, &stageError{"abi_version", err}
	}
	ready := readyMsg{Version: uint32(v[0])}
	if ready.Version>>16 != abi.Version>>16 || ready.Version&0xffff > abi.Version&0xffff {
		return ready, &stageError{"abi_version", fmt.Errorf("the module speaks %d.%d, this host %d.%d",
			ready.Version>>16, ready.Version&0xffff, abi.Version>>16, abi.Version&0xffff)}
	}
	cctx, c := newGuestCall(ctx, w, 0, callMsg{Op: string(abi.OpDescribe), DeadlineMS: describeTime.Milliseconds()}, nil)
	defer c.cancel()
	m.idle <- in
	if done := m.call(cctx, c); done.Fault != "" || done.Code != 0 {
		return ready, &stageError{"describe", fmt.Errorf("returned %d %s %s", done.Code, done.Fault, done.Note)}
	}
	exports := m.compiled.ExportedFunctions()
	ready.Verify, ready.Identify = exports["verify"] != nil, exports["identify"] != nil
	ready.Description = c.output
	return ready, nil
}

// call runs one export. An instance that trapped, left its call early or has grown
// old is thrown away: after a panic a Go guest answers further calls from a broken
// heap (S5).
func (m *module) call(ctx context.Context, c *guestCall) doneMsg {
	in, err := m.take(ctx)
	if err != nil {
		return doneMsg{Fault: abi.CodeTrap, Note: cut("starting an instance: "+err.Error(), maxLogLine)}
	}
	in.call.Store(c)
	in.calls++
	f := in.mod.ExportedFunction(string(c.op))
	if f == nil {
		in.call.Store(nil)
		m.give(ctx, in)
		return doneMsg{Code: 3}
	}
	res, err := f.Call(context.WithValue(ctx, callKey{}, c))
	in.call.Store(nil)
	if err != nil {
		m.discard(ctx, in)
		fault := abi.CodeTrap
		if errors.Is(err, errSleptPast) {
			fault = abi.CodeDeadline
		}
		return doneMsg{Fault: fault, Note: cut(err.Error(), maxLogLine)}
	}
	m.give(ctx, in)
	return doneMsg{Code: int32(uint32(res[0]))}
}

func (m *module) take(ctx context.Context) (*instance, error) {
	select {
	case in := <-m.idle:
		return in, nil
	default:
		return m.instance(ctx)
	}
}

func (m *module) give(ctx context.Context, in *instance) {
	used := uint64(in.mod.Memory().Size())
	if in.calls >= m.msg.CallsPerInstance || used > uint64(m.msg.MemoryMiB)<<20*3/4 {
		m.discard(ctx, in)
		return
	}
	select {
	case m.idle <- in:
	default:
		m.discard(ctx, in)
	}
}

// discard closes an instance, also when its call's context has ended. What Close
// returns is the guest's own exit code.
func (m *module) discard(ctx context.Context, in *instance) {
	_ = in.mod.Close(context.WithoutCancel(ctx))
}

// instance makes a guest with no arguments, environment, files or sockets, a real
// clock, real randomness, and a sleep that ends with the call (S4, S7).
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

// errSleptPast ends a guest that sleeps when its deadline comes.
var errSleptPast = errors.New("plugins: slept past the deadline")

func (in *instance) sleep(ns int64) {
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	c := in.call.Load()
	if c == nil {
		<-timer.C // starting: bounded by the host's kill
		return
	}
	select {
	case <-timer.C:
	case <-c.ctx.Done():
		panic(errSleptPast) // wazero recovers it and ends the guest's call with it
	}
}

// stream sends what a guest prints to the call's log.
type stream struct {
	in    *instance
	level int32
}

var _ io.Writer = (*stream)(nil)

// Write implements io.Writer and never errs: a full log is no fault of the guest.
func (s *stream) Write(p []byte) (int, error) {
	if c := s.in.call.Load(); c != nil {
		for line := range strings.SplitSeq(strings.TrimRight(string(p), "\n"), "\n") {
			c.log(s.level, []byte(line))
		}
	}
	return len(p), nil
}
