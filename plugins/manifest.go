package plugins

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/scimward/scimward/plugins/abi"
)

// ManifestSchema is the schema field of a manifest.
const ManifestSchema = "revoker.plugin/v1"

// maxManifest bounds a manifest file.
const maxManifest = 64 << 10

// Manifest is what a plugin says of itself: who it is, which module it is, and what
// it needs. It grants nothing (design: plugins §8). It is strict JSON: an unknown
// field, a repeated one or anything after the document is refused.
type Manifest struct {
	Schema  string         `json:"schema"`  // ManifestSchema
	Name    string         `json:"name"`    // lower-case letters, digits, "-", "_", "."; at most 64
	Version string         `json:"version"` // of the plugin, such as 1.4.2
	ABI     string         `json:"abi"`     // "1.0"
	App     string         `json:"app"`     // what it is for; empty: any application
	Runtime string         `json:"runtime"` // "wasm"
	Module  ManifestModule `json:"module"`

	// Kinds the plugin answers for, as in its describe.
	Kinds []abi.Kind `json:"kinds"`

	// SubjectAttributes names the SCIM attributes that reach the plugin beside
	// userName, externalId and emails.
	SubjectAttributes []string `json:"subject_attributes"`

	// Config reaches the guest, under the operator's settings.
	Config map[string]any `json:"config"`

	Capabilities Capabilities `json:"capabilities"`

	// Limits the plugin asks for; the grant's bound them.
	Limits Limits `json:"limits"`
}

// ManifestModule names the module file and what must be in it.
type ManifestModule struct {
	Path   string `json:"path"` // relative to the manifest, without ".."
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes, at most 16 MiB
}

// Capabilities lists what a plugin needs beyond the functions every plugin has.
type Capabilities struct {
	HTTP []HTTPNeed `json:"http"`
}

// HTTPNeed is one place a plugin sends requests to. Where is either Scheme, Host
// and Port, or BaseURL.
type HTTPNeed struct {
	Scheme string `json:"scheme"` // "https" (also when empty) or "http"
	Host   string `json:"host"`   // exact, or "*.suffix" for exactly one label more
	Port   int    `json:"port"`   // 0: the scheme's own

	// BaseURL is the key in config of an absolute URL whose scheme, host and port are
	// meant and whose path comes before each path prefix. It is for plugins that many
	// operators run, each with a host of their own; the operator's grant alone then
	// says which private ranges that host may have.
	BaseURL string `json:"base_url"`

	Methods      []string `json:"methods"`       // empty: GET and HEAD
	PathPrefix   []string `json:"path_prefix"`   // empty: all of the host
	Secrets      []string `json:"secrets"`       // names
	AllowPrivate []string `json:"allow_private"` // CIDR
	Identify     bool     `json:"identify"`      // a user's credential is sent there during identify
}

// faults collects what is wrong with a document, each with the path of its field.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	secretRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	digestRE = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseManifest decodes and checks a manifest. Faults in the JSON itself end it at
// once, with their line; all others are reported together, one a line, each with its field.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if len(b) > maxManifest {
		return m, fmt.Errorf("manifest is larger than %d bytes", maxManifest)
	}
	if err := decodeManifest(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("decoding the manifest: %w", err)
	}
	var f faults
	m.check(&f)
	if len(f) > 0 {
		return Manifest{}, errors.Join(f...)
	}
	return m, nil
}

func (m *Manifest) check(f *faults) {
	if m.Schema != ManifestSchema {
		f.add("schema", "is %q, want %q", m.Schema, ManifestSchema)
	}
	if !nameRE.MatchString(m.Name) {
		f.add("name", "%q must match %s", m.Name, nameRE)
	}
	if m.Version == "" || len(m.Version) > 64 {
		f.add("version", "is missing or longer than 64 bytes")
	}
	if m.ABI != "1.0" {
		f.add("abi", "is %q, this host speaks 1.0", m.ABI)
	}
	if m.Runtime != "wasm" {
		f.add("runtime", "is %q, want \"wasm\"", m.Runtime)
	}
	if !filepath.IsLocal(m.Module.Path) {
		f.add("module.path", "%q must be a path below the manifest's folder", m.Module.Path)
	}
	if !digestRE.MatchString(m.Module.SHA256) {
		f.add("module.sha256", "must be 64 lower-case hex digits")
	}
	if m.Module.Size <= 0 || m.Module.Size > maxModule {
		f.add("module.size", "is %d, must be between 1 and %d", m.Module.Size, maxModule)
	}
	if len(m.Kinds) == 0 {
		f.add("kinds", "names no kind")
	}
	for i, k := range m.Kinds {
		at := fmt.Sprintf("kinds[%d]", i)
		if !slices.Contains(abi.Order(), k) {
			f.add(at, "%q is no kind of ABI 1.0", k)
		}
		if slices.Contains(m.Kinds[:i], k) {
			f.add(at, "%q is there twice", k)
		}
	}
	for i := range m.Capabilities.HTTP {
		m.Capabilities.HTTP[i].check(f, fmt.Sprintf("capabilities.http[%d]", i), m.Config)
	}
	m.Limits.check(f, "limits")
}

func (n *HTTPNeed) check(f *faults, at string, config map[string]any) {
	switch {
	case n.BaseURL != "" && (n.Host != "" || n.Scheme != "" || n.Port != 0):
		f.add(at+".base_url", "stands in place of scheme, host and port; give one or the other")
	case n.BaseURL == "":
		checkPlace(f, at, n.Scheme, n.Host, n.Port)
	default:
		if v, ok := config[n.BaseURL]; ok {
			if _, isString := v.(string); !isString {
				f.add("config."+n.BaseURL, "must be a string, because %s.base_url names it", at)
			}
		}
	}
	checkRequests(f, at, n.Methods, n.PathPrefix, n.Secrets, n.AllowPrivate)
}

func (r *HTTPRule) check(f *faults, at string) {
	checkPlace(f, at, r.Scheme, r.Host, r.Port)
	checkRequests(f, at, r.Methods, r.PathPrefix, r.Secrets, r.AllowPrivate)
	if r.RPS < 0 {
		f.add(at+".rps", "is negative")
	}
}

func checkPlace(f *faults, at, scheme, host string, port int) {
	if scheme != "" && scheme != "https" && scheme != "http" {
		f.add(at+".scheme", "%q must be https or http", scheme)
	}
	name := strings.TrimPrefix(host, "*.")
	_, ipErr := netip.ParseAddr(name)
	switch {
	case host == "":
		f.add(at+".host", "is missing")
	case ipErr == nil && name == host:
	case !validHost(name) || (name != host && !strings.Contains(name, ".")):
		f.add(at+".host", "%q must be a lower-case host name, an IP address, or \"*.\" and at least two labels", host)
	}
	if port < 0 || port > 65535 {
		f.add(at+".port", "is %d", port)
	}
}

func checkRequests(f *faults, at string, methods, prefixes, secrets, cidrs []string) {
	for i, m := range methods {
		if !slices.Contains(allMethods(), m) {
			f.add(fmt.Sprintf("%s.methods[%d]", at, i), "%q is none of %s", m, strings.Join(allMethods(), ", "))
		}
	}
	for i, p := range prefixes {
		if _, err := cleanPath(p); err != nil {
			f.add(fmt.Sprintf("%s.path_prefix[%d]", at, i), "%q: %v", p, err)
		}
	}
	for i, s := range secrets {
		if !secretRE.MatchString(s) {
			f.add(fmt.Sprintf("%s.secrets[%d]", at, i), "%q must match %s", s, secretRE)
		}
	}
	for i, c := range cidrs {
		if p, err := netip.ParsePrefix(c); err != nil || p != p.Masked() {
			f.add(fmt.Sprintf("%s.allow_private[%d]", at, i), "%q is no network in CIDR form", c)
		}
	}
}

// bound is one limit: where it is, its default and its greatest value.
type bound struct {
	name     string
	field    *int
	def, max int
}

func (l *Limits) bounds() []bound {
	return []bound{
		{"memory_mib", &l.MemoryMiB, 64, 256},
		{"timeout_ms", &l.TimeoutMS, 10_000, 60_000},
		{"http_requests", &l.HTTPRequests, 64, 1000},
		{"http_timeout_ms", &l.HTTPTimeoutMS, 5000, 30_000},
		{"instances", &l.Instances, 2, 16},
		{"calls_per_instance", &l.CallsPerInstance, 500, 100_000},
	}
}

func (l *Limits) check(f *faults, at string) {
	for _, b := range l.bounds() {
		if *b.field < 0 || *b.field > b.max {
			f.add(at+"."+b.name, "is %d, must be between 1 and %d, or 0 for the default %d", *b.field, b.max, b.def)
		}
	}
}
