package plugins_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

const (
	adminSecret = "s3cr3t-admin/value+1"
	cookie      = "sess-0123456789"
)

// seenRequest is a request as the application saw it.
type seenRequest struct {
	Method, Path, Host string
	Header             http.Header
	Body               string
}

// echo answers with parts of the request and keeps the last one.
func echo(last *seenRequest, count *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		*last = seenRequest{Method: r.Method, Path: r.RequestURI, Host: r.Host, Header: r.Header}
		w.Header().Set("X-Request-Id", r.Header.Get("Authorization"))
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("X-Ratelimit-Remaining", "7")
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/redirect"):
			w.Header().Set("Location", "http://169.254.169.254/latest")
			w.WriteHeader(http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/api/big"):
			fmt.Fprint(w, strings.Repeat("x", 1<<20-5), r.Header.Get("Authorization"), "tail")
		case strings.HasPrefix(r.URL.Path, "/api/slow"):
			<-r.Context().Done()
		case strings.HasPrefix(r.URL.Path, "/api/limited"):
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			fmt.Fprintf(w, "you sent %s %s", r.Header.Get("Authorization"), r.Header.Get("X-Cookie"))
		}
	})
}

func get(target string) abi.HTTPRequest { return abi.HTTPRequest{Method: "GET", URL: target} }

// gate returns the egress of one need below base, with a grant that covers it.
func gate(t *testing.T, base string, edit func(*plugins.Manifest, *plugins.Config)) *plugins.Egress {
	t.Helper()
	m := plugins.Manifest{Name: "m", Kinds: []abi.Kind{abi.KindPAT}}
	m.Capabilities.HTTP = []plugins.HTTPNeed{{
		BaseURL: "base_url", Methods: []string{"GET", "HEAD", "DELETE", "POST"}, PathPrefix: []string{"/api/"},
		Secrets: []string{"admin"}, Identify: true,
	}}
	file := filepath.Join(t.TempDir(), "module")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := plugintest.Local(t, base, file, m, map[string]string{"admin": adminSecret, "other": "other-secret-value"})
	if edit != nil {
		edit(&m, &cfg)
	}
	e, err := plugins.NewEgress(m, cfg, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestEgressRefusals: each request outside manifest and grant is denied, and none of them reaches
// the application.
func TestEgressRefusals(t *testing.T) {
	var last seenRequest
	var count atomic.Int32
	srv := httptest.NewServer(echo(&last, &count))
	defer srv.Close()
	port := srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]
	e := gate(t, srv.URL, nil)
	tests := []struct {
		name, method, url string
		header            map[string]string
		readOnly          bool
		want              abi.Errno
	}{
		{name: "other host", url: "http://localhost:" + port + "/api/x", want: abi.ErrnoDenied},
		{name: "other port", url: "http://127.0.0.1:1/api/x", want: abi.ErrnoDenied},
		{name: "no port", url: "http://127.0.0.1/api/x", want: abi.ErrnoDenied},
		{name: "other scheme", url: "https://127.0.0.1:" + port + "/api/x", want: abi.ErrnoDenied},
		{name: "other method", method: "PUT", want: abi.ErrnoDenied},
		{name: "CONNECT", method: "CONNECT", want: abi.ErrnoDenied},
		{name: "lower-case method", method: "get", want: abi.ErrnoDenied},
		{name: "write in a read-only call", method: "DELETE", readOnly: true, want: abi.ErrnoDenied},
		{name: "other path", url: srv.URL + "/admin", want: abi.ErrnoDenied},
		{name: "path with the prefix of a segment", url: srv.URL + "/apiary", want: abi.ErrnoDenied},
		{name: "dot segments", url: srv.URL + "/api/../admin", want: abi.ErrnoInval},
		{name: "escaped dots", url: srv.URL + "/api/%2e%2e/admin", want: abi.ErrnoInval},
		{name: "twice escaped dots", url: srv.URL + "/api/%252e%252e/admin", want: abi.ErrnoInval},
		{name: "dots with a parameter", url: srv.URL + "/api/..;a/admin", want: abi.ErrnoInval},
		{name: "escaped slash", url: srv.URL + "/api%2f..%2fadmin", want: abi.ErrnoInval},
		{name: "backslash", url: srv.URL + `/api\..\admin`, want: abi.ErrnoInval},
		{name: "double slash", url: srv.URL + "//api/x", want: abi.ErrnoInval},
		{name: "user in the URL", url: "http://a:b@127.0.0.1:" + port + "/api/x", want: abi.ErrnoInval},
		{name: "fragment", url: srv.URL + "/api/x#y", want: abi.ErrnoInval},
		{name: "relative", url: "/api/x", want: abi.ErrnoInval},
		{name: "file", url: "file:///etc/passwd", want: abi.ErrnoInval},
		{name: "placeholder in the URL", url: srv.URL + "/api/{{secret:admin}}", want: abi.ErrnoInval},
		{name: "zone", url: "http://[fe80::1%25eth0]/api/x", want: abi.ErrnoInval},
		{name: "Host header", header: map[string]string{"Host": "evil"}, want: abi.ErrnoDenied},
		{name: "hop-by-hop header", header: map[string]string{"transfer-encoding": "chunked"}, want: abi.ErrnoDenied},
		{name: "content-length", header: map[string]string{"content-length": "3"}, want: abi.ErrnoDenied},
		{name: "proxy header", header: map[string]string{"Proxy-Authorization": "x"}, want: abi.ErrnoDenied},
		{name: "forwarded header", header: map[string]string{"X-Forwarded-For": "1.2.3.4"}, want: abi.ErrnoDenied},
		{name: "accept-encoding", header: map[string]string{"Accept-Encoding": "gzip"}, want: abi.ErrnoDenied},
		{name: "forwarded header, underscores", header: map[string]string{"X_Forwarded_For": "1.2.3.4"}, want: abi.ErrnoDenied},
		{name: "framing header, underscores", header: map[string]string{"transfer_encoding": "chunked"}, want: abi.ErrnoDenied},
		{name: "another method in a header", readOnly: true, header: map[string]string{"X-HTTP-Method-Override": "DELETE"}, want: abi.ErrnoDenied},
		{name: "another path in a header", header: map[string]string{"X-Original-URL": "/admin"}, want: abi.ErrnoDenied},
		{name: "header smuggling", header: map[string]string{"x-a": "1\r\nX-B: 2"}, want: abi.ErrnoDenied},
		{name: "header name", header: map[string]string{"x a": "1"}, want: abi.ErrnoDenied},
		{name: "header twice in other case", header: map[string]string{"x-a": "1", "X-A": "2"}, want: abi.ErrnoDenied},
		{name: "large headers", header: map[string]string{"x-a": strings.Repeat("x", 32<<10)}, want: abi.ErrnoDenied},
		{name: "secret of no rule", header: map[string]string{"x-a": "{{secret:other}}"}, want: abi.ErrnoDenied},
		{name: "secret that does not exist", header: map[string]string{"x-a": "{{secret:nope}}"}, want: abi.ErrnoDenied},
		{name: "unknown placeholder", header: map[string]string{"x-a": "{{env:HOME}}"}, want: abi.ErrnoDenied},
		{name: "open placeholder", header: map[string]string{"x-a": "{{secret:admin"}, want: abi.ErrnoDenied},
		{name: "credential outside identify", header: map[string]string{"x-a": "{{credential:c1}}"}, want: abi.ErrnoDenied},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := abi.HTTPRequest{Method: tt.method, URL: tt.url, Headers: tt.header}
			if req.Method == "" {
				req.Method = "GET"
			}
			if req.URL == "" {
				req.URL = srv.URL + "/api/x"
			}
			before := count.Load()
			errno, meta, body := e.Call(tt.readOnly, "").Send(t.Context(), req, nil)
			if errno != tt.want || meta.Code != abi.CodeEgressDenied || meta.Retryable || meta.Message == "" || body != nil {
				t.Errorf("errno %d, %+v, %q; want %d and egress_denied", errno, meta, body, tt.want)
			}
			if count.Load() != before {
				t.Errorf("the application got %+v, want no request", last)
			}
		})
	}
	if errno, _, _ := e.Call(false, "").SendRaw(t.Context(), []byte(`{"method":`), nil); errno != abi.ErrnoInval {
		t.Errorf("broken document: errno %d, want %d", errno, abi.ErrnoInval)
	}
}

// TestEgressSecretsAndRedaction: the application gets the secret, and the guest reads asterisks in
// its place.
func TestEgressSecretsAndRedaction(t *testing.T) {
	var last seenRequest
	var count atomic.Int32
	srv := httptest.NewServer(echo(&last, &count))
	defer srv.Close()
	e := gate(t, srv.URL, nil)
	req := abi.HTTPRequest{Method: "GET", URL: srv.URL + "/api/whoami?x=1", Headers: map[string]string{
		"authorization": "Bearer {{secret:admin}}", "x-cookie": "{{credential:c1}}",
	}}
	errno, meta, body := e.Call(true, cookie).Send(t.Context(), req, nil)
	if errno != 0 || meta.Status != 200 {
		t.Fatalf("errno %d, %+v, want 0 and status 200", errno, meta)
	}
	if got := last.Header.Get("Authorization"); got != "Bearer "+adminSecret {
		t.Errorf("the application got authorization %q, want %q", got, "Bearer "+adminSecret)
	}
	if got := last.Header.Get("X-Cookie"); got != cookie {
		t.Errorf("the application got cookie %q, want %q", got, cookie)
	}
	if last.Path != "/api/whoami?x=1" || last.Header.Get("Accept-Encoding") != "" {
		t.Errorf("the application got %+v, want the path with its query and no accept-encoding", last)
	}
	if got := string(body); got != "you sent Bearer *** ***" {
		t.Errorf("the guest reads %q, want the secrets replaced by ***", got)
	}
	want := map[string]string{
		"content-type": "text/plain; charset=utf-8", "x-request-id": "Bearer ***", "x-ratelimit-remaining": "7",
	}
	if diff := cmp.Diff(want, meta.Headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}

	t.Run("credential for a rule that is not marked identify", func(t *testing.T) {
		e := gate(t, srv.URL, func(m *plugins.Manifest, _ *plugins.Config) { m.Capabilities.HTTP[0].Identify = false })
		before := count.Load()
		if errno, _, _ := e.Call(true, cookie).Send(t.Context(), req, nil); errno != abi.ErrnoDenied ||
			count.Load() != before {
			t.Errorf("errno %d, want denied and nothing sent", errno)
		}
	})
	t.Run("of two rules for one place, the rule with the secret", func(t *testing.T) {
		e := gate(t, srv.URL, func(m *plugins.Manifest, c *plugins.Config) {
			bare := m.Capabilities.HTTP[0]
			bare.Secrets, bare.Identify = nil, false
			m.Capabilities.HTTP = append([]plugins.HTTPNeed{bare}, m.Capabilities.HTTP...)
		})
		if errno, meta, _ := e.Call(true, cookie).Send(t.Context(), req, nil); errno != 0 {
			t.Errorf("errno %d, %+v, want 0", errno, meta)
		}
	})
	t.Run("an absent file, whatever the order of the rules", func(t *testing.T) {
		for _, first := range []bool{true, false} {
			e := gate(t, srv.URL, func(m *plugins.Manifest, c *plugins.Config) {
				bare := m.Capabilities.HTTP[0]
				bare.Secrets, bare.Identify = nil, false
				needs := []plugins.HTTPNeed{bare, m.Capabilities.HTTP[0]}
				if !first {
					slices.Reverse(needs)
				}
				m.Capabilities.HTTP = needs
				c.Grant.Secrets["admin"] += "-absent"
			})
			before := count.Load()
			if _, meta, _ := e.Call(true, cookie).Send(t.Context(), req, nil); meta.Code != abi.CodeSecretUnreadable ||
				count.Load() != before {
				t.Errorf("bare rule first %v: %+v, want %s and nothing sent", first, meta, abi.CodeSecretUnreadable)
			}
		}
	})
	t.Run("a changed file is read again", func(t *testing.T) {
		var file string
		e := gate(t, srv.URL, func(_ *plugins.Manifest, c *plugins.Config) { file = c.Grant.Secrets["admin"] })
		if err := os.WriteFile(file, []byte("rotated-secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.Call(true, cookie).Send(t.Context(), req, nil)
		if got := last.Header.Get("Authorization"); got != "Bearer rotated-secret" {
			t.Errorf("the application got %q, want the rotated secret", got)
		}
		if err := os.WriteFile(file, []byte("two\nlines\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if errno, meta, _ := e.Call(true, cookie).Send(t.Context(), req, nil); errno != abi.ErrnoIO ||
			meta.Code != abi.CodeSecretUnreadable || !meta.Retryable {
			t.Errorf("a secret of two lines: errno %d, %+v, want a retryable %s", errno, meta, abi.CodeSecretUnreadable)
		}
	})
}

// TestRedactionOfEncodings: an application that repeats a secret in another encoding does not
// reveal it to the guest.
func TestRedactionOfEncodings(t *testing.T) {
	const secret = "s3cr3t/value?&+of=the~application"
	answer := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	e := gate(t, srv.URL, func(_ *plugins.Manifest, c *plugins.Config) {
		if err := os.WriteFile(c.Grant.Secrets["admin"], []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	b64 := base64.StdEncoding.EncodeToString
	tests := map[string]struct{ answer, core string }{
		"plain":               {secret, secret},
		"query":               {url.QueryEscape(secret), "s3cr3t"},
		"lower-case escapes":  {strings.NewReplacer("%2F", "%2f", "%3F", "%3f", "%2B", "%2b", "%3D", "%3d").Replace(url.QueryEscape(secret)), "s3cr3t"},
		"hex":                 {hex.EncodeToString([]byte(secret)), hex.EncodeToString([]byte("s3cr3t"))},
		"upper-case hex":      {strings.ToUpper(hex.EncodeToString([]byte(secret))), strings.ToUpper(hex.EncodeToString([]byte("s3cr3t")))},
		"base64":              {b64([]byte(secret)), b64([]byte(secret[:6]))},
		"base64, unpadded":    {base64.RawURLEncoding.EncodeToString([]byte(secret)), b64([]byte(secret[:6]))},
		"Basic, one before":   {b64([]byte(":" + secret + "!")), b64([]byte(":" + secret)[3:9])},
		"Basic, two before":   {b64([]byte("u:" + secret + "!!")), b64([]byte("u:" + secret)[3:9])},
		"Basic, three before": {b64([]byte("us:" + secret)), b64([]byte("us:" + secret)[3:9])},
		"Basic, longer":       {b64([]byte("admin:" + secret + ";role=x")), b64([]byte("admin:" + secret)[6:12])},
	}
	for name, tt := range tests {
		answer = "before " + tt.answer + " after"
		errno, _, body := e.Call(true, "").Send(t.Context(), get(srv.URL+"/api/x"), nil)
		if errno != 0 || strings.Contains(string(body), tt.core) || !strings.HasPrefix(string(body), "before ") ||
			!strings.HasSuffix(string(body), " after") {
			t.Errorf("%s: errno %d, the guest reads %q, want 0 and nothing of the secret", name, errno, body)
		}
	}
}

// TestEgressAnswers: the guest gets bounded answers, and an error for each broken connection.
func TestEgressAnswers(t *testing.T) {
	var last seenRequest
	var count atomic.Int32
	srv := httptest.NewServer(echo(&last, &count))
	defer srv.Close()
	t.Run("redirects are not followed", func(t *testing.T) {
		errno, meta, _ := gate(t, srv.URL, nil).Call(false, "").Send(t.Context(), get(srv.URL+"/api/redirect"), nil)
		if errno != 0 || meta.Status != 302 || meta.Headers["location"] == "" || count.Load() != 1 {
			t.Errorf("errno %d, %+v, %d requests, want 302 with a location and 1", errno, meta, count.Load())
		}
	})
	t.Run("body cap, and no secret cut in half at it", func(t *testing.T) {
		req := abi.HTTPRequest{Method: "GET", URL: srv.URL + "/api/big", Headers: map[string]string{"authorization": "{{secret:admin}}"}}
		errno, meta, body := gate(t, srv.URL, nil).Call(false, "").Send(t.Context(), req, nil)
		if errno != 0 || !meta.Truncated || len(body) > 1<<20 || strings.Contains(string(body), adminSecret[:5]) {
			t.Errorf("errno %d, %d bytes, truncated %v, end %q, want 0, at most 1 MiB, true and no secret",
				errno, len(body), meta.Truncated, body[len(body)-12:])
		}
	})
	t.Run("retry-after", func(t *testing.T) {
		req := abi.HTTPRequest{Method: "DELETE", URL: srv.URL + "/api/limited"}
		errno, meta, _ := gate(t, srv.URL, nil).Call(false, "").Send(t.Context(), req, nil)
		if errno != 0 || meta.Status != 429 || meta.RetryAfterMS != 7000 {
			t.Errorf("errno %d, %+v, want 429 after 7000 ms", errno, meta)
		}
	})
	t.Run("the request's own timeout", func(t *testing.T) {
		req := abi.HTTPRequest{Method: "GET", URL: srv.URL + "/api/slow", TimeoutMS: 30}
		errno, meta, _ := gate(t, srv.URL, nil).Call(false, "").Send(t.Context(), req, nil)
		if errno != abi.ErrnoTimeout || !meta.Retryable {
			t.Errorf("errno %d, %+v, want %d and retryable", errno, meta, abi.ErrnoConn)
		}
	})
	t.Run("the call's deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		errno, meta, _ := gate(t, srv.URL, nil).Call(false, "").Send(ctx, get(srv.URL+"/api/slow"), nil)
		if errno != abi.ErrnoCanceled || meta.Code != abi.CodeDeadline {
			t.Errorf("errno %d, %+v, want %d and deadline", errno, meta, abi.ErrnoCanceled)
		}
	})
	t.Run("budget", func(t *testing.T) {
		e := gate(t, srv.URL, func(_ *plugins.Manifest, c *plugins.Config) { c.Grant.Limits.HTTPRequests = 2 })
		call := e.Call(false, "")
		for i, want := range []abi.Errno{0, 0, abi.ErrnoBudget} {
			if errno, _, _ := call.Send(t.Context(), get(srv.URL+"/api/x"), nil); errno != want {
				t.Errorf("request %d: errno %d, want %d", i, errno, want)
			}
		}
	})
	t.Run("no application", func(t *testing.T) {
		dead := httptest.NewServer(http.NotFoundHandler())
		dead.Close()
		errno, meta, _ := gate(t, dead.URL, nil).Call(false, "").Send(t.Context(), get(dead.URL+"/api/x"), nil)
		if errno != abi.ErrnoConn || !meta.Retryable {
			t.Errorf("errno %d, %+v, want %d and retryable", errno, meta, abi.ErrnoConn)
		}
	})
}

// TestEgressAddresses lists what a host resolves to. The host is dialled only if every address is
// allowed.
func TestEgressAddresses(t *testing.T) {
	var last seenRequest
	var count atomic.Int32
	srv := httptest.NewServer(echo(&last, &count))
	defer srv.Close()
	port, err := strconv.Atoi(srv.URL[strings.LastIndexByte(srv.URL, ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		addrs   []string
		private []string
		want    abi.Errno
	}{
		{"loopback without a range", []string{"127.0.0.1"}, nil, abi.ErrnoDenied},
		{"loopback in the range", []string{"127.0.0.1"}, []string{"127.0.0.0/8"}, 0},
		{"loopback in another range", []string{"127.0.0.1"}, []string{"10.0.0.0/8"}, abi.ErrnoDenied},
		{"mapped loopback", []string{"::ffff:127.0.0.1"}, nil, abi.ErrnoDenied},
		{"public and private mixed", []string{"1.1.1.1", "127.0.0.1"}, nil, abi.ErrnoDenied},
		{"allowed and not allowed mixed", []string{"127.0.0.1", "10.1.1.1"}, []string{"127.0.0.0/8"}, abi.ErrnoDenied},
		{"metadata though the range contains it", []string{"169.254.169.254"}, []string{"0.0.0.0/0"}, abi.ErrnoDenied},
		{"no address", nil, []string{"127.0.0.0/8"}, abi.ErrnoConn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, c := plainHTTP("*.corp.example", port, tt.private)
			resolve := func(context.Context, string) ([]netip.Addr, error) {
				var out []netip.Addr
				for _, a := range tt.addrs {
					out = append(out, netip.MustParseAddr(a))
				}
				return out, nil
			}
			e, err := plugins.NewEgress(m, c, resolve, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			before := count.Load()
			errno, meta, _ := e.Call(false, "").Send(t.Context(), get(fmt.Sprintf("http://app.corp.example:%d/x", port)), nil)
			if errno != tt.want {
				t.Errorf("errno %d, %+v, want %d", errno, meta, tt.want)
			}
			if sent := count.Load() - before; (sent == 1) != (tt.want == 0) {
				t.Errorf("%d requests arrived, want one only if allowed", sent)
			}
		})
	}
}

// plainHTTP needs app.corp.example and grants host, both with the port and private ranges.
func plainHTTP(host string, port int, private []string) (m plugins.Manifest, c plugins.Config) {
	m.Capabilities.HTTP = []plugins.HTTPNeed{{
		Scheme: "http", Host: "app.corp.example", Port: port, AllowPrivate: private,
	}}
	c.Grant.HTTP = []plugins.HTTPRule{{Scheme: "http", Host: host, Port: port, AllowPrivate: private}}
	return m, c
}

// TestCheckAddr: only a rule allows private addresses, and no rule allows the forbidden ranges.
func TestCheckAddr(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, a := range []string{
		"169.254.0.1", "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "fe80::1", "0.0.0.0", "::",
		"224.0.0.1", "255.255.255.255", "ff02::1",
	} {
		if plugins.CheckAddr(netip.MustParseAddr(a), all...) == nil {
			t.Errorf("CheckAddr(%s) with every range = nil, want an error", a)
		}
	}
	for _, a := range []string{"10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "198.18.0.1", "::1", "fc00::1", "64:ff9b::a00:1", "2002:a00:1::"} {
		if plugins.CheckAddr(netip.MustParseAddr(a)) == nil {
			t.Errorf("CheckAddr(%s) = nil, want an error", a)
		}
		if err := plugins.CheckAddr(netip.MustParseAddr(a), all...); err != nil {
			t.Errorf("CheckAddr(%s) with every range = %v, want nil", a, err)
		}
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111"} {
		if err := plugins.CheckAddr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("CheckAddr(%s) = %v, want nil", a, err)
		}
	}
}

// TestEgressTLS: egress accepts TLS 1.2 and newer, and only certificates of the rule's authorities.
func TestEgressTLS(t *testing.T) {
	serve := func(maximum uint16) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.TLS = &tls.Config{MaxVersion: maximum, MinVersion: tls.VersionTLS10}
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refused handshakes are expected
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	tests := []struct {
		name    string
		maximum uint16
		trust   bool
		ok      bool
	}{
		{"trusted", tls.VersionTLS13, true, true},
		{"TLS 1.2", tls.VersionTLS12, true, true},
		{"TLS 1.1", tls.VersionTLS11, true, false},
		{"unknown authority", tls.VersionTLS13, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(tt.maximum)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
			if err := os.WriteFile(ca, cert, 0o600); err != nil {
				t.Fatal(err)
			}
			e := gate(t, srv.URL, func(_ *plugins.Manifest, c *plugins.Config) {
				if tt.trust {
					c.Grant.HTTP[0].CAFile = ca
				}
			})
			errno, meta, _ := e.Call(false, "").Send(t.Context(), get(srv.URL+"/api/x"), nil)
			if (errno == 0) != tt.ok {
				t.Errorf("errno %d, %+v, want ok %v", errno, meta, tt.ok)
			}
		})
	}
}

// TestEgressIgnoresProxyEnvironment: requests do not use the proxy of the environment.
func TestEgressIgnoresProxyEnvironment(t *testing.T) {
	var count atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { count.Add(1) }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	resolve := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	m, c := plainHTTP("app.corp.example", 1, []string{"127.0.0.0/8"})
	e, err := plugins.NewEgress(m, c, resolve, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	errno, _, _ := e.Call(false, "").Send(t.Context(), get("http://app.corp.example:1/x"), nil)
	if errno != abi.ErrnoConn || count.Load() != 0 {
		t.Errorf("errno %d, the proxy got %d requests, want %d and 0", errno, count.Load(), abi.ErrnoConn)
	}
}

// TestRetryAfter: seconds and dates are read, bounded to an hour, and anything else is 0.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "99999": time.Hour, "-1": 0, "soon": 0, "1.5": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Minute).Format(http.TimeFormat):     0,
		now.Add(48 * time.Hour).Format(http.TimeFormat):   time.Hour,
	}
	for v, want := range tests {
		if got := plugins.RetryAfter(v, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", v, got, want)
		}
	}
}

// TestNeedWithoutBaseURL omits the URL of a need: the error must name the key of the configuration
// to set.
func TestNeedWithoutBaseURL(t *testing.T) {
	m := plugins.Manifest{Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{{BaseURL: "api_url"}}}}
	for _, settings := range []map[string]any{nil, {"api_url": 7}} {
		_, err := plugins.NewEgress(m, plugins.Config{Settings: settings}, nil, time.Now)
		if err == nil || !strings.Contains(err.Error(), "set plugin.config.api_url") {
			t.Errorf("settings %v: %v, want it to say what to set", settings, err)
		}
	}
}

// TestNeedWithoutGrant removes one thing from a grant that covers all needs: the error must name
// the need.
func TestNeedWithoutGrant(t *testing.T) {
	need := plugins.HTTPNeed{
		Host: "gitlab.corp.example", Methods: []string{"GET", "DELETE"}, PathPrefix: []string{"/api/v4/users"},
		Secrets: []string{"admin"}, AllowPrivate: []string{"10.20.0.0/16"}, Identify: true,
	}
	full := plugins.HTTPRule{
		Host: "*.corp.example", Methods: []string{"GET", "DELETE", "POST"}, PathPrefix: []string{"/api/"},
		Secrets: []string{"admin"}, AllowPrivate: []string{"10.0.0.0/8"}, Identify: true,
	}
	tests := []struct {
		name string
		edit func(*plugins.Grant)
		want string
	}{
		{"all", func(*plugins.Grant) {}, ""},
		{"nothing", func(g *plugins.Grant) { g.HTTP = nil }, "GET,DELETE https://gitlab.corp.example:443/api/v4/users/"},
		{"another host", func(g *plugins.Grant) { g.HTTP[0].Host = "*.gitlab.corp.example" }, "plugin.http has no rule for this scheme, host and port"},
		{"another port", func(g *plugins.Grant) { g.HTTP[0].Port = 8443 }, "plugin.http has no rule for this scheme, host and port"},
		{"plain HTTP", func(g *plugins.Grant) { g.HTTP[0].Scheme, g.HTTP[0].Port = "http", 443 }, "plugin.http has no rule for this scheme, host and port"},
		{"method", func(g *plugins.Grant) { g.HTTP[0].Methods = nil }, "plugin.http[0] does not grant method DELETE"},
		{"path", func(g *plugins.Grant) { g.HTTP[0].PathPrefix = []string{"/api/v4/users/x"} }, "path /api/v4/users/"},
		{"secret in the rule", func(g *plugins.Grant) { g.HTTP[0].Secrets = nil }, `secret "admin"`},
		{"secret's file", func(g *plugins.Grant) { g.Secrets = nil }, `secret "admin", but plugin.secrets names no file`},
		{"private range", func(g *plugins.Grant) { g.HTTP[0].AllowPrivate = []string{"10.20.0.0/24"} }, "private range 10.20.0.0/16"},
		{"identify", func(g *plugins.Grant) { g.HTTP[0].Identify = false }, "identify"},
		{"broken rule", func(g *plugins.Grant) { g.HTTP[0].Host = "https://x" }, "plugin.http[0].host"},
		{"limit above the maximum", func(g *plugins.Grant) { g.Limits.Instances = 17 }, "plugin.instances"},
		{"authorities that are not there", func(g *plugins.Grant) { g.HTTP[0].CAFile = "absent.pem" }, "ca_file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := plugins.Grant{HTTP: []plugins.HTTPRule{full}, Secrets: map[string]string{"admin": "file"}}
			tt.edit(&g)
			m := plugins.Manifest{Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{need}}}
			_, err := plugins.NewEgress(m, plugins.Config{Grant: g}, nil, time.Now)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("a full grant: %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
