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

// host is a plugin's view of its host. It is the Wasm imports in a module and the harness in a native
// test.
type host interface {
	clock
	report(doc []byte) int32
	log(level int32, line []byte)
	send(req, body []byte) (errno int32, meta, answer []byte)
}

// clock is the time of the host.
type clock interface {
	now() int64  // Unix milliseconds
	left() int64 // milliseconds to the deadline
}

// Context is one call of the plugin. It is valid until the call returns. Use it from one goroutine only.
type Context struct {
	req   Request
	host  host
	kind  Kind
	probe abi.Liveness // how verify found the answer for kind
}

// Request returns the whole request document.
func (c *Context) Request() *Request { return &c.req }

// Subject returns the user of a revoke or verify call. It is empty for health and identify.
func (c *Context) Subject() Subject {
	if c.req.Subject == nil {
		return Subject{}
	}
	return *c.req.Subject
}

// Event returns the change of the user. It is empty except for revoke.
func (c *Context) Event() Event {
	if c.req.Event == nil {
		return Event{}
	}
	return *c.req.Event
}

// Config returns a string of the plugin's config object, or "" if it is absent or has another type.
// Request().Config has the other types.
func (c *Context) Config(key string) string {
	s, _ := c.req.Config[key].(string)
	return s
}

// DryRun reports whether the call must change nothing. Then answer with [WouldRevoke]. The host allows
// only GET and HEAD.
func (c *Context) DryRun() bool { return c.req.DryRun }

// Cursor returns the cursor of the last partial result of kind, or "" on a first call.
func (c *Context) Cursor(kind Kind) string { return c.req.Cursors[kind] }

// RevokedIDs returns, in verify, the application's ids of credentials of kind that were revoked, the newest
// last, at most [abi.RevokedMax]. Probe them where the application can say whether it still accepts one.
func (c *Context) RevokedIDs(kind Kind) []string { return c.req.Revoked[kind] }

// Probed says, in Verify, that the answer for the current kind comes from a probe: the part of the
// application that serves requests judged a credential of kind with. what describes it for the evidence,
// without ids and secrets. Without this call the answer counts as a list.
func (c *Context) Probed(with Kind, what string) {
	c.probe.Method, c.probe.With, c.probe.Probe = abi.MethodProbed, with, what
}

// Left returns the time until the deadline. At the deadline the host ends the requests in flight, and
// soon after that it kills the whole plugin.
func (c *Context) Left() time.Duration { return time.Duration(c.host.left()) * time.Millisecond }

// Now returns the time of the host's wall clock.
func (c *Context) Now() time.Time { return time.UnixMilli(c.host.now()) }

// Log writes a line to the host's log. The host cuts lines at 4 KiB, accepts 64 KiB a call, and replaces
// the secrets it knows. Do not log the data of users.
func (c *Context) Log(level Level, msg string) { c.host.log(int32(level), []byte(msg)) }

// Report sends the outcome of the current kind to the host at once. The report counts even after a crash
// or kill later in the call, and the last report of a kind wins. The SDK reports the result of Revoke. A
// long-running plugin also reports in between. Report drops evidence that does not fit into a report's 4
// KiB.
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

// clip cuts an outcome to the bounds of the ABI.
func clip(r Result) Result {
	r.Evidence = r.Evidence[:min(len(r.Evidence), abi.EvidenceMax)]
	r.Message = r.Message[:min(len(r.Message), abi.MessageBytes)]
	return r
}
