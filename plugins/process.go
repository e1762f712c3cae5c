package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

const (
	grace      = 250 * time.Millisecond // between a deadline and the kill
	stderrHead = 4 << 10
)

// process is one worker process. One goroutine owns the child and reads its frames. A second one writes
// to it, and one more runs for each request in flight. So a frozen guest blocks no caller. All have ended
// when gone is closed.
type process struct {
	cmd    *exec.Cmd
	stderr *headBuffer
	info   abi.Info    // of the loaded module
	out    chan []byte // frames to the worker
	ready  chan readyMsg
	broken chan struct{} // closed when the worker is dead or being killed
	gone   chan struct{} // closed when the process has ended and was waited for

	compiled chan struct{} // closed when the module is compiled and checked
	reason   atomic.Value  // of type string: why the host killed it, unset if it did not
	sandbox  []Measure     // set before supervise starts, and completed when the module is loaded

	watching sync.WaitGroup // the memory

	mu    sync.Mutex // guards calls and next
	calls map[uint32]*pending
	next  uint32
}

// pending is one call as the host sees it.
type pending struct {
	session *session
	done    chan outcome
	ctx     context.Context //nolint:containedctx // the call's lifetime, for requests that arrive through the pipe
	cancel  context.CancelFunc
	reports [][]byte
	logged  int
	sending bool
}

// startProcess starts a worker with an empty environment. The kernel kills it when this process dies. The
// head of its standard error is kept, because it says why the worker crashed.
func startProcess(self []string, limits memoryLimits) (*process, error) {
	p := &process{
		cmd: exec.Command(self[0], self[1:]...), stderr: &headBuffer{}, //nolint:noctx // ended by kill, not by a context
		out: make(chan []byte), ready: make(chan readyMsg, 1), calls: map[uint32]*pending{},
		broken: make(chan struct{}), gone: make(chan struct{}), compiled: make(chan struct{}),
	}
	p.cmd.Env = []string{}
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = grace // another process may still have the pipe open
	isolate(p.cmd)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	started := make(chan error)
	go p.supervise(started, stdin, stdout)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	// The worker has no guest code before this process writes the module.
	if err := limitProcess(p.cmd.Process.Pid, limits.data); err != nil {
		p.kill()
		<-p.gone
		return nil, fmt.Errorf("limiting a worker: %w", err)
	}
	p.sandbox = []Measure{
		p.watchMemory(limits.resident), {"oom_score_adj", fault(preferForOOM(p.cmd.Process.Pid))},
	}
	return p, nil
}

// supervise starts the child and waits for it on one locked thread, because the kernel kills the child
// when its parent's thread ends, not its process.
func (p *process) supervise(started chan<- error, stdin io.WriteCloser, stdout io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.write(stdin) })
	p.read(stdout) // until the pipe ends or breaks the protocol
	wg.Wait()
	p.watching.Wait()
	_ = p.cmd.Wait() // "signal: killed" is the usual end; stderr has the reason
	close(p.gone)
}

// kill ends the worker and, where the system has process groups, its children. The children of a
// compromised worker would keep the pipes open.
func (p *process) kill() {
	select {
	case <-p.gone: // another process may have the pid by now
	default:
		killGroup(p.cmd.Process)
	}
}

func (p *process) alive() bool {
	select {
	case <-p.broken:
		return false
	default:
		return true
	}
}

func (p *process) write(stdin io.WriteCloser) {
	defer stdin.Close() //nolint:errcheck // the child sees the end of file, or is dead
	for {
		select {
		case b := <-p.out:
			if _, err := stdin.Write(b); err != nil {
				p.kill()
				return
			}
		case <-p.broken:
			return
		}
	}
}

// post queues a frame. It gives up when the worker is gone or stop closes.
func (p *process) post(f frame, stop <-chan struct{}) error {
	b, err := appendFrame(nil, f)
	if err != nil {
		return err
	}
	select {
	case p.out <- b:
		return nil
	case <-p.broken:
		return errors.New("plugins: the worker is gone")
	case <-stop:
		return context.DeadlineExceeded
	}
}

// load sends a module to a new worker and waits until it is ready. It calls compiled after the
// compilation.
func (p *process) load(payload []byte, timeout time.Duration, compiled func()) (readyMsg, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	if err := p.post(frame{typ: frameLoad, payload: payload}, nil); err != nil {
		<-p.gone
		return readyMsg{}, fmt.Errorf("%w: %s", err, p.stderr)
	}
	done := p.compiled
	for {
		select {
		case <-done:
			done = nil
			compiled()
			timer.Reset(initTimeout)
		case ready := <-p.ready:
			if ready.Fault != "" {
				return readyMsg{}, fmt.Errorf("refused at %s", ready.Fault)
			}
			return ready, nil
		case <-p.broken:
			p.kill()
			<-p.gone
			return readyMsg{}, fmt.Errorf("the worker died while loading: %s", p.stderr)
		case <-timer.C:
			return readyMsg{}, errors.New("loading did not end in time")
		}
	}
}

// read dispatches frames until the pipe ends or a frame breaks the protocol. Then it ends the worker, all
// calls in flight and their requests.
func (p *process) read(stdout io.Reader) {
	var sends sync.WaitGroup
	defer sends.Wait()
	r := bufio.NewReaderSize(stdout, 64<<10)
	for {
		f, err := readFrame(r)
		if err != nil || !p.dispatch(f, &sends) {
			break
		}
	}
	p.kill()
	close(p.broken)
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.calls {
		delete(p.calls, id)
		close(c.done)
		c.cancel()
	}
}

// dispatch handles one frame of the worker. If it returns false, the worker is killed.
func (p *process) dispatch(f frame, sends *sync.WaitGroup) bool {
	switch f.typ {
	case frameReady:
		var msg readyMsg
		if _, err := splitParts(f.payload, &msg); err != nil {
			return false
		}
		select {
		case p.ready <- msg:
			return true
		default:
			return false
		}
	case frameCompiled:
		select {
		case <-p.compiled:
			return false
		default:
			close(p.compiled)
			return true
		}
	case frameLog:
		return p.log(f)
	default:
		return p.dispatchCall(f, sends)
	}
}

func (p *process) log(f frame) bool {
	p.mu.Lock()
	c := p.calls[f.call]
	ok := c == nil || (len(f.payload) > 0 && c.logged+len(f.payload) <= 2*maxLogBytes)
	if c != nil {
		c.logged += len(f.payload)
	}
	p.mu.Unlock() // a slow log must not block the calls
	if ok && c != nil {
		c.session.log(c.ctx, f.payload[0], string(f.payload[1:]))
	}
	return ok
}

// decodeDone returns the outcome in a frame of type frameDone.
func decodeDone(f frame) (outcome, error) {
	var msg doneMsg
	output, err := splitParts(f.payload, &msg)
	if err != nil {
		return outcome{}, err
	}
	switch msg.Fault {
	case "", abi.CodeTrap, abi.CodeDeadline:
		return outcome{code: msg.Fault, note: msg.Note, ret: msg.Code, output: output}, nil
	}
	return outcome{}, errFrame // the fault becomes a metric label, so the set is closed
}

func (p *process) dispatchCall(f frame, sends *sync.WaitGroup) bool {
	var out outcome
	var err error
	if f.typ == frameDone {
		out, err = decodeDone(f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[f.call]
	if c == nil {
		return f.call <= p.next // a late frame of a call that has ended
	}
	switch f.typ {
	case frameDone:
		if err != nil {
			return false
		}
		delete(p.calls, f.call)
		c.done <- out
		close(c.done)
		return true
	case frameReport:
		if len(c.reports) >= maxReports {
			return false
		}
		c.reports = append(c.reports, f.payload)
		return true
	case frameSend:
		if c.sending {
			return false
		}
		c.sending = true
		sends.Go(func() { p.send(f, c) })
		return true
	default:
		return false
	}
}

// send makes one HTTP request for a guest and answers it.
func (p *process) send(f frame, c *pending) {
	head, body, err := splitRaw(f.payload)
	if err != nil {
		p.kill()
		return
	}
	msg, answer := c.session.send(c.ctx, head, body)
	p.mu.Lock()
	c.sending = false
	p.mu.Unlock()
	payload, err := joinParts(msg, answer)
	if err == nil {
		err = p.post(frame{typ: frameReply, call: f.call, payload: payload}, nil)
	}
	if err != nil {
		p.kill() // otherwise the guest would wait for ever
	}
}

// outcome is the end of a call.
type outcome struct {
	code    string // why the export did not return, such as abi.CodeTrap, or "" if it returned
	note    string
	died    bool // the whole worker, for no reason of the host
	ret     int32
	output  []byte
	reports [][]byte

	retryAfter time.Duration // the rest of a quarantine
}

// call runs one operation and waits for its end. If the operation still runs after the deadline of ctx
// and a grace period, call kills the worker and with it every other call.
func (p *process) call(ctx context.Context, op abi.Op, input []byte, s *session) outcome {
	deadline, _ := ctx.Deadline()
	if ctx.Err() != nil {
		return outcome{code: abi.CodeDeadline, note: "the deadline passed before the call began"}
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &pending{session: s, done: make(chan outcome, 1), ctx: own, cancel: cancel}
	p.mu.Lock()
	p.next++
	id := p.next
	p.calls[id] = c
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.calls, id)
		p.mu.Unlock()
	}()
	payload, err := joinParts(callMsg{Op: string(op), DeadlineMS: time.Until(deadline).Milliseconds()}, input)
	if err == nil {
		err = p.post(frame{typ: frameCall, call: id, payload: payload}, ctx.Done())
	}
	if err != nil { // not delivered: another call blocks the worker, or it is dead
		return outcome{code: abi.CodeDeadline, note: err.Error()}
	}
	select {
	case out, ok := <-c.done:
		return p.ended(c, out, ok)
	case <-p.broken:
		return p.ended(c, outcome{}, false)
	case <-ctx.Done():
	}
	return p.expire(id, c)
}

// expire cancels a call after its deadline, waits for the grace period, and then kills the worker.
func (p *process) expire(id uint32, c *pending) outcome {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		// An error means that the worker is gone, or that this call no longer waits.
		_ = p.post(frame{typ: frameCancel, call: id}, stop)
	})
	defer wg.Wait()
	defer close(stop)
	select {
	case out, ok := <-c.done:
		out = p.ended(c, out, ok)
		if out.code == "" && out.ret == 0 && len(out.output) == 0 {
			// The guest was still starting at its deadline.
			out.code, out.note = abi.CodeDeadline, "the guest ended at its deadline without an answer"
		}
		return out
	case <-p.broken:
		return p.ended(c, outcome{}, false)
	case <-timer.C:
	}
	p.killFor(killedLate)
	return p.ended(c, outcome{}, false)
}

// ended completes the outcome of a call. If ok is false, the worker died before it sent one.
func (p *process) ended(c *pending, out outcome, ok bool) outcome {
	switch {
	case ok:
	case p.killedFor() == killedLate:
		out = outcome{code: abi.CodeDeadline, note: "the worker was killed at a call's deadline"}
	case p.killedFor() == killedMemory:
		out = outcome{code: abi.CodeMemory, note: "the worker was killed because it used too much memory"}
	default:
		<-p.gone // then all of stderr has been read
		out = outcome{code: abi.CodeTrap, note: "the worker died: " + p.stderr.String(), died: true}
	}
	p.mu.Lock()
	out.reports = c.reports
	p.mu.Unlock()
	return out
}

// headBuffer keeps the first bytes written to it. A Go program that crashes prints the reason before its
// goroutines.
type headBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (h *headBuffer) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := stderrHead - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *headBuffer) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}
