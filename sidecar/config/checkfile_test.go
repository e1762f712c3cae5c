package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/config"
)

// writePair writes a certificate and its key.
func writePair(tb testing.TB, cert, key string) {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestFileContent: the check finds a file that is in the wrong place, empty or unreadable.
func TestFileContent(t *testing.T) {
	dir := folder(t)
	writePair(t, filepath.Join(dir, "other.pem"), filepath.Join(dir, "other-key.pem"))
	for name, text := range map[string]string{"empty.txt": "", "blank.txt": " \n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := func(algorithm string) [2]string {
		return [2]string{"external_url: https://app.example.com", "external_url: https://app.example.com\n    policy: " +
			"{keys: [{id: k, file: policy.pem, algorithm: " + algorithm + "}]}"}
	}
	scim := func(tls string) [2]string {
		return [2]string{"scim: 127.0.0.1:8460", "scim: 127.0.0.1:8460\n  scim_tls: " + tls}
	}
	secret := func(file string) [2]string { return [2]string{"admin: secret.txt", "admin: " + file} }
	const at, ofSecret = "line 6: listen.scim_tls", "line 48: tenants[0].apps[0].plugin.secrets.admin: … "
	tests := map[string]struct {
		change [2]string // from and to
		want   []string  // "line path: message"
	}{
		"right": {scim("{cert: cert.pem, key: key.pem, client_ca: other.pem, client_names: [e.example]}"), nil},
		"swapped": {scim("{cert: key.pem, key: cert.pem}"), []string{
			at + ".cert: … contains no certificate, but a private key", at + ".key: … contains no private key, but a certificate",
		}},
		"twice": {scim("{cert: cert.pem, key: cert.pem}"), []string{
			at + ".key: … contains no private key, but a certificate",
		}},
		"no pair": {scim("{cert: cert.pem, key: other-key.pem}"), []string{
			at + ".key: … are no pair: private key does not match",
		}},
		"no PEM": {scim("{cert: secret.txt, key: key.pem}"), []string{at + ".cert: … contains no certificate;"}},
		"a key as CA": {scim("{cert: cert.pem, key: key.pem, client_ca: key.pem, client_names: [e.example]}"), []string{
			at + ".client_ca: … contains no certificate",
		}},
		"of Envoy": {
			[2]string{"check_timeout: 1s", "tls: {cert: cert.pem, key: other-key.pem}"},
			[]string{"line 9: envoy.tls.key: … are no pair"},
		},
		"policy key": {policy("ES256"), nil},
		"policy key of another type": {policy("RS256"), []string{
			"line 19: tenants[0].policy.keys[0].algorithm: … RS256 needs a key of type RSA, and this one is EC P-256: write ES256",
		}},
		"policy key of another curve": {policy("ES384"), []string{
			"line 19: tenants[0].policy.keys[0].algorithm: … ES384 needs a key of type EC P-384",
		}},
		"empty secret":  {secret("empty.txt"), []string{ofSecret + "is empty"}},
		"blank secret":  {secret("blank.txt"), []string{ofSecret + "is empty"}},
		"absent secret": {secret("none.txt"), []string{ofSecret + "cannot be read"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tt.change[0], tt.change[1], 1)
			_, err := config.Parse("f.yaml", dir, []byte(text))
			wantFaults(t, err, tt.want)
			file := filepath.Join(dir, "lenient.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.LoadLenient(file); err != nil {
				t.Errorf("the lenient load checks files: %v", err)
			}
		})
	}
}

func wantFaults(t *testing.T, err error, want []string) {
	t.Helper()
	faults := config.Faults(err)
	if len(faults) != len(want) {
		t.Fatalf("%v\nwant %q", err, want)
	}
	for i, f := range faults {
		start, end, _ := strings.Cut(want[i], "…")
		if s := f.String(); !strings.HasPrefix(s, start) || !strings.Contains(s, end) || f.Fix == "" {
			t.Errorf("%s\nwant %s", s, want[i])
		}
	}
}

// TestLenientLoad: LoadLenient needs no files of the configuration, but still reports faults of the
// text.
func TestLenientLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(good, "check_timeout: 1s", "tls: {cert: none.pem, key: none.pem}", 1))
	if _, err := config.Load(file); len(config.Faults(err)) != 4 {
		t.Errorf("%v, want four absent files", err)
	}
	c, err := config.LoadLenient(file)
	if err != nil || c.Listen.Metrics != "127.0.0.1:8461" || c.Tenants[0].Name != "acme" {
		t.Fatalf("lenient: %v %+v", err, c)
	}
	write(strings.Replace(good, "name: acme", "name: A", 1))
	if _, err := config.LoadLenient(file); len(config.Faults(err)) != 1 {
		t.Errorf("%v, want the fault of the name alone", err)
	}
	if _, err := config.LoadLenient(file + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// TestListenersHaveTheirOwnPorts: two listeners on one address are a fault.
func TestListenersHaveTheirOwnPorts(t *testing.T) {
	const (
		authz = "authz: unix:authz.sock"
		scim  = "scim: 127.0.0.1:8460"
		stats = "metrics: 127.0.0.1:8461"
		envoy = "listen: 0.0.0.0:8443"
	)
	tests := map[string]struct {
		from, to string
		want     []string
	}{
		"scim and metrics":     {stats, "metrics: 127.0.0.1:8460", []string{"line 6: listen.metrics: 127.0.0.1:8460 is the address of listen.scim too"}},
		"by name":              {stats, "metrics: localhost:8460", []string{"line 6: listen.metrics: localhost:8460 is the address of listen.scim too"}},
		"authz and scim":       {authz, "authz: 127.0.0.1:8460", []string{"line 5: listen.scim: 127.0.0.1:8460 is the address of listen.authz too"}},
		"Envoy everywhere":     {envoy, "listen: 0.0.0.0:8461", []string{"line 8: envoy.listen: 0.0.0.0:8461 is the address of listen.metrics too"}},
		"Envoy on IPv6":        {envoy, "listen: '[::]:8460'", []string{"line 8: envoy.listen: [::]:8460 is the address of listen.scim too"}},
		"Envoy without host":   {envoy, "listen: ':9901'", []string{"envoy.admin: 127.0.0.1:9901 is the address of envoy.listen too"}},
		"one socket":           {stats, "admin: unix:authz.sock", []string{"line 6: listen.admin: … is the address of listen.authz too"}},
		"the system chooses":   {scim + "\n  " + stats, "scim: 127.0.0.1:0\n  metrics: 127.0.0.1:0", nil},
		"two loopbacks":        {stats, "metrics: 127.0.0.2:8460", nil},
		"two kinds":            {stats, "metrics: unix:8460", nil},
		"beyond loopback":      {stats, "metrics: 0.0.0.0:8461", nil},
		"another host of ours": {envoy, "listen: 192.0.2.1:8460", nil},
	}
	dir := folder(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the good file has no %q", tt.from)
			}
			_, err := config.Parse("f.yaml", dir, []byte(strings.Replace(good, tt.from, tt.to, 1)))
			faults := config.Faults(err)
			if len(faults) != len(tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			for i, f := range faults {
				start, end, _ := strings.Cut(tt.want[i], "…")
				if s := f.String(); !strings.Contains(s, start) || !strings.Contains(s, end) {
					t.Errorf("%s\nwant %s", s, tt.want[i])
				}
			}
		})
	}
}

// TestTabs: the fault names a tab, which the message of the parser does not.
func TestTabs(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		line int
		msg  string
	}{
		"indents":         {"version: 1\nlisten:\n\tadmin: 127.0.0.1:1\n", 3, "a tab cannot indent"},
		"behind spaces":   {"version: 1\nlisten:\n  \tadmin: x\n  scim: y\n: :\t-\n", 3, "a tab cannot indent"},
		"another fault":   {"a: [\n", 0, "not YAML: yaml"},
		"in a text block": {"a: |\n  x\n  \ty\nb: [\n", 0, "not YAML: yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", t.TempDir(), []byte(tt.text))
			f := config.Faults(err)
			if len(f) != 1 || f[0].Line != tt.line || !strings.Contains(f[0].Msg, tt.msg) || f[0].Fix == "" {
				t.Errorf("%v, want line %d: %s", err, tt.line, tt.msg)
			}
		})
	}
}
