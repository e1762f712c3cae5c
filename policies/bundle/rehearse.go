package bundle

import (
	"context"
	"io"
	"maps"
	"runtime/metrics"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
)

// Rehearsal is the end of a process that rehearses a compilation: its exit code.
type Rehearsal int

// The ends of a rehearsal. Another exit code is a crash.
const (
	Rehearsed Rehearsal = 0 // the compiler ended, whatever it says about the bundle
	TooLong   Rehearsal = 3
	TooLarge  Rehearsal = 4
)

// CompileTime is how long a bundle may take to compile.
const CompileTime = 2 * time.Minute

// MaxRehearsal bounds the memory of a rehearsal, in bytes.
const MaxRehearsal = 1 << 30

// memoryTick is the time between two looks at the memory.
const memoryTick = 20 * time.Millisecond

// Rehearse compiles the archive that it reads, and forgets the result. A few bytes of Rego can keep the compiler busy
// for ever, and nothing in a process can stop it. So `scimward policy-compiler` calls Rehearse first, and ends when it
// returns: at the end of the compilation, after a time, which is [CompileTime], or when the process has more than some
// bytes of memory, which are [MaxRehearsal]. It leaves a compiler behind in the two last cases.
func Rehearse(ctx context.Context, archive io.Reader, after time.Duration, beyond uint64) Rehearsal {
	ctx, cancel := context.WithTimeout(ctx, after)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := io.ReadAll(io.LimitReader(archive, MaxBytes+1))
		if err == nil {
			compileAll(ctx, raw)
		}
	}()
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return Rehearsed
		case <-ctx.Done():
			return TooLong
		case <-tick.C:
			if memory() > beyond {
				return TooLarge
			}
		}
	}
}

// Limited returns what compile returns, and gives up when ctx ends or after longest. Nothing can stop the compiler, so
// that it goes on until it ends or the process does.
func Limited(
	ctx context.Context, longest time.Duration, compile func(context.Context) (*policies.Rules, error),
) (*policies.Rules, error) {
	limited, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	type compiled struct {
		rules *policies.Rules
		err   error
	}
	done := make(chan compiled, 1)
	go func() {
		rules, err := compile(limited)
		done <- compiled{rules, err}
	}()
	select {
	case c := <-done:
		return c.rules, c.err
	case <-limited.Done():
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, Late(longest)
}

// Late refuses rules that do not compile within a time.
func Late(limit time.Duration) *Error {
	return refuse("compile", "the rules do not compile within %s: make them smaller, and nest comprehensions less deeply",
		limit)
}

// compileAll does what is done with a bundle before it is in force, except for what a context stops.
func compileAll(ctx context.Context, raw []byte) {
	b, err := ReadUnverified(raw)
	if err != nil {
		return
	}
	if _, err := b.Rules(ctx); err != nil {
		return
	}
	defer guard("compile", &err)
	all := maps.Clone(b.modules)
	maps.Copy(all, b.tests)
	ast.NewCompiler().WithCapabilities(policies.BundleCapabilities()).Compile(all)
}

// memory is what this process holds, in bytes.
func memory() uint64 {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(held)
	return held[0].Value.Uint64() - held[1].Value.Uint64()
}
