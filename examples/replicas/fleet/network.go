package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/store/log/jetstream/clustertest/blackhole"
)

// way is how one machine reaches a port of another.
type way struct {
	from, to string
	port     int
}

// The ports of a core that other machines reach: the two of its server of the log, and those for edges and their
// Envoys.
var ports = []int{4222, 6222, 7222, 8460, 8470}

// detour returns the configuration of a machine in which a proxy is on each of its ways. The proxies have the address
// of their target, so its certificate stays right, and ports of their own.
func (f *Fleet) detour(ctx context.Context, from, text string) (string, error) {
	for _, to := range f.Cores() {
		for i, port := range ports {
			direct := net.JoinHostPort(f.Host(to), strconv.Itoa(port))
			if to == from || !strings.Contains(text, direct) {
				continue
			}
			at := net.JoinHostPort(f.Host(to), strconv.Itoa(20000+10*number(from)+i))
			p, err := blackhole.Listen(ctx, at, direct)
			if err != nil {
				return "", fmt.Errorf("the way from %s to %s: %w", from, to, err)
			}
			f.ways[way{from, to, port}] = p
			text = strings.ReplaceAll(text, direct, at)
		}
	}
	return text, nil
}

// Cut loses what two machines send to each other, until Heal.
func (f *Fleet) Cut(a, b string) { f.between(a, b, (*blackhole.Proxy).Cut) }

// Heal ends Cut.
func (f *Fleet) Heal(a, b string) { f.between(a, b, (*blackhole.Proxy).Heal) }

func (f *Fleet) between(a, b string, do func(*blackhole.Proxy)) {
	for w, p := range f.ways {
		if w.from == a && w.to == b || w.from == b && w.to == a {
			do(p)
		}
	}
}

// Client makes connections of its own to the Envoy of an edge, whatever the URL.
func (f *Fleet) Client(edge string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // init makes the certificate on loopback
		DialContext:         to(f.Host(edge) + ":8443"),
		MaxIdleConnsPerHost: 64,
	}}
}

func to(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

const appURL = "https://app.localhost:8443"

// Directory is the identity service at the Envoy of an edge.
func (f *Fleet) Directory(edge string) (*idp.Client, error) { return f.directory(f.Client(edge)) }

func (f *Fleet) directory(c *http.Client) (*idp.Client, error) {
	d, err := idp.NewClient(idp.ClientOptions{
		Keys: f.keys, ClientID: client, BaseURL: SCIMURL, HTTPClient: c,
	})
	if err != nil {
		return nil, fmt.Errorf("making the client of the identity service: %w", err)
	}
	return d, nil
}

// DirectoryAt is the identity service at one core, without an Envoy between.
func (f *Fleet) DirectoryAt(core string) (*idp.Client, error) {
	c, err := f.ClientAt(core)
	if err != nil {
		return nil, err
	}
	return f.directory(c)
}

// SCIMURL is the SCIM service for an identity service.
const SCIMURL = appURL + "/scim/v2"

// ClientAt makes connections of its own to the SCIM service of one core, whatever the URL, as an Envoy does.
func (f *Fleet) ClientAt(core string) (*http.Client, error) {
	dir := f.Dir("edge-1") // whose Envoy may ask the cores
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "envoy.crt"), filepath.Join(dir, "envoy.key"))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of an Envoy: %w", err)
	}
	root, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: f.Host(core),
		},
		DialContext: to(f.Host(core) + ":8460"), MaxIdleConnsPerHost: 64,
	}}, nil
}

// Get asks the application as a user whose session began at a time, and returns the status.
func Get(ctx context.Context, c *http.Client, user string, session time.Time) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, appURL+"/page", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("X-Forwarded-User", user)
	req.Header.Set("X-Session-Start", strconv.FormatInt(session.Unix(), 10))
	status, _, err = do(c, req)
	return status, err
}

// IsReady asks scimward on a machine whether it is ready, and returns what it answered.
func (f *Fleet) IsReady(ctx context.Context, machine string) (ok bool, answer string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // it may be paused
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.Host(machine)+":8461/readyz", http.NoBody)
	if err != nil {
		return false, err.Error()
	}
	status, body, err := do(http.DefaultClient, req)
	if err != nil {
		return false, err.Error()
	}
	return status == http.StatusOK, fmt.Sprintf("%d %s", status, body)
}

func do(c *http.Client, req *http.Request) (status int, body []byte, err error) {
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking %s: %w", req.URL, err)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, errors.Join(err, res.Body.Close())
}
