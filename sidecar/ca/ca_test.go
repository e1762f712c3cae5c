package ca_test

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/ca"
	"github.com/scimward/scimward/sidecar/config"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func create(t *testing.T) (*ca.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := ca.Create(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

// TestIssue: what an opened authority issues is for its names and its use, and for nothing else.
func TestIssue(t *testing.T) {
	t.Parallel()
	_, dir := create(t)
	a, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CertPEM())
	names := []string{"Sidecar.example", "10.1.2.3", "spiffe://example/scimward"}
	for _, server := range []bool{true, false} {
		p, err := a.Issue(ca.Request{Names: names, Server: server}, now)
		if err != nil {
			t.Fatal(err)
		}
		for use, want := range map[x509.ExtKeyUsage]bool{
			x509.ExtKeyUsageServerAuth: server, x509.ExtKeyUsageClientAuth: !server,
		} {
			_, err := p.Leaf.Verify(x509.VerifyOptions{
				DNSName: "sidecar.example", Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
			})
			if (err == nil) != want {
				t.Errorf("server %t: use %d: %v", server, use, err)
			}
		}
		if got := config.PeerNames(p.Leaf); !slices.Equal(got, []string{"sidecar.example", "spiffe://example/scimward"}) ||
			p.Leaf.VerifyHostname("10.1.2.3") != nil || p.Leaf.NotAfter != now.Add(ca.DefaultLifetime) || p.Leaf.IsCA {
			t.Errorf("names %v, until %v, authority %t", got, p.Leaf.NotAfter, p.Leaf.IsCA)
		}
	}
}

// TestRenew: a renewed certificate differs in nothing but key, number and time.
func TestRenew(t *testing.T) {
	t.Parallel()
	a, _ := create(t)
	first, err := a.Issue(ca.Request{Names: []string{"e.example", "10.1.2.3", "spiffe://e/x"}, Lifetime: 48 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(40 * time.Hour)
	second, err := a.Renew(first.Leaf, later)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.PeerNames(first.Leaf), config.PeerNames(second.Leaf)) || second.Leaf.VerifyHostname("10.1.2.3") != nil ||
		!slices.Equal(first.Leaf.ExtKeyUsage, second.Leaf.ExtKeyUsage) || second.Leaf.NotAfter != later.Add(48*time.Hour) ||
		first.Leaf.SerialNumber.Cmp(second.Leaf.SerialNumber) == 0 || string(first.Key) == string(second.Key) {
		t.Errorf("from %+v to %+v", first.Leaf, second.Leaf)
	}
	other, _ := create(t)
	if _, err := other.Renew(first.Leaf, later); err == nil {
		t.Error("another authority renews the certificate")
	}
}

// TestRefusals: an authority issues nothing that is wrong, and outlives what it issues.
func TestRefusals(t *testing.T) {
	t.Parallel()
	a, _ := create(t)
	for want, r := range map[string]ca.Request{
		"needs a name":                {},
		"a wildcard belongs into":     {Names: []string{"*.example"}},
		`"a b" is no DNS name`:        {Names: []string{"a b"}},
		`"person@example" is no DNS`:  {Names: []string{"person@example"}},
		"a lifetime of 1m0s is not":   {Names: []string{"a"}, Lifetime: time.Minute},
		"a lifetime of 19801h0m0s is": {Names: []string{"a"}, Lifetime: ca.MaxLifetime + time.Hour},
	} {
		if _, err := a.Issue(r, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	end := now.Add(ca.AuthorityLifetime)
	if p, err := a.Issue(ca.Request{Names: []string{"a"}}, end.Add(-time.Hour)); err != nil || p.Leaf.NotAfter.After(end) {
		t.Errorf("a certificate outlives its authority: %v", err)
	}
	if _, err := a.Issue(ca.Request{Names: []string{"a"}}, end); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired authority issues: %v", err)
	}
}

// TestFiles: files are only for their owner, and nothing is overwritten by accident.
func TestFiles(t *testing.T) {
	t.Parallel()
	a, dir := create(t)
	p, err := a.Issue(ca.Request{Names: []string{"e.example"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "e.crt"), filepath.Join(dir, "e.key")
	if err := p.Write(cert, key); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{cert, key, filepath.Join(dir, ca.CertFile), filepath.Join(dir, ca.KeyFile)} {
		if info, err := os.Stat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if err := p.Write(cert, key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing again: %v", err)
	}
	if _, err := ca.Create(dir, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second authority in the folder: %v", err)
	}
	if err := os.Rename(key, filepath.Join(dir, ca.KeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(dir); err == nil || !strings.Contains(err.Error(), "are no pair") {
		t.Errorf("the key of another certificate: %v", err)
	}
	if err := os.Rename(cert, filepath.Join(dir, ca.CertFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(dir); err == nil || !strings.Contains(err.Error(), "is no authority") {
		t.Errorf("a certificate that is no authority: %v", err)
	}
}
