package revoker

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

// maxPages bounds Pages, because the last page of an application may link to itself.
const maxPages = 1000

// Response is the application's answer, or the reason why there is none.
type Response struct {
	Method     string
	URL        string
	Status     int               // 0: no answer, see Err
	Header     map[string]string // lower-case names; only those that the host passes on
	Body       []byte
	Truncated  bool // the body is longer than the host's limit
	RetryAfter time.Duration
	Err        *HTTPError
}

// OK reports whether the answer is 2xx.
func (r Response) OK() bool { return r.Err == nil && r.Status >= 200 && r.Status < 300 }

// JSON decodes a 2xx body into v. It returns an error for any other answer, so that an unreadable list
// never looks like an empty list.
func (r Response) JSON(v any) error {
	switch {
	case r.Err != nil:
		return r.Err
	case !r.OK():
		return fmt.Errorf("%s %s answered %d", r.Method, path(r.URL), r.Status)
	case r.Truncated:
		return fmt.Errorf("%s %s: the body is longer than the host's limit", r.Method, path(r.URL))
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("decoding the answer to %s %s: %w", r.Method, path(r.URL), err)
	}
	return nil
}

// Next returns the target of the Link header with rel="next" (RFC 8288), or "".
func (r Response) Next() string {
	for link := range strings.SplitSeq(r.Header["link"], ",") {
		target, params, ok := strings.Cut(link, ";")
		target = strings.TrimSpace(target)
		if !ok || !strings.HasPrefix(target, "<") || !strings.HasSuffix(target, ">") {
			continue
		}
		for param := range strings.SplitSeq(params, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(param), "=")
			if strings.EqualFold(k, "rel") && strings.Trim(v, `"`) == "next" {
				return target[1 : len(target)-1]
			}
		}
	}
	return ""
}

// HTTPError says why a request got no answer. Code is one of the ABI's codes, such as egress_denied or
// app_error.
type HTTPError struct {
	Code      string
	Message   string
	Retryable bool
}

// Error implements error.
func (e *HTTPError) Error() string { return e.Code + ": " + e.Message }

// Option changes a request.
type Option func(*request)

type request struct {
	meta abi.HTTPRequest
	body []byte
	err  error
}

// Header sets a header. An empty value removes it.
func Header(name, value string) Option {
	return func(r *request) {
		name = strings.ToLower(name)
		if value == "" {
			delete(r.meta.Headers, name)
			return
		}
		r.meta.Headers[name] = value
	}
}

// Secret sets a header to prefix followed by the named secret, which the host inserts:
// Secret("authorization", "Bearer ", "admin_token").
func Secret(header, prefix, name string) Option {
	return Header(header, prefix+"{{secret:"+name+"}}")
}

// CredentialOf sets a header to prefix followed by the user's credential, which the host inserts. It
// works in Identify only, for rules that are marked identify.
func CredentialOf(header, prefix string, cred Credential) Option {
	return Header(header, prefix+"{{credential:"+cred.Ref+"}}")
}

// Body sets the body.
func Body(contentType string, b []byte) Option {
	return func(r *request) {
		r.meta.Headers["content-type"] = contentType
		r.body = b
	}
}

// JSON sets the body to v as JSON.
func JSON(v any) Option {
	return func(r *request) {
		r.meta.Headers["content-type"] = "application/json"
		r.body, r.err = json.Marshal(v)
	}
}

// Timeout bounds the request, in addition to the host's own limit.
func Timeout(d time.Duration) Option {
	return func(r *request) { r.meta.TimeoutMS = d.Milliseconds() }
}

// HTTP sends a request and returns the answer. It follows no redirect. target is an absolute URL, or a
// path (with query) below the config's base_url. A write carries an Idempotency-Key that is the same in
// every attempt and differs between kinds, methods and URLs.
func (c *Context) HTTP(method, target string, opts ...Option) Response {
	url := target
	if strings.HasPrefix(target, "/") {
		url = strings.TrimSuffix(c.Config("base_url"), "/") + target
	}
	r := &request{meta: abi.HTTPRequest{Method: method, URL: url, Headers: map[string]string{}}}
	if key := c.req.IdempotencyKey; key != "" && method != "GET" && method != "HEAD" {
		h := fnv.New64a()
		h.Write([]byte(method + " " + url))
		r.meta.Headers["idempotency-key"] = key + ":" + string(c.kind) + ":" + strconv.FormatUint(h.Sum64(), 36)
	}
	for _, o := range opts {
		o(r)
	}
	resp := Response{Method: method, URL: url}
	meta, err := json.Marshal(r.meta)
	if err = errors.Join(r.err, err); err != nil {
		resp.Err = &HTTPError{Code: abi.CodeContract, Message: "encoding the request: " + err.Error()}
		return resp
	}
	errno, answer, body := c.host.send(meta, r.body)
	var m abi.HTTPResponse
	if err := json.Unmarshal(answer, &m); err != nil {
		resp.Err = &HTTPError{Code: abi.CodeContract, Message: "decoding the host's answer: " + err.Error()}
		return resp
	}
	resp.RetryAfter = time.Duration(m.RetryAfterMS) * time.Millisecond
	if errno < 0 {
		resp.Err = &HTTPError{Code: m.Code, Message: m.Message, Retryable: m.Retryable}
		return resp
	}
	resp.Status, resp.Header, resp.Body, resp.Truncated = m.Status, m.Headers, body, m.Truncated
	return resp
}

// Pages gets target and then every page that the function page returns, until it returns "" or an answer
// is not 2xx. Return r.Next() to follow a Link header. Pages returns the last answer and page's error.
// Check both. Otherwise half a list looks like a whole one.
func (c *Context) Pages(
	target string, page func(r Response) (next string, err error), opts ...Option,
) (r Response, err error) {
	for range maxPages {
		if r = c.HTTP("GET", target, opts...); !r.OK() {
			return r, nil
		}
		if target, err = page(r); err != nil || target == "" {
			return r, err
		}
	}
	return r, fmt.Errorf("%s: more than %d pages", path(target), maxPages)
}
