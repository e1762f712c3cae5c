package bundle

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/policies"
)

// The exit codes of a process that rehearses a bundle. Another one is a crash.
const (
	Rehearsed = 0
	Refused   = 3 // it prints a [Problem] as JSON
	Abandoned = 4 // nobody waits for it any more
)

// CompileTime is how long a bundle may take to compile.
const CompileTime = 2 * time.Minute

// maxRehearsal bounds the memory of a rehearsal, in bytes.
const maxRehearsal = 1 << 30

// memoryTick is the time between two looks at the memory.
const memoryTick = 20 * time.Millisecond

// Rehearsal compiles a bundle, and may run its tests, in a process that can be killed: a few bytes of Rego can keep the
// compiler busy for ever or fill the memory, and nothing in a process can stop them. `scimward policy-compiler` is that
// process.
type Rehearsal struct {
	Tests  bool          // also run the tests, and refuse a bundle that does not pass them
	After  time.Duration // gives up
	Beyond uint64        // bytes of memory of the process at which it gives up
}

// RehearsalMemory is how much memory a rehearsal may take: a GiB, or half of what the control group of this process
// has. So a bundle does not make the kernel end the processes of the group.
func RehearsalMemory() uint64 {
	limit := uint64(maxRehearsal)
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return limit // another system than Linux
	}
	for line := range strings.Lines(string(group)) {
		in, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", in, "memory.max"))
		if all, fault := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && fault == nil { // or "max"
			limit = min(limit, all/2)
		}
	}
	return limit
}

// WriteArchive writes an archive to a process that rehearses it. The other end must stay open until that process ends,
// which takes its closing for the death of this process.
func WriteArchive(to io.Writer, archive []byte) error {
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(archive)))
	_, err := to.Write(append(framed, archive...))
	return err
}

// Run is the process: it reads an archive as [WriteArchive] writes it, and returns the exit code. Where it gives up, it
// leaves a compiler behind. Out gets no more than a line.
func (r Rehearsal) Run(ctx context.Context, in io.Reader, out io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, r.After)
	defer cancel()
	done, closed := make(chan error, 1), make(chan struct{})
	go func() {
		raw, err := readArchive(in)
		if err != nil {
			close(closed)
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, in) // until the other process closes it
			close(closed)
		}()
		done <- r.try(ctx, raw)
	}()
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return say(out, err)
		case <-closed:
			return Abandoned
		case <-ctx.Done():
			return say(out, Late(r.After))
		case <-tick.C:
			if memory() > r.Beyond {
				return say(out, refuse("compile", "the rules or their tests take more than %d MiB of memory: make them smaller",
					r.Beyond>>20))
			}
		}
	}
}

func readArchive(in io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	// Of a larger one, a part is enough to refuse it.
	raw := make([]byte, min(binary.BigEndian.Uint32(size[:]), MaxBytes+1))
	_, err := io.ReadFull(in, raw)
	return raw, err
}

// say prints why a bundle is refused, and returns the exit code.
func say(out io.Writer, err error) int {
	var refused *Error
	if !errors.As(err, &refused) {
		return Rehearsed
	}
	if json.NewEncoder(out).Encode(Problem{Stage: refused.Stage, Message: refused.Err.Error()}) != nil {
		return Abandoned
	}
	return Refused
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

// try does what is done with a bundle before it is in force. What the compiler says is forgotten: it says so again
// in the process that puts the bundle in force.
func (r Rehearsal) try(ctx context.Context, raw []byte) (err error) {
	b, err := ReadUnverified(raw)
	if err != nil {
		return nil
	}
	if r.Tests {
		return b.Pass(ctx)
	}
	if _, err := b.Rules(ctx); err != nil {
		return nil
	}
	var ignored error
	defer guard("compile", &ignored)
	all := maps.Clone(b.modules)
	maps.Copy(all, b.tests)
	ast.NewCompiler().WithCapabilities(policies.BundleCapabilities()).Compile(all)
	return nil
}

// memory is what this process holds, in bytes.
func memory() uint64 {
	held := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(held)
	return held[0].Value.Uint64() - held[1].Value.Uint64()
}
