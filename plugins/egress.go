package plugins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/plugins/abi"
)

// egress sends the requests of one plugin. It checks budget, URL, rule, headers, secrets, address and
// TLS, in this order. It follows no redirect. It caps and redacts the answer and passes on only some
// headers.
type egress struct {
	routes  []route
	limits  Limits
	secrets *secrets
	now     func() time.Time

	// unreadable is called when a request needs a secret from a file that cannot be used.
	unreadable func(context.Context, *secretError)
}

// route is a rule with its connections. Rules share no connections, because another rule may forbid the
// same addresses.
type route struct {
	rule
	transport *http.Transport
	limiter   *rate.Limiter
}

// resolver turns a host name into addresses.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func newEgress(p permit, s *secrets, resolve resolver, now func() time.Time) *egress {
	e := &egress{limits: p.limits, secrets: s, now: now, unreadable: func(context.Context, *secretError) {}}
	for _, r := range p.rules {
		limiter := rate.NewLimiter(rate.Inf, 1)
		if r.rps > 0 {
			limiter = rate.NewLimiter(rate.Limit(r.rps), max(1, int(r.rps)))
		}
		e.routes = append(e.routes, route{rule: r, transport: newTransport(r, resolve), limiter: limiter})
	}
	return e
}

func (e *egress) close() {
	for _, r := range e.routes {
		r.transport.CloseIdleConnections()
	}
}

// credentialRef is the ref of the credential in an identify call.
const credentialRef = "c1"

// session is one call's use of egress, one request at a time.
type session struct {
	e          *egress
	readOnly   bool   // health, verify, identify, dry run: GET and HEAD only
	credential string // of identify
	left       int    // requests
	redact     *redactor
	removed    mark                                               // the secret that redaction removed from an answer
	changed    mark                                               // the secret whose removal changed a name
	log        func(ctx context.Context, level byte, line string) // logs a line of the guest
}

func (e *egress) session(readOnly bool, credential known) *session {
	return &session{
		e: e, readOnly: readOnly, credential: credential.value, left: e.limits.HTTPRequests,
		redact: newRedactor(append(e.secrets.all(), credential)...),
	}
}

// refusal says why a request was not sent or got no answer.
type refusal struct {
	errno   abi.Errno
	code    string
	message string
	secret  *secretError // code secret_unreadable
}

func denied(format string, args ...any) *refusal {
	return &refusal{errno: abi.ErrnoDenied, code: abi.CodeEgressDenied, message: fmt.Sprintf(format, args...)}
}

// retryable reports whether the same request may succeed later.
func (r *refusal) retryable() bool { return r.errno != abi.ErrnoDenied && r.errno != abi.ErrnoInval }

// answer is the part of an application's response that a guest reads.
type answer struct {
	meta abi.HTTPResponse
	body []byte
}

// send performs http_send and returns the reply and its body, without known secrets.
func (s *session) send(ctx context.Context, doc, body []byte) (replyMsg, []byte) {
	var msg replyMsg
	a, deny := s.try(ctx, doc, body)
	if deny != nil {
		msg.Errno = int32(deny.errno)
		message := cut(s.redact.text(deny.message), abi.MessageBytes)
		a = answer{meta: abi.HTTPResponse{Code: deny.code, Message: message, Retryable: deny.retryable()}}
	}
	msg.Meta, _ = json.Marshal(a.meta) // strings and numbers always encode
	return msg, a.body
}

func (s *session) try(ctx context.Context, doc, body []byte) (answer, *refusal) {
	if s.left <= 0 {
		return answer{}, &refusal{errno: abi.ErrnoBudget, code: abi.CodeEgressDenied, message: "http_requests is used up"}
	}
	s.left--
	var meta abi.HTTPRequest
	if err := json.Unmarshal(doc, &meta); err != nil {
		message := "decoding the request: " + err.Error()
		return answer{}, &refusal{errno: abi.ErrnoInval, code: abi.CodeContract, message: message}
	}
	if deny := s.denyChanged(meta, body); deny != nil {
		return answer{}, deny
	}
	u, err := parseTarget(meta.URL)
	if err != nil {
		return answer{}, &refusal{errno: abi.ErrnoInval, code: abi.CodeEgressDenied, message: err.Error()}
	}
	rt, deny := s.match(meta, u)
	if deny != nil {
		if deny.secret != nil {
			s.e.unreadable(ctx, deny.secret)
		}
		return answer{}, deny
	}
	timeout := time.Duration(s.e.limits.HTTPTimeoutMS) * time.Millisecond
	if t := time.Duration(meta.TimeoutMS) * time.Millisecond; t > 0 {
		timeout = min(timeout, t)
	}
	rctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if ctx.Err() != nil {
		return answer{}, explain(ctx, rctx, ctx.Err())
	}
	if err := rt.limiter.Wait(rctx); err != nil {
		message := "the request would exceed the rule's rps"
		return answer{}, &refusal{errno: abi.ErrnoRateLimit, code: abi.CodeRateLimited, message: message}
	}
	req, err := http.NewRequestWithContext(rctx, meta.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return answer{}, explain(ctx, rctx, err)
	}
	req.Header = rt.header
	a, err := s.exchange(req, rt.transport)
	if err != nil {
		return answer{}, explain(ctx, rctx, err)
	}
	return a, nil
}

// parseTarget accepts absolute http and https URLs that every parser reads alike.
func parseTarget(raw string) (*url.URL, error) {
	if strings.Contains(raw, "{{") {
		return nil, errors.New("the URL contains a placeholder, which only header values may contain")
	}
	if strings.ContainsAny(raw, "\\#") {
		return nil, errors.New("the URL contains a backslash or a fragment")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Opaque != "" || u.Host == "" {
		return nil, errors.New("the URL is not absolute http or https")
	}
	if u.User != nil {
		return nil, errors.New("the URL contains a user")
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err != nil && !validHost(strings.ToLower(host)) {
		return nil, errors.New("the URL's host is malformed")
	}
	if strings.Contains(host, "%") || strings.HasSuffix(u.Host, ":") {
		return nil, errors.New("the URL's host is malformed")
	}
	if _, err := cleanPath(u.EscapedPath()); err != nil {
		return nil, fmt.Errorf("the URL's path: %w", err)
	}
	return u, nil
}

// matched is the route of a request and the headers to send.
type matched struct {
	*route
	header http.Header
}

// match finds the rule that allows all of a request, including the secrets in its headers, and builds the
// headers. If a rule lacks only the file of a secret, match returns that refusal, because the request may
// succeed later.
func (s *session) match(meta abi.HTTPRequest, u *url.URL) (matched, *refusal) {
	routes, deny := s.routes(meta.Method, u)
	for _, rt := range routes {
		header, refused := s.header(rt, meta.Headers)
		if refused == nil {
			return matched{rt, header}, nil
		}
		if deny == nil || deny.secret == nil {
			deny = refused
		}
	}
	return matched{}, deny
}

// routes finds the rules that allow method and URL. If none does, the refusal is about the best match.
func (s *session) routes(method string, u *url.URL) ([]*route, *refusal) {
	if !slices.Contains(allMethods(), method) {
		return nil, denied("method %q", cut(method, 32))
	}
	if s.readOnly && method != http.MethodGet && method != http.MethodHead {
		return nil, denied("%s in a call that may only read", method)
	}
	port := defaultPort(u.Scheme)
	if p := u.Port(); p != "" {
		var err error
		if port, err = strconv.Atoi(p); err != nil {
			return nil, denied("port %q", p)
		}
	}
	path, err := cleanPath(u.EscapedPath())
	if err != nil {
		return nil, denied("path: %v", err)
	}
	var found []*route
	deny := denied("no rule for %s://%s:%d", u.Scheme, u.Hostname(), port)
	for i := range s.e.routes {
		r := &s.e.routes[i]
		switch {
		case r.scheme != u.Scheme || r.port != port || !matchHost(r.host, canonHost(u.Hostname())):
		case !underAny(path, r.prefixes):
			deny = denied("path %s is under no path_prefix of the rule for %s", path, r.host)
		case !slices.Contains(r.methods, method):
			deny = denied("method %s is not in the rule for %s", method, r.host)
		default:
			found = append(found, r)
		}
	}
	return found, deny
}

// forbiddenHeader reports whether a guest must not set a header. The host sets some. Others change
// framing, routing, method or path. accept-encoding would hide secrets from redaction. Many applications
// read "_" in a name as "-".
func forbiddenHeader(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	switch name {
	case "x-http-method", "x-http-method-override", "x-method-override",
		"x-original-method", "x-original-url", "x-rewrite-url",
		"host", "connection", "te", "trailer", "transfer-encoding", "content-length", "upgrade",
		"keep-alive", "forwarded", "expect", "accept-encoding", "via":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "x-forwarded-")
}

const maxHeaderBytes = 16 << 10

func (s *session) header(r *route, in map[string]string) (http.Header, *refusal) {
	out := http.Header{}
	total := 0
	for name, value := range in {
		name = strings.ToLower(name)
		if !isToken(name) || forbiddenHeader(name) {
			return nil, denied("header %q", cut(name, 64))
		}
		v, err := substitute(value, func(class, ref string) (string, error) { return s.lookup(r, class, ref) })
		var secret *secretError
		if errors.As(err, &secret) {
			return nil, &refusal{abi.ErrnoIO, abi.CodeSecretUnreadable, secret.Error(), secret}
		}
		if err != nil {
			return nil, denied("header %s: %v", name, err)
		}
		for _, c := range []byte(v) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return nil, denied("header %s contains a control character", name)
			}
		}
		if _, twice := out[http.CanonicalHeaderKey(name)]; twice {
			return nil, denied("header %s appears twice", name)
		}
		total += len(name) + len(v)
		out.Set(name, v)
	}
	if total > maxHeaderBytes+maxSecret {
		return nil, denied("headers are larger than %d bytes", maxHeaderBytes)
	}
	if out.Get("User-Agent") == "" {
		out.Set("User-Agent", "scimward-plugin")
	}
	return out, nil
}

func (s *session) lookup(r *route, class, ref string) (string, error) {
	switch class {
	case "secret":
		if !slices.Contains(r.secrets, ref) {
			return "", fmt.Errorf("secret %q is not for %s", cut(ref, 64), r.host)
		}
		return s.e.secrets.get(ref)
	case "credential":
		if s.credential == "" || ref != credentialRef {
			return "", fmt.Errorf("no credential %q in this call", cut(ref, 64))
		}
		if !r.identify {
			return "", fmt.Errorf("a credential may not be sent to %s: its rule is not marked identify", r.host)
		}
		return s.credential, nil
	default:
		return "", fmt.Errorf("%w %q", errPlaceholder, cut(class, 64))
	}
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// exchange sends one request over a transport, which follows no redirect, and reads the answer up to its
// cap.
func (s *session) exchange(req *http.Request, transport *http.Transport) (answer, error) {
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its cap; nothing to do about a close
	// Redact before the cut, so that no half of a secret at the cap remains.
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+maxSecret))
	if err != nil {
		return answer{}, fmt.Errorf("reading the body: %w", err)
	}
	truncated := len(b) > maxBody
	b, name := s.redact.bytes(b)
	s.removed.set(name)
	if len(b) > maxBody {
		b, truncated = b[:maxBody], true
	}
	return answer{abi.HTTPResponse{
		Status: resp.StatusCode, BodyLen: len(b), Truncated: truncated, Headers: s.guestHeaders(resp.Header),
		RetryAfterMS: retryAfter(resp.Header.Get("Retry-After"), s.e.now()).Milliseconds(),
	}, b}, nil
}

// maxGuestHeaders bounds the response headers that a guest reads, names and values.
const maxGuestHeaders = 8 << 10

func (s *session) guestHeaders(h http.Header) map[string]string {
	out := map[string]string{}
	left := maxGuestHeaders
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lower := strings.ToLower(name)
		if !guestHeader(lower) {
			continue
		}
		v, secret := s.redact.bytes([]byte(strings.Join(h[name], ", ")))
		if len(name)+len(v) <= left {
			s.removed.set(secret)
			left -= len(name) + len(v)
			out[lower] = string(v)
		}
	}
	return out
}

// guestHeader reports whether a guest may read a response header.
func guestHeader(name string) bool {
	switch name {
	case "content-type", "retry-after", "location", "etag", "link", "x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-ratelimit-")
}

// maxRetryAfter bounds the wait that an application or a guest may ask for.
const maxRetryAfter = time.Hour

// retryAfter parses Retry-After, seconds or a date (RFC 9110 §10.2.3). It returns 0 if the value is empty
// or malformed.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// explain converts an error of an exchange to the refusal that the guest sees. call is the context of the
// whole call, own the context of this request.
func explain(call, own context.Context, err error) *refusal {
	var addr *addressError
	var dns *net.DNSError
	var op *net.OpError
	deny := &refusal{errno: abi.ErrnoIO, code: abi.CodeAppError, message: err.Error()}
	switch {
	case errors.As(err, &addr):
		return denied("%v", addr)
	case call.Err() != nil:
		deny.errno, deny.code, deny.message = abi.ErrnoCanceled, abi.CodeDeadline, "the deadline of the call has passed"
	case own.Err() != nil:
		deny.errno, deny.message = abi.ErrnoTimeout, "no answer in time"
	case errors.As(err, &dns), errors.As(err, &op):
		deny.errno = abi.ErrnoConn
	}
	return deny
}
