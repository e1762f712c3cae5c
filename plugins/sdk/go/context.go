package revoker

import (
	"encoding/json"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// Level is a log level.
type Level int32

// The log levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// host is the five things a plugin can ask of its host: the Wasm imports in a
// module, the harness in a native test.
type host interface {
	clock
	report(doc []byte) int32
	log(level int32, line []byte)
	send(req, body []byte) (errno int32, meta, answer []byte)
}

// clock is the time as the host sees it.
type clock interface {
	now() int64  // Unix milliseconds
	left() int64 // milliseconds to the deadline
}

// Context is one call of the plugin. It is valid until the call returns and is
// for one goroutine.
type Context struct {
	req  Request
	host host
	kind Kind
}

// Request is the whole request document.
func (c *Context) Request() *Request { return &c.req }

// Subject is the user the call is about; empty for health and identify.
func (c *Context) Subject() Subject {
	if c.req.Subject == nil {
		return Subject{}
	}
	return *c.req.Subject
}

// Event is what happened to the user; empty but for revoke.
func (c *Context) Event() Event {
	if c.req.Event == nil {
		return Event{}
	}
	return *c.req.Event
}

// Config returns a string of the plugin's config object, "" when it is absent or
// of another type. Other types are in Request().Config.
func (c *Context) Config(key string) string {
	s, _ := c.req.Config[key].(string)
	return s
}

// DryRun reports that nothing may be changed: answer with [WouldRevoke]. The host
// refuses every request but GET and HEAD.
func (c *Context) DryRun() bool { return c.req.DryRun }

// Cursor is the cursor of the last partial result of kind, "" on a first call.
func (c *Context) Cursor(kind Kind) string { return c.req.Cursors[kind] }

// Left is the time until the deadline. At the deadline requests in flight end,
// and soon after that the whole plugin is killed.
func (c *Context) Left() time.Duration { return time.Duration(c.host.left()) * time.Millisecond }

// Now is the host's wall clock.
func (c *Context) Now() time.Time { return time.UnixMilli(c.host.now()) }

// Log writes a line to the host's log. Lines are cut at 4 KiB and a call has 64
// KiB; the host replaces secrets it knows, but do not log what users own.
func (c *Context) Log(level Level, msg string) { c.host.log(int32(level), []byte(msg)) }

// Report tells the host the outcome of the current kind at once. It survives a
// crash or kill later in the call, and the last report of a kind wins. What
// Revoke returns is reported by itself; a plugin that works long reports in
// between. Evidence that does not fit a report's 4 KiB is left out of it.
func (c *Context) Report(r Result) {
	if r.Kind == "" {
		r.Kind = c.kind
	}
	r = clip(r)
	doc, err := json.Marshal(r)
	for err == nil && len(doc) > abi.ReportBytes && len(r.Evidence) > 0 {
		r.Evidence = r.Evidence[:len(r.Evidence)/2]
		doc, err = json.Marshal(r)
	}
	if err != nil {
		c.Log(Error, "encoding a report: "+err.Error())
		return
	}
	if errno := c.host.report(doc); errno != 0 {
		c.Log(Warn, "the host refused a report")
	}
}

// clip keeps an outcome within what the host accepts.
func clip(r Result) Result {
	if len(r.Evidence) > abi.EvidenceMax {
		r.Evidence = r.Evidence[:abi.EvidenceMax]
	}
	if len(r.Message) > abi.MessageBytes {
		r.Message = r.Message[:abi.MessageBytes]
	}
	return r
}
