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

// Manifest describes a plugin, its module and its needs. It grants nothing. It is strict JSON. The host
// rejects unknown and repeated fields, and anything after the document.
type Manifest struct {
	Schema  string         `json:"schema"`  // "revoker.plugin/v1"
	Name    string         `json:"name"`    // lower-case letters, digits, "-", "_", "."; at most 64
	Version string         `json:"version"` // of the plugin, such as 1.4.2
	ABI     string         `json:"abi"`     // "1.0"
	App     string         `json:"app"`     // the application it is for, empty means any
	Runtime string         `json:"runtime"` // "wasm"
	Module  ManifestModule `json:"module"`  // the file with the code

	// Kinds of credentials that the plugin handles, the same as in its describe.
	Kinds []abi.Kind `json:"kinds"`

	// SubjectAttributes names the SCIM attributes that the plugin receives in addition to userName,
	// externalId and emails.
	SubjectAttributes []string `json:"subject_attributes"`

	// Config reaches the guest. The operator's settings override it.
	Config map[string]any `json:"config"`

	// Capabilities that the plugin needs. Each needs a grant.
	Capabilities Capabilities `json:"capabilities"`

	// Limits that the plugin asks for, bounded by the grant.
	Limits Limits `json:"limits"`
}

// ManifestModule names the module file with its digest and size.
type ManifestModule struct {
	Path   string `json:"path"`   // relative to the manifest, without ".."
	SHA256 string `json:"sha256"` // of the file, 64 lower-case hex digits
	Size   int64  `json:"size"`   // bytes, at most 16 MiB
}

// Capabilities lists the needs of a plugin in addition to the functions that every plugin has.
type Capabilities struct {
	HTTP []HTTPNeed `json:"http"` // where requests go
}

// HTTPNeed is one place to which a plugin sends requests, given by scheme, host and port or by base_url.
// Evidence and messages show the template in routes that a path matches, and without one only the path
// prefix and "…", because a path may contain a credential. Like path_prefix, a template is relative to
// base_url. A placeholder stands for one segment.
type HTTPNeed struct {
	Scheme string `json:"scheme"` // "https" (also when empty) or "http"
	Host   string `json:"host"`   // exact, or "*.suffix" with exactly one label in place of the star
	Port   int    `json:"port"`   // 0 means the scheme's own

	// BaseURL is the key in config of an absolute URL, which gives scheme, host and port, and the start of
	// each path prefix. It is for plugins of many operators, each with their own host. Only the operator's
	// grant then says which private ranges the host may have.
	BaseURL string `json:"base_url"`

	Methods      []string `json:"methods"`       // empty means GET and HEAD
	PathPrefix   []string `json:"path_prefix"`   // empty means every path
	Routes       []string `json:"routes"`        // templates of the paths, "/users/{user}/tokens/{id}"
	Secrets      []string `json:"secrets"`       // names of secrets that a request there may contain
	AllowPrivate []string `json:"allow_private"` // private ranges that the host may have, CIDR
	Identify     bool     `json:"identify"`      // identify sends a user's credential there
}

// need returns the fields that a rule of the grant shares with a need of the manifest.
func (r *HTTPRule) need() HTTPNeed {
	return HTTPNeed{
		Scheme: r.Scheme, Host: r.Host, Port: r.Port, Methods: r.Methods, PathPrefix: r.PathPrefix,
		Secrets: r.Secrets, AllowPrivate: r.AllowPrivate, Identify: r.Identify,
	}
}

// faults collects the faults of a document, each with the path of its field.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	secretRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	digestRE = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseManifest decodes and checks a manifest. It stops at the first fault of the JSON itself and gives
// its line. It reports all other faults together, one a line, each with its field.
func ParseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if len(b) > maxManifest {
		return m, fmt.Errorf("manifest is larger than %d bytes", maxManifest)
	}
	if err := decodeManifest(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("decoding the manifest: %w", err)
	}
	var f faults
	if m.check(&f); len(f) > 0 {
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
			f.add(at, "%q is not a kind of ABI 1.0", k)
		}
		if slices.Contains(m.Kinds[:i], k) {
			f.add(at, "%q appears twice", k)
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
		f.add(at+".base_url", "replaces scheme, host and port; give one or the other")
	case n.BaseURL == "":
		n.checkPlace(f, at)
	default:
		if v, ok := config[n.BaseURL]; ok {
			if _, isString := v.(string); !isString {
				f.add("config."+n.BaseURL, "must be a string, because %s.base_url names it", at)
			}
		}
	}
	n.checkRequests(f, at)
}

func (r *HTTPRule) check(f *faults, at string) {
	n := r.need()
	n.checkPlace(f, at)
	n.checkRequests(f, at)
	if r.RPS < 0 {
		f.add(at+".rps", "is negative")
	}
}

func (n *HTTPNeed) checkPlace(f *faults, at string) {
	if n.Scheme != "" && n.Scheme != "https" && n.Scheme != "http" {
		f.add(at+".scheme", "%q must be https or http", n.Scheme)
	}
	name := strings.TrimPrefix(n.Host, "*.")
	_, ipErr := netip.ParseAddr(name)
	switch {
	case n.Host == "":
		f.add(at+".host", "is missing")
	case ipErr == nil && name == n.Host:
	case !validHost(name) || (name != n.Host && !strings.Contains(name, ".")):
		f.add(at+".host", `%q must be a lower-case host name, an IP address, or "*." and at least two labels`, n.Host)
	}
	if n.Port < 0 || n.Port > 65535 {
		f.add(at+".port", "is %d, must be between 0 and 65535", n.Port)
	}
}

func (n *HTTPNeed) checkRequests(f *faults, at string) {
	for i, m := range n.Methods {
		if !slices.Contains(allMethods(), m) {
			f.add(fmt.Sprintf("%s.methods[%d]", at, i), "%q is not one of %s", m, strings.Join(allMethods(), ", "))
		}
	}
	for i, p := range n.PathPrefix {
		if _, err := cleanPath(p); err != nil {
			f.add(fmt.Sprintf("%s.path_prefix[%d]", at, i), "%q: %v", p, err)
		}
	}
	n.checkRoutes(f, at)
	for i, s := range n.Secrets {
		if !secretRE.MatchString(s) {
			f.add(fmt.Sprintf("%s.secrets[%d]", at, i), "%q must match %s", s, secretRE)
		}
	}
	for i, c := range n.AllowPrivate {
		if p, err := netip.ParsePrefix(c); err != nil || p != p.Masked() {
			f.add(fmt.Sprintf("%s.allow_private[%d]", at, i), "%q is not a network in CIDR form", c)
		}
	}
}

// bound describes one limit: its field, its default and its greatest value.
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
