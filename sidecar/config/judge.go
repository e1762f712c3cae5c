package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// ExpiresSoon is how long before its end [Config.JudgeCertificates] warns about a certificate.
const ExpiresSoon = 14 * 24 * time.Hour

// Finding is a fault that does not prevent a start, because refusing to start would do more harm: a
// certificate that clients or peers refuse, now or soon.
type Finding struct {
	File    string `json:"file,omitempty"` // of a tenant; empty for the main file
	Line    int    `json:"line,omitempty"` // of the file, 0 if it is none of one line
	Path    string `json:"path"`           // of the key, such as envoy.tls.cert
	Msg     string `json:"message"`
	Fix     string `json:"fix"`
	Warning bool   `json:"warning"` // it works today
}

func (f Finding) String() string {
	kind := "fault"
	if f.Warning {
		kind = "warning"
	}
	return fmt.Sprintf("%s: %s: %s; %s", kind, f.Path, f.Msg, f.Fix)
}

// CertificateFiles has what the certificate files of a configuration contained when they were read.
type CertificateFiles map[string]certificateFile

type certificateFile struct {
	chain []*x509.Certificate
	err   error
}

// ReadCertificates reads the certificates that the configuration names.
func (c *Config) ReadCertificates() CertificateFiles {
	out := CertificateFiles{}
	for _, t := range []*TLS{&c.Envoy.TLS, &c.Listen.SCIMTLS, &c.Listen.AuthzTLS} {
		for _, file := range []string{t.Cert, t.ClientCA} {
			if file == "" {
				continue
			}
			chain, err := Certificates(file)
			out[file] = certificateFile{chain, err}
		}
	}
	return out
}

// JudgeCertificates judges the certificates of the configuration as their peers do at the time now. It skips a
// file that only Envoy can read.
func (c *Config) JudgeCertificates(files CertificateFiles, now time.Time) []Finding {
	j := judge{now: now, files: files}
	j.certificate("envoy.tls.cert", c.Envoy.TLS, c.Hosts(), x509.ExtKeyUsageServerAuth)
	j.certificate("listen.scim_tls.cert", c.Listen.SCIMTLS, nil, x509.ExtKeyUsageServerAuth)
	// Envoy shows the certificate of the authz listener as its own, to the same listener.
	j.certificate("listen.authz_tls.cert", c.Listen.AuthzTLS, nil, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	j.issuedBy("listen.authz_tls.cert", c.Listen.AuthzTLS)
	return j.found
}

type judge struct {
	now   time.Time
	files CertificateFiles
	found []Finding
}

func (j *judge) add(path, fix, format string, args ...any) {
	j.found = append(j.found, Finding{Path: path, Msg: fmt.Sprintf(format, args...), Fix: fix})
}

// certificate judges the first certificate of t: its time, its host names, its uses.
func (j *judge) certificate(path string, t TLS, hosts []string, uses ...x509.ExtKeyUsage) {
	if t.Cert == "" {
		return
	}
	file := j.files[t.Cert]
	if file.err != nil {
		if !errors.Is(file.err, fs.ErrPermission) {
			j.add(path, "name a PEM file with the certificate first", "%v", file.err)
		}
		return
	}
	leaf := file.chain[0]
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
	switch {
	case j.now.After(leaf.NotAfter):
		j.add(path, "renew it", "%s expired on %s", t.Cert, day(leaf.NotAfter))
	case j.now.Before(leaf.NotBefore):
		j.add(path, "check the clock, or wait", "%s is not valid before %s", t.Cert, day(leaf.NotBefore))
	case leaf.NotAfter.Sub(j.now) < ExpiresSoon:
		j.add(path, "renew it", "%s expires on %s", t.Cert, day(leaf.NotAfter))
		j.found[len(j.found)-1].Warning = true
	}
	for _, host := range hosts {
		if leaf.VerifyHostname(host) != nil {
			j.add(path, "use a certificate with this name", "%s is not for the host %s", t.Cert, host)
		}
	}
	for _, use := range uses {
		if !allows(leaf, use) {
			j.add(path, "use a certificate with this extended key usage", "%s is not for %s", t.Cert, useName(use))
		}
	}
}

func useName(use x509.ExtKeyUsage) string {
	if use == x509.ExtKeyUsageClientAuth {
		return "clients (clientAuth)"
	}
	return "servers (serverAuth)"
}

// allows reports whether a certificate may be used so. Without the extension it may be used for all.
func allows(c *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, use) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// issuedBy checks that an authority of client_ca issued the certificate.
func (j *judge) issuedBy(path string, t TLS) {
	if t.Cert == "" || t.ClientCA == "" {
		return
	}
	own, authorities := j.files[t.Cert], j.files[t.ClientCA]
	if own.err != nil {
		return // certificate reports it
	}
	if authorities.err != nil {
		j.add(path, "name a PEM file with the authority", "%v", authorities.err)
		return
	}
	chain := own.chain
	o := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime: chain[0].NotBefore.Add(time.Second), // its time is judged by itself
	}
	for _, c := range authorities.chain {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		j.add(path, "use a certificate of an authority in client_ca", "%s was not issued by %s: %v", t.Cert, t.ClientCA, err)
	}
}
