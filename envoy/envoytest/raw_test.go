package envoytest_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// answer is the answer to a request. Status 0 means that the other side closed the
// connection, or reset the stream, without an answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) dialTLS(t *testing.T, tenant *stack.Tenant, protocol string) *tls.Conn {
	t.Helper()
	host := strings.TrimPrefix(tenant.URL, "https://")
	conn, err := stack.DialLoopback(t.Context(), "tcp", host)
	if err != nil {
		t.Fatalf("connecting to Envoy: %v", err)
	}
	name, _, _ := strings.Cut(host, ":")
	c := tls.Client(conn, &tls.Config{
		RootCAs: w.Roots, ServerName: name, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12,
	})
	if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), c.HandshakeContext(t.Context())); err != nil {
		t.Fatalf("connecting to Envoy: %v", err)
	}
	return c
}

// raw sends bytes unchanged over HTTP/1.1 and reads one answer.
func (w *world) raw(t *testing.T, tenant *stack.Tenant, request string) answer {
	t.Helper()
	c := w.dialTLS(t, tenant, "http/1.1")
	defer c.Close()
	// Envoy may answer and close before all was written.
	_, werr := io.WriteString(c, request)
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: strings.ToUpper(method)})
	if err != nil {
		t.Logf("no answer: %v", errors.Join(werr, err))
		return answer{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer))
	if err != nil && len(body) == 0 && res.StatusCode < 300 {
		t.Logf("the answer broke off: %v", err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// field is one header field of HTTP/2; pseudo fields are fields, too.
type field struct{ name, value string }

// raw2 sends header fields unchanged over HTTP/2 and reads one answer.
func (w *world) raw2(t *testing.T, tenant *stack.Tenant, fields []field, body string) answer {
	t.Helper()
	c := w.dialTLS(t, tenant, "h2")
	defer c.Close()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := enc.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			t.Fatalf("encoding %s: %v", f.name, err)
		}
	}
	_, err := io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(65536, nil)
	err = errors.Join(err, fr.WriteSettings(), fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == "",
	}))
	if body != "" {
		err = errors.Join(err, fr.WriteData(1, true, []byte(body)))
	}
	if err != nil {
		t.Fatalf("writing frames: %v", err)
	}
	return readStream(t, fr)
}

func readStream(t *testing.T, fr *http2.Framer) answer {
	t.Helper()
	a := answer{header: http.Header{}}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Logf("no further frame: %v", err)
			return a
		}
		ended := false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if s := f.PseudoValue("status"); s != "" {
				if a.status, err = strconv.Atoi(s); err != nil {
					t.Fatalf("reading the status: %v", err)
				}
			}
			for _, h := range f.RegularFields() {
				a.header.Add(h.Name, h.Value)
			}
			ended = f.StreamEnded()
		case *http2.DataFrame:
			a.body += string(f.Data())
			ended = f.StreamEnded()
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return a
		}
		if ended {
			return a
		}
	}
}

// h1 writes a request of HTTP/1.1. It adds Content-Length for a body; host "" leaves
// the Host line out.
func h1(method, target, host, body string, lines ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	if host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("Connection: close\r\n\r\n" + body)
	return b.String()
}

// chunks writes a body in the given chunks.
func chunks(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String() + "0\r\n\r\n"
}
