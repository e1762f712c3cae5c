package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Load reads, decodes, completes and checks the file. Its error is a
// *FaultsError when the file could be read but is not right.
func Load(path string) (*Config, error) { return load(path, false) }

// LoadLenient is [Load] without a look at the files that the configuration names:
// for a command that only asks a running sidecar, and need not read its secrets.
func LoadLenient(path string) (*Config, error) { return load(path, true) }

func load(path string, lenient bool) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", path, err)
	}
	return parse(path, filepath.Dir(abs), b, lenient)
}

// Parse decodes b. name appears in errors; dir is what relative paths are
// relative to.
func Parse(name, dir string, b []byte) (*Config, error) { return parse(name, dir, b, false) }

func parse(name, dir string, b []byte, lenient bool) (*Config, error) {
	if len(b) > maxBytes {
		return nil, &FaultsError{File: name, Faults: []Fault{{Path: "(file)", Msg: "larger than 1 MiB", Fix: "split tenants over several sidecars"}}}
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, &FaultsError{File: name, Faults: []Fault{notYAML(b, err)}}
	}
	if len(doc.Content) == 0 {
		return nil, &FaultsError{File: name, Faults: []Fault{{Path: "(file)", Msg: "empty", Fix: "run `scimward init DIR` for a commented start"}}}
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &FaultsError{File: name, Faults: []Fault{{Line: more.Line, Path: "(file)", Msg: "more than one document", Fix: "remove everything from the second --- on"}}}
	}
	d := &decoder{lines: map[string]int{}}
	c := &Config{}
	d.decode(doc.Content[0], reflect.ValueOf(c).Elem(), "", 0)
	c.complete(dir)
	check(c, d, lenient)
	if len(d.faults) > 0 {
		slices.SortStableFunc(d.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Path, b.Path))
		})
		return nil, &FaultsError{File: name, Faults: d.faults}
	}
	return c, nil
}

// notYAML says why a file cannot be read. A tab is invisible in most editors, and
// the parser's own word for it names the tab's line as what follows it.
func notYAML(b []byte, err error) Fault {
	n := 0
	for line := range bytes.Lines(b) {
		if n++; !strings.Contains(err.Error(), "cannot start any token") {
			break
		}
		if text := bytes.TrimLeft(line, " \t"); len(bytes.TrimSpace(text)) > 0 && bytes.IndexByte(line[:len(line)-len(text)], '\t') >= 0 {
			return Fault{Line: n, Path: "(file)", Msg: "not YAML: a tab cannot indent", Fix: "use spaces"}
		}
	}
	return Fault{Path: "(file)", Msg: "not YAML: " + err.Error(), Fix: "check indentation and quotes"}
}

// Faults returns the faults inside err, nil when it holds none.
func Faults(err error) []Fault {
	var fe *FaultsError
	if errors.As(err, &fe) {
		return fe.Faults
	}
	return nil
}

func orString(p *string, def string) {
	if *p == "" {
		*p = def
	}
}

func orDuration(p *time.Duration, def time.Duration) {
	if *p == 0 {
		*p = def
	}
}

func orInt(p *int, def int) {
	if *p == 0 {
		*p = def
	}
}

// complete writes the defaults into the struct and makes paths absolute, so that
// everything behind it reads final values.
func (c *Config) complete(dir string) {
	at := func(paths ...*string) {
		for _, p := range paths {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	orString(&c.DataDir, "data")
	at(&c.DataDir)
	orString(&c.Listen.Authz, "unix:"+filepath.Join(c.DataDir, "authz.sock"))
	orString(&c.Listen.SCIM, "127.0.0.1:8460")
	orString(&c.Listen.Admin, "127.0.0.1:8461")
	for _, l := range []*string{&c.Listen.Authz, &c.Listen.SCIM, &c.Listen.Admin} {
		if p, ok := UnixPath(*l); ok && p != "" && !filepath.IsAbs(p) {
			*l = "unix:" + filepath.Join(dir, p)
		}
	}
	for _, t := range []*TLS{&c.Listen.AuthzTLS, &c.Listen.SCIMTLS, &c.Envoy.TLS} {
		at(&t.Cert, &t.Key, &t.ClientCA)
	}
	orString(&c.Envoy.Listen, "0.0.0.0:8443")
	orString(&c.Envoy.Admin, "127.0.0.1:9901")
	orDuration(&c.Envoy.CheckTimeout, time.Second)
	orInt(&c.Envoy.MaxBodyBytes, 262144)
	orString(&c.Log.Level, "info")
	orDuration(&c.Drain, 10*time.Second)
	orInt(&c.Revocation.Workers, 4)
	orDuration(&c.Revocation.Deadline, 5*time.Minute)
	orDuration(&c.Revocation.Lease, 30*time.Second)
	for i := range c.Tenants {
		c.Tenants[i].complete(at)
	}
}

func (t *Tenant) complete(at func(...*string)) {
	orString(&t.Profile, Profiles()[0])
	orInt(&t.RequestsPerSecond, 50)
	for i := range t.IdentityServices {
		k := &t.IdentityServices[i].Keys
		at(&k.JWKSFile, &k.CAFile)
	}
	for i := range t.ExternalIssuers {
		e := &t.ExternalIssuers[i]
		at(&e.Keys.JWKSFile, &e.Keys.CAFile)
		if e.Keys.JWKSURI == "" && e.Keys.JWKSFile == "" {
			orString(&e.Keys.Issuer, e.Issuer)
		}
		orString(&e.Audience, t.Resource())
	}
	for i := range t.Apps {
		t.Apps[i].complete(t, at)
	}
}

func (a *App) complete(t *Tenant, at func(...*string)) {
	orString(&a.Anonymous, "bare")
	orString(&a.UpstreamCAFile, "/etc/ssl/certs/ca-certificates.crt")
	at(&a.UpstreamCAFile)
	orDuration(&a.CredentialLifetime, 720*time.Hour)
	if len(a.Hosts) == 0 && len(t.Apps) == 1 {
		a.Hosts = []string{t.Host()}
	}
	for i := range a.Subjects {
		s := &a.Subjects[i]
		orString(&s.Is, "opaque")
		if s.Body != nil {
			orString(&s.Body.Method, "POST")
		}
		if s.JWT != nil {
			orString(&s.JWT.Claim, "sub")
			orString(&s.JWT.Names, "user_name")
			at(&s.JWT.Keys.JWKSFile, &s.JWT.Keys.CAFile)
			if s.JWT.Keys.JWKSURI == "" && s.JWT.Keys.JWKSFile == "" {
				orString(&s.JWT.Keys.Issuer, s.JWT.Issuer)
			}
		}
	}
	if p := a.Plugin; p != nil {
		at(&p.Manifest)
		for name, file := range p.Secrets {
			at(&file)
			p.Secrets[name] = file
		}
		for i := range p.HTTP {
			h := &p.HTTP[i]
			at(&h.CAFile)
			orString(&h.Scheme, "https")
			if h.Port == 0 {
				h.Port = map[string]int{"http": 80, "https": 443}[h.Scheme]
			}
		}
		orInt(&p.MemoryMiB, 64)
		orDuration(&p.Timeout, 10*time.Second)
	}
}
