package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"
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
	for _, file := range c.certificates() {
		chain, err := Certificates(file)
		out[file] = certificateFile{chain, err}
	}
	return out
}

// certificates returns the files with certificates, by what [Config.Expiries] calls them.
func (c *Config) certificates() map[string]string {
	out := map[string]string{
		"authz": c.Listen.AuthzTLS.Cert, "authz_client_ca": c.Listen.AuthzTLS.ClientCA,
		"scim": c.Listen.SCIMTLS.Cert, "scim_client_ca": c.Listen.SCIMTLS.ClientCA,
		"envoy": c.Envoy.TLS.Cert, "envoy_client_ca": c.Envoy.TLS.ClientCA,
		"envoy_connect": c.Envoy.Connect.Cert, "envoy_connect_ca": c.Envoy.Connect.CA,
	}
	maps.DeleteFunc(out, func(_, file string) bool { return file == "" })
	return out
}

// Expiries returns when the certificates end: authz and scim for the listeners, envoy for what clients of Envoy see,
// envoy_connect for what Envoy shows to the listeners, and with _client_ca or _ca the first authority to end of those
// that each trusts. It leaves out what this process cannot read.
func (c *Config) Expiries(files CertificateFiles) map[string]time.Time {
	out := map[string]time.Time{}
	for name, file := range c.certificates() {
		chain := files[file].chain
		if !strings.HasSuffix(name, "_ca") {
			chain = chain[:min(1, len(chain))]
		}
		for _, cert := range chain {
			if at, ok := out[name]; !ok || cert.NotAfter.Before(at) {
				out[name] = cert.NotAfter
			}
		}
	}
	return out
}

// JudgeCertificates judges the certificates of the configuration as their peers do at the time now. It skips a
// file that only Envoy can read, or that is where Envoy runs.
func (c *Config) JudgeCertificates(files CertificateFiles, now time.Time) []Finding {
	j := judge{now: now, files: files, remote: c.Envoy.Dir != ""}
	j.certificate("envoy.tls.cert", c.Envoy.TLS.Cert, c.Hosts(), x509.ExtKeyUsageServerAuth)
	connect := &c.Envoy.Connect
	for path, l := range map[string]struct {
		own   *ListenerTLS
		addrs []string
	}{
		"listen.authz_tls": {&c.Listen.AuthzTLS, []string{connect.Authz, connect.Leash}},
		"listen.scim_tls":  {&c.Listen.SCIMTLS, []string{connect.SCIM}},
	} {
		j.certificate(path+".cert", l.own.Cert, connect.names(l.addrs), x509.ExtKeyUsageServerAuth)
		j.issuedBy(path+".cert", l.own.Cert, "envoy.connect.ca", connect.CA)
		j.authorities(path+".client_ca", l.own.ClientCA)
		j.issuedBy("envoy.connect.cert", connect.Cert, path+".client_ca", l.own.ClientCA)
	}
	j.certificate("envoy.connect.cert", connect.Cert, nil, x509.ExtKeyUsageClientAuth)
	if connect.CA != c.Listen.AuthzTLS.ClientCA {
		j.authorities("envoy.connect.ca", connect.CA)
	}
	j.admitted(c)
	slices.SortFunc(j.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(j.found) // two listeners may have one authority
}

// names returns the names that the certificate at the addresses must have.
func (c *Connect) names(addrs []string) []string {
	var out []string
	for _, a := range addrs {
		if name := c.NameAt(a); name != "" && c.CA != "" { // without ca Envoy trusts only the certificate itself
			out = append(out, name)
		}
	}
	return slices.Compact(out)
}

type judge struct {
	now    time.Time
	files  CertificateFiles
	remote bool // a missing file may be where Envoy runs
	found  []Finding
}

// read returns the certificates of a file. It returns none for a file that only Envoy can read, and after a
// finding.
func (j *judge) read(path, file string) []*x509.Certificate {
	if file == "" {
		return nil
	}
	f := j.files[file]
	envoys := j.remote && strings.HasPrefix(path, "envoy.") && errors.Is(f.err, fs.ErrNotExist)
	if f.err != nil && !errors.Is(f.err, fs.ErrPermission) && !envoys {
		j.add(path, "name a PEM file with certificates", "%v", f.err)
	}
	return f.chain
}

// admitted judges whether the listeners admit the certificate of Envoy by its names.
func (j *judge) admitted(c *Config) {
	chain, peers := j.files[c.Envoy.Connect.Cert].chain, NewPeers(c)
	if len(chain) == 0 {
		return
	}
	for listener, l := range map[string]*ListenerTLS{ListenerAuthz: &c.Listen.AuthzTLS, ListenerSCIM: &c.Listen.SCIMTLS} {
		if l.ClientCA != "" && !peers.Admits(listener, chain[0]) {
			names := cmp.Or(strings.Join(PeerNames(chain[0]), ", "), "it has none")
			j.add("envoy.connect.cert", "list a name of it in client_names of the listener or in envoys of a tenant or app",
				"the %s listener admits none of its names: %s", listener, names)
		}
	}
}

// authorities judges the time of authorities.
func (j *judge) authorities(path, file string) {
	for _, ca := range j.read(path, file) {
		j.time(path, "renew it, or remove it from the file", fmt.Sprintf("the authority %s in %s", ca.Subject, file), ca)
	}
}

func (j *judge) add(path, fix, format string, args ...any) {
	j.found = append(j.found, Finding{Path: path, Msg: fmt.Sprintf(format, args...), Fix: fix})
}

// certificate judges the first certificate of a file: its time, its names, its uses.
func (j *judge) certificate(path, file string, names []string, uses ...x509.ExtKeyUsage) {
	chain := j.read(path, file)
	if len(chain) == 0 {
		return
	}
	leaf := chain[0]
	j.time(path, "renew it", file, leaf)
	for _, name := range names {
		if !isFor(leaf, name) {
			j.add(path, "use a certificate with this name", "%s is not for the host %s", file, name)
		}
	}
	for _, use := range uses {
		if !allows(leaf, use) {
			j.add(path, "use a certificate with this extended key usage", "%s is not for %s", file, useName(use))
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

// isFor reports whether a certificate is for a DNS name, an address or a URI.
func isFor(c *x509.Certificate, name string) bool {
	if isURI(name) {
		return slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == name })
	}
	return c.VerifyHostname(name) == nil
}

// time judges whether a certificate is valid now and for a while.
func (j *judge) time(path, fix, what string, c *x509.Certificate) {
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
	switch {
	case j.now.After(c.NotAfter):
		j.add(path, fix, "%s expired on %s", what, day(c.NotAfter))
	case j.now.Before(c.NotBefore):
		j.add(path, "check the clock, or wait", "%s is not valid before %s", what, day(c.NotBefore))
	case c.NotAfter.Sub(j.now) < ExpiresSoon:
		j.add(path, fix, "%s expires on %s", what, day(c.NotAfter))
		j.found[len(j.found)-1].Warning = true
	}
}

// issuedBy checks that an authority of the file ca, of the key caPath, issued the certificate.
func (j *judge) issuedBy(path, file, caPath, ca string) {
	chain, authorities := j.files[file].chain, j.read(caPath, ca)
	if len(chain) == 0 || len(authorities) == 0 {
		return // read reports it
	}
	o := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		CurrentTime: chain[0].NotBefore.Add(time.Second), // its time is judged by itself
	}
	for _, c := range authorities {
		o.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		j.add(path, "use a certificate of an authority in "+caPath, "%s was not issued by %s: %v", file, ca, err)
	}
}
