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

// process is one worker process. Two goroutines serve it: one owns the child from
// start to wait and reads its frames, one writes to it, and one runs for each
// request in flight, so that a frozen guest blocks none of the callers. All have
// ended when gone is closed.
type process struct {
	cmd    *exec.Cmd
	stderr *headBuffer
	out    chan []byte // frames to the worker
	ready  chan readyMsg
	broken chan struct{} // closed when nothing more can be read: the worker is dead or being killed
	gone   chan struct{} // closed when the process has been waited for

	compiled chan struct{} // closed when the module is compiled and checked
	expired  atomic.Bool   // it was killed because a call did not end

	mu    sync.Mutex // guards calls and next
	calls map[uint32]*pending
	next  uint32
}

// pending is one call as the host sees it.
type pending struct {
	env     callEnv
	done    chan finished
	ctx     context.Context //nolint:containedctx // the call's lifetime, needed by requests that arrive through the pipe
	cancel  context.CancelFunc
	reports [][]byte
	logged  int
	sending bool
}

type finished struct {
	msg    doneMsg
	output []byte
}

// callEnv is what a call may use.
type callEnv struct {
	session *session // nil: no requests
	log     func(ctx context.Context, level byte, line string)
}

// startProcess starts a worker. Its environment is empty, its standard error is kept for the reason of a crash, and it dies with us.
func startProcess(self []string, dataLimit uint64) (*process, error) {
	p := &process{
		cmd: exec.Command(self[0], self[1:]...), stderr: &headBuffer{}, //nolint:noctx // ended by kill, not by a context
		out: make(chan []byte), ready: make(chan readyMsg, 1), calls: map[uint32]*pending{},
		broken: make(chan struct{}), gone: make(chan struct{}), compiled: make(chan struct{}),
	}
	p.cmd.Env = []string{}
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = grace // a pipe that somebody else holds
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
	go p.own(started, stdin, stdout)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	// Nothing of the guest runs before this process has written the module.
	if err := limitProcess(p.cmd.Process.Pid, dataLimit); err != nil {
		p.kill()
		<-p.gone
		return nil, fmt.Errorf("limiting a worker: %w", err)
	}
	return p, nil
}

// own starts the child and waits for it on one locked thread: the kernel's "die
// with the parent" is about the parent's thread, not its process.
func (p *process) own(started chan<- error, stdin io.WriteCloser, stdout io.Reader) {
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
	_ = p.cmd.Wait() // "signal: killed" is the usual end; the reason is in stderr
	close(p.gone)
}

// kill ends the worker and, where the system has groups, what a worker that was
// taken over has started: that would hold the pipes open.
func (p *process) kill() {
	select {
	case <-p.gone: // the number may be another's by now
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

// post queues a frame; it gives up when the worker is gone or stop closes.
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

// read dispatches frames until the pipe ends. A frame that breaks the protocol ends
// it too.
func (p *process) read(stdout io.Reader) {
	var sends sync.WaitGroup
	defer sends.Wait()
	r := bufio.NewReaderSize(stdout, 64<<10)
	for {
		f, err := readFrame(r)
		if err != nil || !p.dispatch(f, &sends) {
			p.kill()
			close(p.broken)
			p.abandon()
			return
		}
	}
}

// abandon ends all calls in flight and their requests.
func (p *process) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.calls {
		delete(p.calls, id)
		close(c.done)
		c.cancel()
	}
}

// dispatch handles one frame of the worker; false kills the worker.
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
	p.mu.Unlock() // a slow log does not hold up the calls
	if ok && c != nil {
		c.env.log(c.ctx, f.payload[0], string(f.payload[1:]))
	}
	return ok
}

func (p *process) dispatchCall(f frame, sends *sync.WaitGroup) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.calls[f.call]
	if c == nil {
		return f.call <= p.next // a late frame of a call that was given up
	}
	switch f.typ {
	case frameDone:
		var fin finished
		var err error
		if fin.output, err = splitParts(f.payload, &fin.msg); err != nil {
			return false
		}
		switch fin.msg.Fault {
		case "", abi.CodeTrap, abi.CodeDeadline:
		default: // it becomes a metric label, and no worker of ours says anything else
			return false
		}
		delete(p.calls, f.call)
		c.done <- fin
		close(c.done)
		return true
	case frameReport:
		if len(c.reports) >= maxReports {
			return false
		}
		c.reports = append(c.reports, f.payload)
		return true
	case frameSend:
		if c.sending || c.env.session == nil {
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
	errno, meta, answer := c.env.session.send(c.ctx, head, body)
	p.mu.Lock()
	c.sending = false
	p.mu.Unlock()
	payload, err := joinParts(replyMsg{Errno: int32(errno), Meta: meta}, answer)
	if err == nil {
		err = p.post(frame{typ: frameReply, call: f.call, payload: payload}, nil)
	}
	if err != nil {
		p.kill() // the guest would wait for ever
	}
}

// outcome is how a call ended. Code is empty when the export returned.
type outcome struct {
	code    string // abi.CodeTrap, abi.CodeDeadline
	note    string
	ret     int32
	output  []byte
	reports [][]byte

	retryAfter time.Duration // quarantine left
}

// call runs one operation and returns when it has ended, at the latest grace after
// ctx has: then the worker is killed, with every call in it.
func (p *process) call(ctx context.Context, op abi.Op, input []byte, env callEnv) outcome {
	deadline, _ := ctx.Deadline()
	if ctx.Err() != nil {
		return outcome{code: abi.CodeDeadline, note: "the deadline came before the call began"}
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &pending{env: env, done: make(chan finished, 1), ctx: own, cancel: cancel}
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
	if err != nil { // not delivered: another call holds the worker up, or it is dead
		return outcome{code: abi.CodeDeadline, note: err.Error()}
	}
	select {
	case fin, ok := <-c.done:
		return p.ended(c, fin, ok)
	case <-p.broken:
		return p.ended(c, finished{}, false)
	case <-ctx.Done():
	}
	return p.expire(id, c)
}

// expire gives a call whose time is up its grace, and then kills the worker.
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
	case fin, ok := <-c.done:
		out := p.ended(c, fin, ok)
		if out.code == "" && out.ret == 0 && len(out.output) == 0 {
			// A guest that was still starting when its time was up has nothing to say.
			out.code, out.note = abi.CodeDeadline, "the guest ended at its deadline without an answer"
		}
		return out
	case <-p.broken:
		return p.ended(c, finished{}, false)
	case <-timer.C:
	}
	p.expired.Store(true)
	p.kill()
	return p.ended(c, finished{}, false)
}

func (p *process) ended(c *pending, fin finished, ok bool) outcome {
	p.mu.Lock()
	reports := c.reports
	p.mu.Unlock()
	switch {
	case ok:
		return outcome{code: fin.msg.Fault, note: fin.msg.Note, ret: fin.msg.Code, output: fin.output, reports: reports}
	case p.expired.Load():
		return outcome{code: abi.CodeDeadline, note: "the worker was killed at a call's deadline", reports: reports}
	default:
		<-p.gone // then all of stderr has been read
		return outcome{code: abi.CodeTrap, note: "the worker died: " + p.stderr.String(), reports: reports}
	}
}

// headBuffer keeps the first bytes written to it: a Go program that dies says why
// first and then prints every goroutine.
type headBuffer struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (h *headBuffer) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := stderrHead - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// String is what was kept.
func (h *headBuffer) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}
