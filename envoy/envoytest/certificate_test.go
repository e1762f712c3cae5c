package envoytest_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/envoy/freeport"
)

func freePort(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// initialize runs `scimward init` for an Envoy on port.
func initialize(t *testing.T, dir string, port string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), built.scimward, "init", dir, "--url", "https://localhost:"+port,
		"--app-url", "http://127.0.0.1:1", "--client-id", "hr", "--issuer", "http://127.0.0.1:1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
}

// TestRenewedCertificate: Envoy shows a renewed certificate without a restart, when its files are moved to
// their place. The configuration is what `scimward init` writes.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePort(t)
	initialize(t, filepath.Join(dir, "conf"), port)
	file := filepath.Join(dir, "conf", "scimward.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	admin := "admin: 127.0.0.1:" + freePort(t)
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "admin: 127.0.0.1:9901", admin, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), built.scimward, "envoy", "bootstrap", "-c", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	bootstrap := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(bootstrap, out, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), built.envoy, "-c", bootstrap, "--use-dynamic-base-id", "--concurrency", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	shown := func() string {
		c, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return ""
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := ""
	eventually(t, "Envoy listens", func() string {
		if first = shown(); first == "" {
			return "nothing listens"
		}
		return ""
	})
	renewed := filepath.Join(dir, "renewed")
	initialize(t, renewed, port)
	for _, name := range []string{"tls.key", "tls.crt"} {
		if err := os.Rename(filepath.Join(renewed, name), filepath.Join(dir, "conf", name)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "Envoy shows the renewed certificate", func() string {
		if now := shown(); now == "" || now == first {
			return "it shows the former one"
		}
		return ""
	})
}
