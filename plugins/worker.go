package plugins

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// RunWorker is the worker process, `scimward plugin-worker`. It reads one module and then calls from
// stdin, and answers on stdout. It returns the exit code, 0 after the end of stdin and 1 after a broken
// frame.
//
// With the first module, it gives up what no worker needs: other programs and processes, the network and, after
// the compilation, files. So the caller's process must do nothing else.
//
// It does not wait for calls that still run when stdin ends, because a guest may never return. The caller
// must exit at once.
func RunWorker(ctx context.Context, stdin io.Reader, stdout io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{out: stdout, calls: map[uint32]*guestCall{}}
	r := bufio.NewReaderSize(stdin, 64<<10)
	for {
		f, err := readFrame(r)
		if errors.Is(err, io.EOF) && !errors.Is(err, errFrame) {
			return 0
		}
		if err != nil || w.handle(ctx, f) != nil {
			return 1
		}
	}
}

// worker is the guest's side of the pipe.
type worker struct {
	outMu sync.Mutex
	out   io.Writer

	module *module // nil until the reading goroutine loads it, before any call

	mu    sync.Mutex
	calls map[uint32]*guestCall
}

// guestCall is one call of one instance. Only the instance's goroutine uses it, except for replies and
// cancel.
type guestCall struct {
	id      uint32
	op      abi.Op
	ctx     context.Context //nolint:containedctx // the call's lifetime, for host functions, which Wasm calls without one
	cancel  context.CancelFunc
	end     time.Time
	w       *worker
	input   []byte
	output  []byte
	results [2][]byte
	reports int
	replies chan reply

	logMu  sync.Mutex // guards all below
	logged int
	crash  []byte // what the guest wrote to stderr since it last did anything else: a crash explains itself there
}

type reply struct {
	msg  replyMsg
	body []byte
}

func (w *worker) write(f frame) error {
	b, err := appendFrame(nil, f)
	if err != nil {
		return err
	}
	w.outMu.Lock()
	defer w.outMu.Unlock()
	if _, err := w.out.Write(b); err != nil {
		return fmt.Errorf("writing to the host: %w", err)
	}
	return nil
}

func (w *worker) handle(ctx context.Context, f frame) error {
	switch f.typ {
	case frameLoad:
		return w.load(ctx, f)
	case frameCall:
		return w.start(ctx, f)
	case frameCancel:
		w.mu.Lock()
		if c := w.calls[f.call]; c != nil {
			c.cancel()
			go c.flush() // the host may kill a guest that does not return
		}
		w.mu.Unlock()
		return nil
	case frameReply:
		return w.reply(f)
	default:
		return fmt.Errorf("%w: type %d is not for a worker", errFrame, f.typ)
	}
}

func (w *worker) load(ctx context.Context, f frame) error {
	var msg loadMsg
	wasm, err := splitParts(f.payload, &msg)
	if err != nil {
		return err
	}
	if w.module != nil {
		return fmt.Errorf("%w: second module", errFrame)
	}
	debug.SetMemoryLimit(msg.GoMemory)
	var ready readyMsg
	unconfined := confine()
	m, err := loadModule(ctx, msg, wasm)
	if err == nil {
		if unconfined == nil {
			unconfined = closeFiles()
		}
		if err := w.write(frame{typ: frameCompiled}); err != nil {
			return err
		}
		ready, err = m.describe(ctx, w)
	}
	if err != nil {
		ready = readyMsg{Fault: cut(err.Error(), maxLogLine)}
	} else {
		w.module = m
	}
	if unconfined != nil {
		ready.Unconfined = unconfined.Error()
	}
	payload, err := joinParts(ready, nil)
	if err != nil {
		return err
	}
	return w.write(frame{typ: frameReady, payload: payload})
}

func (w *worker) start(ctx context.Context, f frame) error {
	var msg callMsg
	input, err := splitParts(f.payload, &msg)
	if err != nil {
		return err
	}
	if w.module == nil {
		return fmt.Errorf("%w: call before a module", errFrame)
	}
	ctx, c := newGuestCall(ctx, w, f.call, msg, input)
	w.mu.Lock()
	w.calls[f.call] = c
	w.mu.Unlock()
	go w.run(ctx, c)
	return nil
}

func newGuestCall(
	ctx context.Context, w *worker, id uint32, msg callMsg, input []byte,
) (context.Context, *guestCall) {
	c := &guestCall{
		id: id, op: abi.Op(msg.Op), w: w, input: input, replies: make(chan reply, 1),
		end: time.Now().Add(time.Duration(msg.DeadlineMS) * time.Millisecond),
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c.ctx, c
}

func (w *worker) run(ctx context.Context, c *guestCall) {
	defer c.cancel()
	done := w.module.call(ctx, c)
	w.mu.Lock()
	delete(w.calls, c.id)
	w.mu.Unlock()
	if payload, err := joinParts(done, c.output); err == nil {
		// On an error the host is gone, or kills this process at the deadline.
		_ = w.write(frame{typ: frameDone, call: c.id, payload: payload})
	}
}

func (w *worker) reply(f frame) error {
	var r reply
	var err error
	if r.body, err = splitParts(f.payload, &r.msg); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.calls[f.call]; c != nil {
		select {
		case c.replies <- r:
		default: // a second reply to one request
		}
	}
	return nil
}

// maxCrash bounds the text of a crash, which reaches the log as one event.
const maxCrash = 2 << 10

// stderr keeps what may explain a crash, and logs what does not fit.
func (c *guestCall) stderr(text []byte) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if len(c.crash)+len(text) > maxCrash && !looksLikeCrash(c.crash) {
		c.flushLocked()
	}
	if room := maxCrash - len(c.crash); looksLikeCrash(c.crash) || len(text) <= room {
		c.crash = append(c.crash, text[:min(len(text), room)]...)
		return
	}
	c.logLines(2, text)
}

// looksLikeCrash reports whether a text begins as the Go runtime's last words do. They may be long.
func looksLikeCrash(text []byte) bool {
	return bytes.HasPrefix(text, []byte("panic: ")) || bytes.HasPrefix(text, []byte("fatal error: "))
}

// flush logs what the guest wrote to stderr: it goes on, so it did not crash.
func (c *guestCall) flush() {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	c.flushLocked()
}

func (c *guestCall) flushLocked() {
	text := c.crash
	c.crash = nil
	c.logLines(2, text)
}

// crashed returns the guest's last words and forgets them.
func (c *guestCall) crashed() string {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	text := c.crash
	c.crash = nil
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "\uFFFD"))
}

func (c *guestCall) logLines(level int32, text []byte) {
	for line := range bytes.Lines(text) {
		c.logLocked(level, bytes.TrimRight(line, "\n"))
	}
}

// log sends one line to the host within the call's budget.
func (c *guestCall) log(level int32, line []byte) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	c.flushLocked()
	c.logLocked(level, line)
}

func (c *guestCall) logLocked(level int32, line []byte) {
	line = line[:min(len(line), maxLogLine)]
	switch {
	case c.logged+len(line) <= maxLogBytes:
		c.logged += len(line) + 1
	case c.logged <= maxLogBytes:
		c.logged = maxLogBytes + 1
		line = []byte("log budget is used up; later lines of this call are dropped")
	default:
		return
	}
	payload := append([]byte{byte(min(max(level, 0), 3))}, line...)
	if err := c.w.write(frame{typ: frameLog, call: c.id, payload: payload}); err != nil {
		c.cancel()
	}
}

// report sends one outcome to the host.
func (c *guestCall) report(doc []byte) abi.Errno {
	c.flush()
	switch {
	case c.reports >= maxReports:
		return abi.ErrnoBudget
	case c.op != abi.OpRevoke:
		return abi.ErrnoDenied
	}
	c.reports++
	if err := c.w.write(frame{typ: frameReport, call: c.id, payload: doc}); err != nil {
		return abi.ErrnoIO
	}
	return 0
}

// send passes an HTTP request to the host and waits for its answer.
func (c *guestCall) send(req, body []byte) abi.Errno {
	c.flush()
	switch {
	case c.op == abi.OpDescribe:
		return c.refuse(abi.ErrnoDenied, `{"code":"egress_denied","message":"describe may not send requests"}`)
	case c.ctx.Err() != nil:
		return c.refuse(abi.ErrnoCanceled, `{"code":"deadline","message":"the deadline has passed","retryable":true}`)
	}
	if err := c.w.write(frame{typ: frameSend, call: c.id, payload: joinRaw(req, body)}); err != nil {
		return c.refuse(abi.ErrnoIO, `{"code":"app_error","message":"the host is gone","retryable":true}`)
	}
	// The host always answers, at the deadline with ErrnoCanceled, or kills this process.
	r := <-c.replies
	c.results = [2][]byte{r.msg.Meta, r.body}
	return abi.Errno(r.msg.Errno)
}

func (c *guestCall) refuse(errno abi.Errno, meta string) abi.Errno {
	c.results = [2][]byte{[]byte(meta)}
	return errno
}

// result returns metadata (0) or body (1) of the last answer to http_send.
func (c *guestCall) result(which uint32) []byte {
	if which >= uint32(len(c.results)) {
		return nil
	}
	return c.results[which]
}
