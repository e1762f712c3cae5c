package envoy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/passes"
)

const fixture = `
version: 1
envoy:
  listen: 127.0.0.1:18443
  tls: {cert: tls.crt, key: tls.key}
tenants:
  - name: acme
    external_url: https://acme.localhost:18443
    identity_services:
      - client_id: idp
        keys: {jwks_uri: "http://127.0.0.1:1/jwks"}
    apps:
      - name: app
        upstream: http://127.0.0.1:18080
        subjects:
          - cookie: session
          - header: x-device-credential
            prefix: dev_
          - header: x-forwarded-user
            is: user_name
          - is: user_name
            body: {path: /login, form: username}
        local_writes:
          - path: /signup
          - path: /users/{id}/email
            fields: [email]
        streams: [/download]
        plugin:
          manifest: manifest.json
          secrets: {admin: token}
          http:
            - {scheme: http, host: 127.0.0.1, port: 18081, methods: [GET], path_prefixes: [/admin/], secrets: [admin], allow_private: [127.0.0.0/8]}
  - name: globex
    external_url: https://globex.localhost:18443
    identity_services:
      - client_id: idp
        keys: {jwks_uri: "http://127.0.0.1:1/jwks"}
    apps:
      - name: app
        hosts: [app.globex.localhost]
        upstream: https://app.internal.example:8443
        upstream_ca_file: tls.crt
        subjects:
          - header: authorization
            scheme: bearer
            is: jwt
            jwt: {issuer: "https://app.example", keys: {jwks_uri: "https://app.example/jwks"}}
`

// parseFixture loads two tenants, with a subject in a body, a local write with fields and a stream
// route.
func parseFixture(t *testing.T) *config.Config {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"acme.localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"tls.crt":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key":       pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"manifest.json": []byte("{}"),
		"token":         []byte("x"),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Parse("test.yaml", dir, []byte(fixture))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestEscapedSlashes: Envoy refuses escaped slashes unless an app allows them, and then it passes
// them on as sent.
func TestEscapedSlashes(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	for want, allow := range map[string]bool{"REJECT_REQUEST": false, "KEEP_UNCHANGED": true} {
		if allow {
			cfg.Tenants[1].Apps[0].EncodedSlashes = "allow"
		} else {
			cfg.Tenants[1].Apps[0].EncodedSlashes = "refuse"
		}
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		hcm := collect[*hcmv3.HttpConnectionManager](t, b)[0]
		if got := hcm.GetPathWithEscapedSlashesAction().String(); got != want || !hcm.GetNormalizePath().GetValue() {
			t.Errorf("allow %t: %s, want %s with normalised paths", allow, got, want)
		}
	}
}

func bootstrap(t *testing.T) *bootstrapv3.Bootstrap {
	t.Helper()
	b, err := envoy.Bootstrap(parseFixture(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// collect returns every message of type T in b, also those in an Any.
func collect[T proto.Message](t *testing.T, b *bootstrapv3.Bootstrap) []T {
	t.Helper()
	var out []T
	envoy.Walk(b, func(m proto.Message) {
		if x, ok := m.(T); ok {
			out = append(out, x)
		}
	})
	if len(out) == 0 {
		t.Fatalf("no %T in the configuration", *new(T))
	}
	return out
}

// TestBootstrapPassesEveryRule: the generated configuration passes the validation rules of Envoy,
// and Validate finds a broken rule inside an Any.
func TestBootstrapPassesEveryRule(t *testing.T) {
	t.Parallel()
	b := bootstrap(t)
	if err := envoy.Validate(b); err != nil {
		t.Fatal(err)
	}
	// Validate finds a broken rule inside an Any.
	filter := b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0]
	hcm := collect[*hcmv3.HttpConnectionManager](t, b)[0]
	hcm.StatPrefix = ""
	if err := filter.GetTypedConfig().MarshalFrom(hcm); err != nil {
		t.Fatal(err)
	}
	if envoy.Validate(b) == nil {
		t.Fatal("Validate() = nil with a broken rule in an Any, want an error")
	}
	filter.GetTypedConfig().TypeUrl = "type.googleapis.com/no.such.Message"
	if envoy.Validate(b) == nil {
		t.Fatal("Validate() = nil with an Any of an unknown type, want an error")
	}
}

// TestIdentityHeadersOfOtherGateways: every name is removed early, except the one that an application
// reads. The routes of the other applications remove that one.
func TestIdentityHeadersOfOtherGateways(t *testing.T) {
	t.Parallel()
	b := bootstrap(t)
	early := map[string]bool{}
	for _, m := range collect[*earlyv3.HeaderMutation](t, b)[0].GetMutations() {
		early[m.GetRemove()] = true
	}
	for _, name := range headers.Gateways() {
		if want := name != "x-forwarded-user"; early[name] != want {
			t.Errorf("%s is removed early: %t, want %t", name, early[name], want)
		}
		if name != strings.ToLower(name) || strings.ContainsAny(name, "_ ") {
			t.Errorf("%s is not a lower-case name that Envoy lets pass", name)
		}
	}
	for _, host := range collect[*hcmv3.HttpConnectionManager](t, b)[0].GetRouteConfig().GetVirtualHosts() {
		removed := slices.Contains(host.GetRequestHeadersToRemove(), "x-forwarded-user")
		if app := strings.Contains(host.GetName(), "/"); app && removed != strings.HasPrefix(host.GetName(), "globex/") {
			t.Errorf("%s removes %v", host.GetName(), host.GetRequestHeadersToRemove())
		}
	}
}

// TestHeadersThatEnvoyPassesOn: ext_authz sees the headers that a decision reads. Where an application denies fields,
// it sees every header, and the route of each application declares that.
func TestHeadersThatEnvoyPassesOn(t *testing.T) {
	t.Parallel()
	for _, fields := range [][]string{nil, {"email"}} {
		cfg := parseFixture(t)
		cfg.Tenants[0].Apps[0].LocalWrites[1].Fields = fields
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		allowed := collect[*authzv3.ExtAuthz](t, b)[0].GetAllowedHeaders()
		for _, p := range allowed.GetPatterns() {
			named[p.GetExact()] = true
		}
		every := len(fields) > 0
		if every != (allowed == nil) || !every && (!named["x-device-credential"] || !named["cookie"] || named["email"]) {
			t.Errorf("fields %v: ext_authz sees %v", fields, named)
		}
		for _, r := range collect[*authzv3.ExtAuthzPerRoute](t, b) {
			e := r.GetCheckSettings().GetContextExtensions()
			if e["surface"] == "app" && strings.Contains(e[passes.Extension]+" ", " header:* ") != every {
				t.Errorf("fields %v: %s/%s declares %s", fields, e["tenant"], e["app"], e[passes.Extension])
			}
		}
		if got := strings.Contains(cfg.Tenants[0].Apps[0].Passes().String(), "header:*"); got != every {
			t.Errorf("fields %v: the application needs %s", fields, cfg.Tenants[0].Apps[0].Passes())
		}
	}
}

// TestSecurityFacts: every setting that the perimeter needs has its value.
func TestSecurityFacts(t *testing.T) {
	t.Parallel()
	b := bootstrap(t)
	hcm := collect[*hcmv3.HttpConnectionManager](t, b)[0]
	filters, leashes := collect[*authzv3.ExtAuthz](t, b), collect[*procv3.ExternalProcessor](t, b)
	authz, leash := filters[0], leashes[0]
	mode, rules := leash.GetProcessingMode(), authz.GetDecoderHeaderMutationRules()
	common := hcm.GetCommonHttpProtocolOptions()
	runtime := b.GetLayeredRuntime().GetLayers()[0].GetStaticLayer().GetFields()
	cluster := func(s *corev3.GrpcService) string { return s.GetEnvoyGrpc().GetClusterName() }
	untyped := func(p *procv3.ExternalProcessor) []string {
		return p.GetMetadataOptions().GetForwardingNamespaces().GetUntyped()
	}
	between := func(d, least, most time.Duration) bool { return d >= least && d <= most }
	facts := map[string]bool{
		"one ext_authz":                                        len(filters) == 1,
		"ext_authz is the first filter":                        hcm.GetHttpFilters()[0].GetName() == "envoy.filters.http.ext_authz",
		"ext_authz is enabled":                                 !hcm.GetHttpFilters()[0].GetDisabled() && authz.GetFilterEnabled() == nil,
		"ext_authz sees every header, where a field is denied": authz.GetAllowedHeaders() == nil,
		"trailers are dropped":                                 !hcm.GetHttpProtocolOptions().GetEnableTrailers(),
		"ext_authz fails closed":                               !authz.GetFailureModeAllow(),
		"ext_authz faults are 503":                             authz.GetStatusOnError().GetCode() == 503,
		"ext_authz denies when disabled":                       authz.GetDenyAtDisable().GetDefaultValue().GetValue(),
		"no global body buffering":                             authz.GetWithRequestBody() == nil,
		"raw headers":                                          authz.GetEncodeRawHeaders(),
		"mutations are validated":                              authz.GetValidateMutations(),
		"mutations are restricted":                             rules.GetDisallowAll().GetValue() && rules.GetDisallowIsError().GetValue(),
		"routes are not chosen again":                          !authz.GetClearRouteCache(),
		"response header limits":                               authz.GetEnforceResponseHeaderLimits(),
		"one leash":                                            len(leashes) == 1,
		"leash fails closed":                                   !leash.GetFailureModeAllow(),
		"leash faults are 503":                                 leash.GetStatusOnError().GetCode() == 503,
		"checks and leashes do not share":                      cluster(leash.GetGrpcService()) != cluster(authz.GetGrpcService()),
		"leash never sees request bodies":                      mode.GetRequestBodyMode() == procv3.ProcessingMode_NONE,
		"leash never sees response bodies":                     mode.GetResponseBodyMode() == procv3.ProcessingMode_NONE,
		"leash learns from ext_authz only":                     slices.Equal(untyped(leash), []string{"envoy.filters.http.ext_authz"}),
		"paths are normalised":                                 hcm.GetNormalizePath().GetValue() && hcm.GetMergeSlashes(),
		"escaped slashes are refused":                          hcm.GetPathWithEscapedSlashesAction().String() == "REJECT_REQUEST",
		"ports are stripped from hosts":                        hcm.GetStripAnyHostPort(),
		"ended streams close at once":                          between(hcm.GetDelayedCloseTimeout().AsDuration(), 1, 100*time.Millisecond),
		"trailing dots are stripped":                           hcm.GetStripTrailingHostDot(),
		"remote address is our own":                            hcm.GetUseRemoteAddress().GetValue(),
		"client certificate header is cleaned":                 hcm.GetForwardClientCertDetails() == hcmv3.HttpConnectionManager_SANITIZE,
		"underscored headers are refused":                      common.GetHeadersWithUnderscoresAction().String() == "REJECT_REQUEST",
		"header count is bounded":                              common.GetMaxHeadersCount().GetValue() == 100,
		"no HTTP/1.0":                                          !hcm.GetHttpProtocolOptions().GetAcceptHttp_10(),
		"no chunked with length":                               !hcm.GetHttpProtocolOptions().GetAllowChunkedLength(),
		"no upgrades by default":                               len(hcm.GetUpgradeConfigs()) == 0,
		"early removal":                                        len(hcm.GetEarlyHeaderMutationExtensions()) == 1,
		"strict chunk parsing":                                 runtime["envoy.reloadable_features.strict_chunk_parsing"].GetBoolValue(),
	}
	for _, d := range collect[*tlsv3.DownstreamTlsContext](t, b) {
		version := d.GetCommonTlsContext().GetTlsParams().GetTlsMinimumProtocolVersion()
		facts["TLS 1.2 or later"] = version >= tlsv3.TlsParameters_TLSv1_2
	}
	for _, c := range b.GetStaticResources().GetClusters() {
		if c.GetName() == envoy.ClusterSCIM {
			continue
		}
		most := c.GetCircuitBreakers().GetThresholds()[0]
		for _, n := range []*wrapperspb.UInt32Value{
			most.GetMaxConnections(), most.GetMaxPendingRequests(), most.GetMaxRequests(),
		} {
			if n.GetValue() < 8192 {
				t.Errorf("%s has a limit below the open streams, want more", c.GetName())
			}
		}
	}
	for name, fact := range facts {
		if !fact {
			t.Errorf("%s: false, want true", name)
		}
	}
}

// TestRoutes: ext_authz covers every route, SCIM and the application never share a cluster, and
// only the right routes have body buffering, upgrades and the leash.
func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := collect[*hcmv3.HttpConnectionManager](t, bootstrap(t))[0].GetRouteConfig()
	buffering, unbuffered, upgrades := map[string]bool{}, 0, 0
	leashed := regexp.MustCompile(`/upgrade$|/events(#.*)?$|/stream/`)
	for _, h := range routes.GetVirtualHosts() {
		for _, r := range h.GetRoutes() {
			per := &authzv3.ExtAuthzPerRoute{}
			if err := r.GetTypedPerFilterConfig()["envoy.filters.http.ext_authz"].UnmarshalTo(per); err != nil {
				t.Fatalf("route %s: %v", r.GetName(), err)
			}
			settings := per.GetCheckSettings()
			if settings == nil || per.GetDisabled() {
				t.Errorf("route %s is not covered", r.GetName())
			}
			extensions, cluster := settings.GetContextExtensions(), r.GetRoute().GetCluster()
			surface := extensions["surface"]
			if (surface == "app") == (cluster == envoy.ClusterSCIM) {
				t.Errorf("route %s of surface %s goes to %s", r.GetName(), surface, cluster)
			}
			if extensions["tenant"] == "" || (surface == "app") == (extensions["app"] == "") {
				t.Errorf("route %s: extensions %v", r.GetName(), extensions)
			}
			if len(r.GetRoute().GetUpgradeConfigs()) > 0 && surface != "app" {
				t.Errorf("route %s allows upgrades on %s", r.GetName(), surface)
			}
			if r.GetRoute().GetInternalRedirectPolicy() != nil || r.GetRoute().GetRetryPolicy() != nil {
				t.Errorf("route %s passes the filter twice, want once", r.GetName())
			}
			if settings.GetDisableRequestBodyBuffering() && surface == "app" {
				unbuffered++
				upgrades += len(r.GetRoute().GetUpgradeConfigs())
			}
			if b := settings.GetWithRequestBody(); b != nil {
				start := strings.HasSuffix(r.GetName(), "/scim-write")
				buffering[r.GetName()] = b.GetAllowPartialMessage() == start && b.GetPackAsBytes()
			}
			wantLeash := leashed.MatchString(r.GetName())
			if _, has := r.GetTypedPerFilterConfig()["envoy.filters.http.ext_proc"]; has != wantLeash {
				t.Errorf("route %s: leash %t, want %t", r.GetName(), has, wantLeash)
			}
		}
		if last := h.GetRoutes()[len(h.GetRoutes())-1]; h.GetName() == "acme/app" && last.GetMatch().GetPrefix() != "/" {
			t.Errorf("the last route of the app is %v", last.GetMatch())
		}
	}
	for _, name := range []string{
		"acme/scim-write", "globex/scim-write",
		"acme/app/login", "acme/app/users/{id}/email",
		"acme/app#below/login", "acme/app/events#below/users/{id}/email",
	} {
		if !buffering[name] {
			t.Errorf("route %s does not buffer whole bodies, or for SCIM their start, want it to", name)
		}
		delete(buffering, name)
	}
	reads := 0
	for name, whole := range buffering {
		switch {
		case strings.HasSuffix(name, "#read") && whole:
			delete(buffering, name)
			reads++
		case strings.Contains(name, "#below/") && whole:
			delete(buffering, name)
		}
	}
	if reads == 0 || reads != unbuffered-upgrades {
		t.Errorf("%d routes of reads, want one for each of the %d routes of an application without a buffer", reads, unbuffered-upgrades)
	}
	if len(buffering) > 0 {
		t.Errorf("bodies are buffered elsewhere too: %v", buffering)
	}
}

// TestEveryExchangeEnds: each route of an application has a leash, or ends request and response together
// soon. The timeout alone begins when the request has ended: a leaver could finish prepared requests.
func TestEveryExchangeEnds(t *testing.T) {
	t.Parallel()
	apps := 0
	for _, h := range collect[*hcmv3.HttpConnectionManager](t, bootstrap(t))[0].GetRouteConfig().GetVirtualHosts() {
		for _, r := range h.GetRoutes() {
			action := r.GetRoute()
			if action.GetCluster() == envoy.ClusterSCIM {
				continue
			}
			apps++
			_, leash := r.GetTypedPerFilterConfig()["envoy.filters.http.ext_proc"]
			whole := action.GetMaxStreamDuration().GetMaxStreamDuration().AsDuration()
			timeout := action.GetTimeout().AsDuration()
			if !leash && (whole <= timeout || whole > 2*time.Minute) || leash && whole != 0 {
				t.Errorf("%s: leash %t, at most %s, timeout %s", r.GetName(), leash, whole, timeout)
			}
		}
	}
	if apps == 0 {
		t.Error("no route of an application")
	}
}

// TestBodyRoutesMatchPlaceholders: {name} and * stand for one segment where Envoy buffers a body.
func TestBodyRoutesMatchPlaceholders(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	for path, want := range map[string]string{
		"/users/{id}/email": "/users/[^/]+/email", "/users/*/email": "/users/[^/]+/email", "/a.b/{x}": `/a\.b/[^/]+`, "/plain": "",
	} {
		cfg.Tenants[0].Apps[0].LocalWrites[1].Path = path
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		hcm, found := collect[*hcmv3.HttpConnectionManager](t, b)[0], false
		for _, h := range hcm.GetRouteConfig().GetVirtualHosts() {
			for _, r := range h.GetRoutes() {
				if r.GetName() != "acme/app"+path {
					continue
				}
				found = true
				if m := r.GetMatch(); m.GetSafeRegex().GetRegex() != want || want == "" && m.GetPath() != path {
					t.Errorf("%s: %v, want %q", path, m, want)
				}
			}
		}
		if !found {
			t.Errorf("no route acme/app%s", path)
		}
	}
}

// TestBodiesBelow: Envoy buffers the body of a write below the path of a body too. Streams there keep their leash.
func TestBodiesBelow(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ path, stream, route, prefix, regex string }{
		{"/plain", "/s", "", "/plain/", ""},
		{"/users/{id}/email", "/s", "", "", "/users/[^/]+/email/.*"},
		{"/graphql*", "/s", "", "/graphql", ""},
		{"/graphql", "/graphql/stream", "/stream/graphql/stream", "/graphql/stream", ""},
		{"/graphql*", "/graphql/stream", "/stream/graphql/stream", "/graphql/stream", ""},
		{"/files/mail", "/files", "/stream/files", "/files/mail/", ""},
		{"/", "/s", "", "", ""},
		{"/plain", "/s", "/stream/s", "", ""},
	} {
		cfg := parseFixture(t)
		app := &cfg.Tenants[0].Apps[0]
		app.LocalWrites[1].Path, app.Streams = row.path, []string{row.stream}
		b, err := envoy.Bootstrap(cfg)
		if err != nil {
			t.Fatal(err)
		}
		prefix, regex := "", ""
		for _, h := range collect[*hcmv3.HttpConnectionManager](t, b)[0].GetRouteConfig().GetVirtualHosts() {
			for _, r := range h.GetRoutes() {
				if r.GetName() == "acme/app"+row.route+"#below"+row.path {
					prefix, regex = r.GetMatch().GetPrefix(), r.GetMatch().GetSafeRegex().GetRegex()
				}
			}
		}
		if prefix != row.prefix || regex != row.regex {
			t.Errorf("%s with the stream %s: route %q has the prefix %q and the expression %q, want %q and %q",
				row.path, row.stream, row.route, prefix, regex, row.prefix, row.regex)
		}
	}
}

// TestIndexFolders: the bodies of a folder are buffered where those of its index page are, and not what lies below it.
func TestIndexFolders(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	cfg.Tenants[0].Apps[0].LocalWrites[1].Path = "/admin/Index.php"
	b, err := envoy.Bootstrap(cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, h := range collect[*hcmv3.HttpConnectionManager](t, b)[0].GetRouteConfig().GetVirtualHosts() {
		for _, r := range h.GetRoutes() {
			found[r.GetName()] = r.GetMatch().GetPath()
		}
	}
	if _, below := found["acme/app#below/admin/"]; found["acme/app/admin/"] != "/admin/" || below {
		t.Errorf("the routes are %v, want one for exactly /admin/", found)
	}
}

// TestBootstrapNeedsCertificate: without a certificate Bootstrap returns an error that names the
// key.
func TestBootstrapNeedsCertificate(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	cfg.Envoy.TLS = config.TLS{}
	if _, err := envoy.Bootstrap(cfg); err == nil || !strings.Contains(err.Error(), "envoy.tls") {
		t.Fatalf("Bootstrap() = %v, want an error that names envoy.tls", err)
	}
}

// TestEnvoyAcceptsBootstrap: envoy --mode validate accepts the printed configuration.
func TestEnvoyAcceptsBootstrap(t *testing.T) {
	t.Parallel()
	validated(t, parseFixture(t))
}
