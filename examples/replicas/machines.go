package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

const (
	cores = 3
	edges = 2
)

// machines are the processes of the installation, each with an address and a folder of its own.
type machines struct {
	dir, net        string // net: the first three numbers of the addresses
	scimward, envoy string
	app, jwks       string
	directory       *idp.Client // of the identity service, through the Envoy of the first edge
	running         map[string]*stack.Process
}

// network chooses addresses that hardly any other program uses.
func network() string {
	var b [2]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return fmt.Sprintf("127.%d.%d", b[0], b[1])
}

func (m *machines) core(i int) string { return fmt.Sprintf("core-%d", i+1) }
func (m *machines) edge(i int) string { return fmt.Sprintf("edge-%d", i+1) }

// host returns the address of a folder.
func (m *machines) host(folder string) string {
	number := int(folder[len(folder)-1] - '0')
	if strings.HasPrefix(folder, "edge") {
		return fmt.Sprintf("%s.%d", m.net, 20+number)
	}
	return fmt.Sprintf("%s.%d", m.net, 10+number)
}

// write writes the folders of all machines.
func (m *machines) write(ctx context.Context) error {
	args := []string{
		"init", m.dir, "--topology", "cores+edges", "--app-url", m.app, "--client-id", "hr", "--jwks-uri", m.jwks,
	}
	for i := range cores {
		args = append(args, "--core-host", m.host(m.core(i)))
	}
	for i := range edges {
		args = append(args, "--edge-host", m.host(m.edge(i)))
	}
	if out, err := exec.CommandContext(ctx, m.scimward, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("scimward init: %w\n%s", err, out)
	}
	return nil
}

// start starts scimward in a folder.
func (m *machines) start(folder string) error {
	return m.launch(folder, folder, m.scimward, "serve", "-c", "scimward.yaml")
}

// startEnvoy starts the Envoy of an edge.
func (m *machines) startEnvoy(folder string) error {
	return m.launch("envoy of "+folder, folder, m.envoy,
		"-c", "envoy.yaml", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
}

func (m *machines) launch(name, folder, program string, args ...string) error {
	dir := filepath.Join(m.dir, folder)
	p, err := stack.Launch(dir, filepath.Join(dir, filepath.Base(program)+".log"), program, args...)
	if err != nil {
		return err
	}
	if m.running == nil {
		m.running = map[string]*stack.Process{}
	}
	m.running[name] = p
	return nil
}

// kill ends scimward in a folder as a power failure does.
func (m *machines) kill(folder string) error {
	p := m.running[folder]
	delete(m.running, folder)
	return p.Kill()
}

// close ends every process. The servers of the log cannot all end in good order, so none has to.
func (m *machines) close() error {
	var errs []error
	for _, p := range m.running {
		errs = append(errs, p.Kill())
	}
	return errors.Join(errs...)
}

// ready waits until scimward in a folder says that it is ready.
func (m *machines) ready(ctx context.Context, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	last := "no answer"
	err := stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.host(folder)+":8461/readyz", http.NoBody)
		if err != nil {
			return false, fmt.Errorf("making a request: %w", err)
		}
		status, err := statusOf(http.DefaultClient, req)
		last = fmt.Sprint(status, " ", err)
		return status == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; its last answer: %s\n%s", folder, err, last, m.running[folder].Log())
	}
	return nil
}

// client sends to the Envoy of an edge, whatever the URL.
func (m *machines) client(edge int) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // init makes the certificate on loopback
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, m.host(m.edge(edge))+":8443")
		},
	}}
}

// get asks the application as a user, through the Envoy of an edge.
func (m *machines) get(ctx context.Context, c *http.Client, user string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://app.localhost:8443/page", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("X-Forwarded-User", user)
	return statusOf(c, req)
}

func statusOf(c *http.Client, req *http.Request) (int, error) {
	res, err := c.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", req.URL, err)
	}
	return res.StatusCode, res.Body.Close()
}

// command runs a scimward command for the process in a folder.
func (m *machines) command(ctx context.Context, folder string, args ...string) (string, error) {
	args = append(args, "-c", filepath.Join(m.dir, folder, "scimward.yaml"))
	out, err := exec.CommandContext(ctx, m.scimward, args...).CombinedOutput()
	return string(out), err
}
