package plugins

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// rule is one place where requests may go, a need of the manifest that a rule of the grant covers. All
// fields are resolved and canonical.
type rule struct {
	scheme   string
	host     string // lower case; may be "*.suffix"
	port     int
	methods  []string
	prefixes []string // clean, without a trailing slash; "" is the root
	routes   []string // templates of paths, for evidence
	secrets  []string
	private  []netip.Prefix
	identify bool
	roots    *x509.CertPool // nil: the system's
	rps      float64        // 0: no limit
}

// permit lists what a plugin may do, the intersection of its manifest's needs and its grant.
type permit struct {
	rules  []rule
	limits Limits
	config map[string]any
}

// intersect computes what a plugin may do. One rule of the grant must cover a whole need. The error names
// every need without such a rule.
func intersect(m Manifest, c Config) (permit, error) {
	var f faults
	for i := range c.Grant.HTTP {
		c.Grant.HTTP[i].check(&f, fmt.Sprintf("plugin.http[%d]", i))
	}
	c.Grant.Limits.check(&f, "plugin")
	if m.App != "" && m.App != c.App {
		f.add("app", "the manifest is for %q, the plugin is configured for %q", m.App, c.App)
	}
	for i, k := range m.Kinds {
		if len(c.Kinds) > 0 && !slices.Contains(c.Kinds, k) {
			f.add(fmt.Sprintf("kinds[%d]", i),
				"the plugin handles %s, which kinds of app %q leaves out: add it there", k, c.App)
		}
	}
	if len(f) > 0 {
		return permit{}, errors.Join(f...)
	}
	p := permit{config: map[string]any{}, limits: limits(m.Limits, c.Grant.Limits)}
	maps.Copy(p.config, m.Config)
	maps.Copy(p.config, c.Settings)
	for i := range m.Capabilities.HTTP {
		at := fmt.Sprintf("capabilities.http[%d]", i)
		need, err := m.Capabilities.HTTP[i].resolve(p.config)
		if err != nil {
			f.add(at, "%v", err)
			continue
		}
		r, err := cover(need, m.Capabilities.HTTP[i].BaseURL != "", c.Grant)
		if err != nil {
			f.add(at, "the manifest needs %s: %v", need, err)
			continue
		}
		p.rules = append(p.rules, r)
	}
	return p, errors.Join(f...)
}

// limits returns each limit that the manifest asks for, but at most the grant's limit. Without a grant
// the default applies, without a request the grant.
func limits(need, grant Limits) Limits {
	var out Limits
	asked, granted := need.bounds(), grant.bounds()
	for i, b := range out.bounds() {
		*b.field = *granted[i].field
		if *b.field == 0 {
			*b.field = b.def
		}
		if ask := *asked[i].field; ask != 0 {
			*b.field = min(*b.field, ask)
		}
	}
	return out
}

// String describes the rule for the operator who has to grant it.
func (r rule) String() string {
	var paths []string
	for _, p := range r.prefixes {
		paths = append(paths, p+"/")
	}
	s := fmt.Sprintf("%s %s://%s:%d%s", strings.Join(r.methods, ","), r.scheme, r.host, r.port, strings.Join(paths, "|"))
	if len(r.secrets) > 0 {
		s += " secrets " + strings.Join(r.secrets, ",")
	}
	if len(r.private) > 0 {
		s += fmt.Sprintf(" allow_private %v", r.private)
	}
	if r.identify {
		s += " identify"
	}
	return s
}

// resolve makes the rule that a need asks for, with the URL that config gives for its BaseURL.
func (n HTTPNeed) resolve(config map[string]any) (rule, error) {
	base := ""
	if n.BaseURL != "" {
		var err error
		if base, err = n.fromConfig(config); err != nil {
			return rule{}, fmt.Errorf("config.%s: %w", n.BaseURL, err)
		}
	}
	return newRule(n, base)
}

// fromConfig sets scheme, host and port from the URL in config and returns the URL's path.
func (n *HTTPNeed) fromConfig(config map[string]any) (base string, err error) {
	s, ok := config[n.BaseURL].(string)
	if !ok {
		return "", fmt.Errorf("no such string, and the manifest's base_url names it: "+
			"set plugin.config.%s to the application's URL", n.BaseURL)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("is not an absolute URL without user, query and fragment")
	}
	n.Scheme, n.Host, n.Port = u.Scheme, strings.ToLower(u.Hostname()), 0
	if p := u.Port(); p != "" {
		if n.Port, err = strconv.Atoi(p); err != nil {
			return "", fmt.Errorf("port %q", p)
		}
	}
	var f faults
	n.checkPlace(&f, "url")
	return strings.TrimSuffix(u.EscapedPath(), "/"), errors.Join(f...)
}

// newRule makes the rule of a need. Its path prefixes are below base.
func newRule(n HTTPNeed, base string) (rule, error) {
	r := rule{
		scheme: n.Scheme, host: canonHost(n.Host), port: n.Port,
		methods: n.Methods, secrets: n.Secrets, identify: n.Identify,
	}
	if r.scheme == "" {
		r.scheme = "https"
	}
	if r.port == 0 {
		r.port = defaultPort(r.scheme)
	}
	if len(r.methods) == 0 {
		r.methods = []string{"GET", "HEAD"}
	}
	prefixes := n.PathPrefix
	if len(prefixes) == 0 {
		prefixes = []string{"/"}
	}
	for _, p := range prefixes {
		path, err := cleanPath(base + p)
		if err != nil {
			return rule{}, fmt.Errorf("path prefix %q: %w", base+p, err)
		}
		r.prefixes = append(r.prefixes, strings.TrimSuffix(path, "/"))
	}
	for _, t := range n.Routes {
		r.routes = append(r.routes, base+t)
	}
	for _, c := range n.AllowPrivate {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return rule{}, fmt.Errorf("allow_private: %w", err)
		}
		r.private = append(r.private, p)
	}
	return r, nil
}

// cover finds the rule of the grant that allows all of need. It returns need with the grant's authorities
// and rate and, if the operator's settings name the host, its private ranges.
func cover(need rule, own bool, g Grant) (rule, error) {
	reason := errors.New("plugin.http has no rule for this scheme, host and port")
	for i := range g.HTTP {
		have, err := newRule(g.HTTP[i].need(), "")
		if err != nil {
			return rule{}, err
		}
		if have.scheme != need.scheme || have.port != need.port || !coversHost(have.host, need.host) {
			continue
		}
		if own {
			need.private = have.private
		}
		if err := covers(have, need, g.Secrets); err != nil {
			reason = fmt.Errorf("plugin.http[%d] %w", i, err)
			continue
		}
		need.rps = g.HTTP[i].RPS
		if need.roots, err = loadRoots(g.HTTP[i].CAFile); err != nil {
			return rule{}, err
		}
		return need, nil
	}
	return rule{}, reason
}

// coversHost reports whether have names every host that need names.
func coversHost(have, need string) bool {
	return have == need || (!strings.HasPrefix(need, "*.") && matchHost(have, need))
}

func covers(have, need rule, files map[string]string) error {
	for _, m := range need.methods {
		if !slices.Contains(have.methods, m) {
			return fmt.Errorf("does not grant method %s", m)
		}
	}
	for _, p := range need.prefixes {
		if !underAny(p, have.prefixes) {
			return fmt.Errorf("does not grant path %s/", p)
		}
	}
	for _, s := range need.secrets {
		if !slices.Contains(have.secrets, s) {
			return fmt.Errorf("does not grant secret %q", s)
		}
		if files[s] == "" {
			return fmt.Errorf("grants secret %q, but plugin.secrets names no file for it", s)
		}
	}
	for _, c := range need.private {
		contains := func(h netip.Prefix) bool { return h.Bits() <= c.Bits() && h.Contains(c.Addr()) }
		if !slices.ContainsFunc(have.private, contains) {
			return fmt.Errorf("does not grant private range %s in allow_private", c)
		}
	}
	if need.identify && !have.identify {
		return errors.New("does not grant identify: true; a user's credential would be sent there")
	}
	return nil
}

func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading ca_file %s: no certificate in it", file)
	}
	return pool, nil
}
