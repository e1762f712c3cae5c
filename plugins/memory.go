package plugins

import (
	"fmt"
	"strings"
	"time"
)

// memoryLimits bound the memory of a worker, in bytes. The guest's own limit does not include tables, stacks,
// copies and compiled code.
type memoryLimits struct {
	data     uint64 // its data segment, which the kernel bounds: an allocation beyond it fails
	resident uint64 // its resident memory, which the host watches: beyond it the worker is killed
	heap     int64  // the soft limit of the Go heap, below resident
}

// maxDataLimit bounds the data segment. It counts memory that is reserved but never used.
const maxDataLimit = 1536 << 20

// limitsOf computes the limits. In the data segment a memory counts twice, because it is copied when it grows,
// and the memories of identify are small and count once. Resident are 256 MiB for the process and the
// compilation, and two copies of the memory of each instance.
func limitsOf(l Limits) memoryLimits {
	m := memoryLimits{
		data:     min(uint64(512+l.MemoryMiB*(2+identifyPerSlot)*l.Instances)<<20, maxDataLimit),
		resident: uint64(256+2*l.MemoryMiB*l.Instances) << 20,
	}
	m.resident = min(m.resident, m.data)
	m.heap = int64(m.resident / 4 * 3)
	return m
}

// The reasons of kills, in metrics and logs.
const (
	killedLate   = "deadline" // a call did not end
	killedMemory = "memory"
	diedItself   = "died"
)

// killFor kills the worker and keeps the first reason.
func (p *process) killFor(reason string) {
	p.reason.CompareAndSwap(nil, reason)
	p.kill()
}

// killedFor returns the reason of the kill, "died" if the host did not kill it.
func (p *process) killedFor() string {
	if reason, ok := p.reason.Load().(string); ok {
		return reason
	}
	return diedItself
}

// memoryTick is the time between two looks at a worker's memory. In it, a guest can take what a core can write.
const memoryTick = 50 * time.Millisecond

// watchMemory kills the worker when its resident memory exceeds limit, until it has ended.
func (p *process) watchMemory(limit uint64) Measure {
	m := Measure{Name: fmt.Sprintf("rss limit %d MiB", limit>>20)}
	if _, err := residentMemory(p.cmd.Process.Pid); err != nil && p.alive() {
		m.Fault = err.Error()
		return m
	}
	p.watching.Go(func() {
		tick := time.NewTicker(memoryTick)
		defer tick.Stop()
		for {
			select {
			case <-p.broken:
				return
			case <-tick.C:
			}
			// After an error the process is gone, and broken will close.
			if used, err := residentMemory(p.cmd.Process.Pid); err == nil && used > limit {
				p.killFor(killedMemory)
				return
			}
		}
	})
	return m
}

// Measure is one way in which the kernel confines a worker.
type Measure struct {
	Name  string
	Fault string // why it is not in force, "" if it is
}

func fault(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// confined adds what the worker did itself, as the kernel sees it.
func (p *process) confined(ready readyMsg) []Measure {
	status, err := processStatus(p.cmd.Process.Pid)
	out := append([]Measure{}, p.sandbox...)
	for _, m := range []struct{ name, line string }{{"no_new_privs", "NoNewPrivs:\t1"}, {"seccomp", "Seccomp:\t2"}} {
		why := ""
		switch {
		case err != nil:
			why = err.Error()
		case !strings.Contains(status, m.line+"\n"):
			why = "the kernel does not report it: " + ready.Unconfined
		case m.name == "seccomp" && ready.Unconfined != "":
			why = ready.Unconfined // the filter that the kernel reports is another one, of a container for example
		}
		out = append(out, Measure{m.name, why})
	}
	if out[len(out)-1].Fault == "" {
		out = append(out, Measure{Name: "no files"})
	}
	return out
}
