package revoker

import "time"

// Context is one call of the plugin. It is valid until the call returns.
type Context struct{}

// Request is the whole request document.
func (c *Context) Request() *Request { return nil }

// Subject is the user the call is about; empty for health and identify.
func (c *Context) Subject() Subject { return Subject{} }

// Event is what happened to the user; empty but for revoke.
func (c *Context) Event() Event { return Event{} }

// Config returns a string of the plugin's config object, "" when it is absent or no string.
func (c *Context) Config(key string) string { return "" }

// DryRun reports that nothing may be changed.
func (c *Context) DryRun() bool { return false }

// Cursor is the cursor of the last partial result of kind.
func (c *Context) Cursor(kind Kind) string { return "" }

// Left is the time until the deadline.
func (c *Context) Left() time.Duration { return 0 }

// Now is the host's wall clock.
func (c *Context) Now() time.Time { return time.Time{} }

// HTTP sends a request. target is a path under the config's base_url, or an absolute URL.
func (c *Context) HTTP(method, target string, opts ...Option) Response { return Response{} }

// FromHTTP maps an answer to a result.
func (c *Context) FromHTTP(r Response) Result { return Result{} }

// Pages gets target and every page after it.
func (c *Context) Pages(target string, page func(Response) (next string, err error), opts ...Option) (Response, error) {
	return Response{}, nil
}

// Each revokes items one by one with del and adds up the outcomes.
func (c *Context) Each(ids []string, del func(id string) Response) Result { return Result{} }

// Report tells the host an outcome at once; it survives a later crash.
func (c *Context) Report(r Result) {}

// Log writes a line to the host's log, with the level of slog (debug, info, warn, error).
func (c *Context) Log(level Level, msg string) {}

// Level is a log level.
type Level int32

// The log levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

// Response is the application's answer, or why there is none.
type Response struct {
	Method     string
	URL        string
	Status     int               // 0: no answer, see Err
	Header     map[string]string // lower-case names, those the host lets through
	Body       []byte
	Truncated  bool // the body is longer than the host's limit
	RetryAfter time.Duration
	Err        *HTTPError
}

// OK reports a 2xx answer.
func (r Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// JSON decodes a 2xx body into v.
func (r Response) JSON(v any) error { return nil }

// Next is the target of the Link header with rel="next", or "".
func (r Response) Next() string { return "" }

// HTTPError says why a request got no answer.
type HTTPError struct {
	Code      string
	Message   string
	Retryable bool
}

// Error implements error.
func (e *HTTPError) Error() string { return e.Code + ": " + e.Message }

// Option changes a request.
type Option func(*request)

type request struct{}

// Header sets a header.
func Header(name, value string) Option { return nil }

// Secret sets a header to prefix followed by the named secret, which the host puts in.
func Secret(header, prefix, name string) Option { return nil }

// CredentialOf sets a header to prefix followed by the credential, which the host puts in (identify only).
func CredentialOf(header, prefix string, cred Credential) Option { return nil }

// Body sets the body.
func Body(contentType string, b []byte) Option { return nil }

// JSON sets the body to v as JSON.
func JSON(v any) Option { return nil }

// Timeout bounds the request.
func Timeout(d time.Duration) Option { return nil }

// Revoked says that nothing of the kind is usable any more.
func Revoked(count int, evidence ...Evidence) Result { return Result{} }

// Nothing says that none existed.
func Nothing() Result { return Result{} }

// Partial says that count were revoked and more are left; the host calls again with cursor.
func Partial(count, remaining int, cursor string) Result { return Result{} }

// Retry says that it did not work for now.
func Retry(code, message string, after time.Duration) Result { return Result{} }

// Failed says that it cannot work until somebody mends something.
func Failed(code, message string) Result { return Result{} }

// Unsupported says that the application cannot revoke this kind.
func Unsupported(message string) Result { return Result{} }

// WouldRevoke is the outcome of a dry run.
func WouldRevoke(count int) Result { return Result{} }
