package config

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
)

// Load reads and checks a configuration file and fills in the defaults. If the file has faults, the
// error is a *[FaultsError].
func Load(path string) (*Config, error) { return load(path, false) }

// LoadLenient is [Load] without the checks of the files that the configuration names. It is for
// commands that only ask a running sidecar, because their user may not be allowed to read its
// secrets. With a [FaultsError] it also returns what it could read: the sidecar goes on with the
// former configuration, and its operators must reach it.
func LoadLenient(path string) (*Config, error) { return load(path, true) }

func load(path string, lenient bool) (*Config, error) {
	b, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", path, err)
	}
	return parse(path, filepath.Dir(abs), b, lenient)
}

// Parse is [Load] for the text of a file. name appears in errors. Relative paths are relative to
// dir.
func Parse(name, dir string, b []byte) (*Config, error) { return parse(name, dir, b, false) }

func parse(name, dir string, b []byte, lenient bool) (*Config, error) {
	c := &Config{}
	refuse := func(faults ...Fault) (*Config, error) {
		if !lenient {
			c = nil
		}
		return c, &FaultsError{File: name, Faults: faults}
	}
	doc, fault := document(b, "move tenants into files of their own, with tenants_dir",
		"run `scimward init DIR` for a commented start")
	if fault != nil {
		fault.Path = wholeFile
		c.complete(folder(dir))
		return refuse(*fault)
	}
	d := &decoder{at: map[string]position{}}
	d.decode(doc, reflect.ValueOf(c).Elem(), "", 0)
	c.complete(folder(dir))
	d.tenantFiles(c)
	check(c, d, lenient)
	if len(d.faults) > 0 {
		for i := range d.faults {
			if f := &d.faults[i]; f.File != "" {
				f.Path = withinFile(f.Path)
			}
		}
		slices.SortStableFunc(d.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
		})
		return refuse(d.faults...)
	}
	c.shareRoutes()
	return c, nil
}

// notYAML explains why a file is not YAML. It names a tab, which most editors do not show. The
// message of the parser gives the line of the tab and the character after it.
func notYAML(b []byte, err error) Fault {
	n := 0
	for line := range bytes.Lines(b) {
		if n++; !strings.Contains(err.Error(), "cannot start any token") {
			break
		}
		text := bytes.TrimLeft(line, " \t")
		if len(bytes.TrimSpace(text)) > 0 && bytes.IndexByte(line[:len(line)-len(text)], '\t') >= 0 {
			return Fault{Line: n, Msg: "not YAML: a tab cannot indent", Fix: "use spaces"}
		}
	}
	return Fault{Msg: "not YAML: " + err.Error(), Fix: "check indentation and quotes"}
}

// or sets a zero value to the default.
func or[T comparable](p *T, def T) { *p = cmp.Or(*p, def) }

// folder makes relative paths absolute.
type folder string

func (dir folder) abs(paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(string(dir), *p)
		}
	}
}

// complete fills in the defaults and makes paths absolute. After it, every field has its final
// value.
func (c *Config) complete(dir folder) {
	or(&c.DataDir, "data")
	dir.abs(&c.DataDir)
	or(&c.Listen.Authz, "unix:"+filepath.Join(c.DataDir, "authz.sock"))
	or(&c.Listen.SCIM, "127.0.0.1:8460")
	or(&c.Listen.Admin, "unix:"+filepath.Join(c.DataDir, "admin.sock"))
	or(&c.Listen.Metrics, "127.0.0.1:8461")
	for _, l := range []*string{&c.Listen.Authz, &c.Listen.SCIM, &c.Listen.Admin, &c.Listen.Metrics} {
		if p, ok := UnixPath(*l); ok {
			dir.abs(&p)
			*l = "unix:" + p
		}
	}
	for _, t := range []*ListenerTLS{&c.Listen.AuthzTLS, &c.Listen.SCIMTLS} {
		dir.abs(&t.Cert, &t.Key, &t.ClientCA)
	}
	dir.abs(&c.Envoy.TLS.Cert, &c.Envoy.TLS.Key, &c.Envoy.TLS.ClientCA, &c.Envoy.SecretsFile)
	c.Envoy.Connect.complete(dir, &c.Listen)
	or(&c.Envoy.Listen, "0.0.0.0:8443")
	or(&c.Envoy.Admin, "127.0.0.1:9901")
	or(&c.Envoy.AccessLog, "stdout")
	or(&c.Envoy.CheckTimeout, time.Second)
	or(&c.Envoy.MaxBodyBytes, 262144)
	or(&c.Envoy.MaxGroupBodyBytes, 32<<20)
	or(&c.Log.Level, "info")
	or(&c.Drain, 10*time.Second)
	or(&c.Revocation.Workers, 4)
	or(&c.Revocation.Deadline, 5*time.Minute)
	or(&c.Revocation.Lease, 30*time.Second)
	or(&c.TokenKeys.RotateEvery, 90*24*time.Hour)
	c.DecisionLog.complete(dir)
	c.Cluster.complete(dir)
	dir.abs(&c.TokenKeys.KeyEncryptionKeyFile, &c.TokenKeys.FormerKeyEncryptionKeyFile)
	dir.abs(&c.TenantsDir)
	for i := range c.Tenants {
		c.Tenants[i].complete(dir)
	}
}

func (c *Connect) complete(dir folder, l *Listen) {
	for _, a := range []*string{&c.Authz, &c.Leash, &c.SCIM} {
		if p, ok := UnixPath(*a); ok {
			dir.abs(&p)
			*a = "unix:" + p
		}
	}
	or(&c.Authz, l.Authz)
	or(&c.Leash, c.Authz)
	or(&c.SCIM, l.SCIM)
	dir.abs(&c.Cert, &c.Key, &c.CA)
	or(&c.CA, l.AuthzTLS.ClientCA)
}

func (t *Tenant) complete(dir folder) {
	or(&t.Profile, policies.DefaultProfile)
	or(&t.RequestsPerSecond, 50)
	or(&t.StaticTokens, "refuse")
	or(&t.Reprovision, "refuse")
	or(&t.Decisions.Log, "on")
	or(&t.TokenLifetime, 5*time.Minute)
	or(&t.DPoP.Nonce, "optional")
	for i := range t.IdentityServices {
		s := &t.IdentityServices[i]
		s.Keys.complete(dir, s.AssertionIssuer)
		s.completeRules()
	}
	for i := range t.ExternalIssuers {
		e := &t.ExternalIssuers[i]
		e.Keys.complete(dir, e.Issuer)
		or(&e.Audience, t.Resource())
		or(&e.MaxLifetime, 6*time.Hour)
		e.completeClaims()
		or(&e.SenderConstrained, SenderNone)
	}
	if t.Policy != nil {
		t.Policy.complete(dir)
	}
	for i := range t.Apps {
		a := &t.Apps[i]
		if len(a.Hosts) == 0 && len(t.Apps) == 1 {
			a.Hosts = []string{t.Host()}
		}
		a.complete(dir)
	}
}

func (s *IdentityService) completeRules() {
	or(&s.JTI, "required")
	or(&s.SenderConstrained, SenderNone)
	or(&s.MaxAssertionLifetime, DefaultAssertionLifetime)
	or(&s.TokenRequestsPerMinute, 60)
}

// complete selects discovery from issuer if no key source is named.
func (k *KeySource) complete(dir folder, issuer string) {
	dir.abs(&k.JWKSFile, &k.CAFile)
	if k.JWKSURI == "" && k.JWKSFile == "" {
		or(&k.Issuer, issuer)
	}
}

func (a *App) complete(dir folder) {
	or(&a.Anonymous, "bare")
	or(&a.EncodedSlashes, "refuse")
	or(&a.Unprovisioned, UnprovisionedDeny)
	or(&a.OnStale, OnStaleRefuse)
	if a.OnStale == OnStaleServe {
		or(&a.StaleLimit, time.Minute)
	}
	or(&a.UpstreamCAFile, "/etc/ssl/certs/ca-certificates.crt")
	dir.abs(&a.UpstreamCAFile)
	or(&a.CredentialLifetime, 720*time.Hour)
	for i := range a.LocalWrites {
		or(&a.LocalWrites[i].Exempt, "refuse")
	}
	for i := range a.Subjects {
		s := &a.Subjects[i]
		or(&s.Is, "opaque")
		if s.Is == "opaque" && s.Rebinds == nil {
			s.Rebinds = new(bool)
			*s.Rebinds = true
		}
		if s.Body != nil {
			or(&s.Body.Method, "POST")
		}
		if s.JWT != nil {
			or(&s.JWT.Claim, "sub")
			or(&s.JWT.Names, "user_name")
			s.JWT.Keys.complete(dir, s.JWT.Issuer)
		}
	}
	if a.Plugin != nil {
		a.Plugin.complete(dir)
	}
}

func (p *Plugin) complete(dir folder) {
	dir.abs(&p.Manifest)
	for name, file := range p.Secrets {
		dir.abs(&file)
		p.Secrets[name] = file
	}
	for i := range p.HTTP {
		h := &p.HTTP[i]
		dir.abs(&h.CAFile)
		or(&h.Scheme, "https")
		or(&h.Port, map[string]int{"http": 80, "https": 443}[h.Scheme])
	}
	or(&p.MemoryMiB, 64)
	or(&p.Timeout, 10*time.Second)
}
