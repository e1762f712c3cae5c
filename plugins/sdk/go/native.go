//go:build !wasip1

package revoker

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// register does nothing natively, because a test passes its plugin to [Test].
func register(Plugin) {}

// App plays the application in a native test.
type App func(AppRequest) AppResponse

// AppRequest is a request as the plugin made it, with placeholders such as {{secret:NAME}}. Only the host
// has the values.
type AppRequest struct {
	Method string
	URL    string
	Path   string // with the query
	Header map[string]string
	Body   []byte
}

// AppResponse is the fake application's answer. Status 0 plays a broken connection. Header names are
// lower case, and retry-after is in seconds.
type AppResponse struct {
	Status int
	Header map[string]string
	Body   string
}

// Harness runs a plugin natively, through the same JSON documents as the host. Like the host, it sends
// only GET and HEAD in a dry run, verify, identify and health. It knows no egress rules. Package
// plugintest runs the real host.
type Harness struct {
	// Requests are the plugin's requests, in order.
	Requests []AppRequest
	// Logs are the plugin's log lines.
	Logs []string
	// Reports are the outcomes that the plugin reported before it returned.
	Reports []Result
	// Deadline is the budget of the next call, by default 10 seconds.
	Deadline time.Duration

	plugin   Plugin
	app      App
	end      time.Time
	readOnly bool
}

// Test returns a harness that runs p against app.
func Test(p Plugin, app App) *Harness { return &Harness{plugin: p, app: app} }

// Revoke runs revoke and returns the plugin's outcome of each kind.
func (h *Harness) Revoke(req Request) ([]Result, error) {
	var out abi.Result
	err := h.call(abi.OpRevoke, req, req.DryRun, &out)
	return out.Kinds, err
}

// Verify runs verify and returns the number of each kind. A kind that is absent from the map is unknown.
func (h *Harness) Verify(req Request) (map[Kind]int, error) {
	answers, err := h.Liveness(req)
	if err != nil {
		return nil, err
	}
	live := map[Kind]int{}
	for kind, l := range answers {
		live[kind] = l.Live
	}
	return live, nil
}

// Liveness runs verify and returns the whole answer of each kind.
func (h *Harness) Liveness(req Request) (map[Kind]Liveness, error) {
	var out abi.VerifyResult
	if err := h.call(abi.OpVerify, req, true, &out); err != nil {
		return nil, err
	}
	answers := map[Kind]Liveness{}
	for _, l := range out.Kinds {
		answers[l.Kind] = l
	}
	return answers, nil
}

// Identify runs identify with the request's one credential.
func (h *Harness) Identify(req Request) (Owner, error) {
	var out Owner
	if err := h.call(abi.OpIdentify, req, true, &out); err != nil {
		return Owner{}, err
	}
	if out.Error != nil {
		return Owner{}, fmt.Errorf("identify: %s: %s", out.Error.Code, out.Error.Message)
	}
	return out, nil
}

// Health runs health.
func (h *Harness) Health(req Request) (Health, error) {
	var out Health
	err := h.call(abi.OpHealth, req, true, &out)
	return out, err
}

func (h *Harness) call(op abi.Op, req Request, readOnly bool, out any) error {
	if h.Deadline == 0 {
		h.Deadline = 10 * time.Second
	}
	req.ABI, req.Op, req.DeadlineMS = "1.0", op, h.Deadline.Milliseconds()
	in, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	h.end, h.readOnly = time.Now().Add(h.Deadline), readOnly
	doc, code := dispatch(h.plugin, op, in, h)
	if code != codeOK {
		return fmt.Errorf("%s returned %d", op, code)
	}
	if err := json.Unmarshal(doc, out); err != nil {
		return fmt.Errorf("decoding the output of %s: %w", op, err)
	}
	return nil
}

func (h *Harness) now() int64  { return time.Now().UnixMilli() }
func (h *Harness) left() int64 { return time.Until(h.end).Milliseconds() }

func (h *Harness) log(level int32, line []byte) {
	h.Logs = append(h.Logs, fmt.Sprintf("%d %s", level, line))
}

func (h *Harness) report(doc []byte) int32 {
	var r Result
	if err := json.Unmarshal(doc, &r); err != nil {
		return int32(abi.ErrnoInval)
	}
	h.Reports = append(h.Reports, r)
	return 0
}

func (h *Harness) send(meta, body []byte) (int32, []byte, []byte) {
	var m abi.HTTPRequest
	if err := json.Unmarshal(meta, &m); err != nil {
		return refuse(abi.ErrnoInval, abi.CodeContract, err.Error(), false)
	}
	if h.readOnly && m.Method != "GET" && m.Method != "HEAD" {
		return refuse(abi.ErrnoDenied, abi.CodeEgressDenied, m.Method+" in a read-only call", false)
	}
	if !strings.Contains(m.URL, "://") {
		return refuse(abi.ErrnoInval, abi.CodeEgressDenied,
			m.URL+" is not an absolute URL: is base_url in the request's config?", false)
	}
	req := AppRequest{Method: m.Method, URL: m.URL, Path: path(m.URL), Header: m.Headers, Body: body}
	h.Requests = append(h.Requests, req)
	r := h.app(req)
	if r.Status == 0 {
		return refuse(abi.ErrnoConn, abi.CodeAppError, "connection broken", true)
	}
	out := abi.HTTPResponse{Status: r.Status, Headers: r.Header, BodyLen: len(r.Body)}
	if s, err := strconv.Atoi(r.Header["retry-after"]); err == nil {
		out.RetryAfterMS = int64(s) * 1000
	}
	doc, _ := encode(out) // strings and numbers always encode
	return 0, doc, []byte(r.Body)
}

func refuse(errno abi.Errno, code, message string, retryable bool) (int32, []byte, []byte) {
	doc, _ := encode(abi.HTTPResponse{Code: code, Message: message, Retryable: retryable})
	return int32(errno), doc, nil
}
