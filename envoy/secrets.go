package envoy

import (
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/scimward/scimward/sidecar/config"
)

// Names of the secrets in config.Envoy.SecretsFile. The authorities of a cluster have its name.
const (
	secretListener = "scimward_listener" // what clients of Envoy see
	secretConnect  = "scimward_connect"  // what Envoy shows to the listeners of scimward
)

// ownCluster is a cluster that leads to a listener of scimward.
type ownCluster struct {
	name, key, addr string
	listener        *config.ListenerTLS
	listenerKey     string
	limit           uint32 // of a gRPC cluster; zero means HTTP/1.1 without a limit
}

// ownClusters returns them. Checks and leashes have separate clusters, so that open streams never delay a
// check.
func ownClusters(cfg *config.Config) []ownCluster {
	to, l := &cfg.Envoy.Connect, &cfg.Listen
	return []ownCluster{
		{ClusterAuthz, "envoy.connect.authz", to.Authz, &l.AuthzTLS, "listen.authz_tls", maxChecks},
		{ClusterLeash, "envoy.connect.leash", to.Leash, &l.AuthzTLS, "listen.authz_tls", maxOpen},
		{ClusterSCIM, "envoy.connect.scim", to.SCIM, &l.SCIMTLS, "listen.scim_tls", 0},
	}
}

// file is a file where Envoy finds it.
func (b *builder) file(path string) string {
	if b.envoy.Dir == "" {
		return path
	}
	return strings.TrimSuffix(b.envoy.Dir, "/") + "/" + filepath.Base(path) // Envoy does not watch a name without a folder
}

func fileSource(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func (b *builder) keyPair(t config.TLS) *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{
		CertificateChain: fileSource(b.file(t.Cert)), PrivateKey: fileSource(b.file(t.Key)),
	}
}

func fileConfig(path string) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: path},
		},
	}
}

// sds names a secret of config.Envoy.SecretsFile.
func (b *builder) sds(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: fileConfig(b.file(b.envoy.SecretsFile))}
}

// showing returns a context that presents own, which has the secret of that name. Own may be empty.
func (b *builder) showing(secret string, own config.TLS) *tlsv3.CommonTlsContext {
	c := &tlsv3.CommonTlsContext{TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2}}
	switch {
	case own.Cert == "":
	case b.envoy.SecretsFile != "":
		c.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{b.sds(secret)}
	default:
		c.TlsCertificates = []*tlsv3.TlsCertificate{b.keyPair(own)}
	}
	return c
}

// trusting returns what accepts the peers that the authorities of a file vouch for.
func trusting(ca string) *tlsv3.CommonTlsContext_ValidationContext {
	return &tlsv3.CommonTlsContext_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: fileSource(ca)},
	}
}

// downstreamTLS is what clients of Envoy see.
func (b *builder) downstreamTLS(own config.TLS) *tlsv3.CommonTlsContext {
	c := b.showing(secretListener, own)
	if own.ClientCA != "" {
		c.ValidationContextType = trusting(b.file(own.ClientCA))
	}
	return c
}

// upstreamTLS connects to an application. Its certificate must be for the name.
func (b *builder) upstreamTLS(ca, name string) *corev3.TransportSocket {
	c := b.showing("", config.TLS{})
	c.ValidationContextType = trusting(ca)
	return b.transport(&tlsv3.UpstreamTlsContext{Sni: name, AutoSniSanValidation: true, CommonTlsContext: c})
}

// listenerTLS connects to a listener of scimward: it shows the certificate of Envoy, and accepts only the
// listener's.
func (b *builder) listenerTLS(to *ownCluster) *corev3.TransportSocket {
	own := b.envoy.Connect.Own()
	if to.listener.ClientCA != "" && own.Cert == "" {
		b.fail(fmt.Errorf("envoy.connect: %s has client_ca, so Envoy needs a certificate; set cert and key", to.listenerKey))
	}
	c := b.showing(secretConnect, own)
	if to.limit > 0 {
		c.AlpnProtocols = []string{"h2"} // gRPC refuses a connection without it
	}
	if b.envoy.SecretsFile != "" {
		c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: b.sds(to.name),
		}
	} else {
		c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: b.validation(to)}
	}
	name := b.envoy.Connect.NameAt(to.addr)
	if san(name).GetSanType() != tlsv3.SubjectAltNameMatcher_DNS {
		name = "" // RFC 6066 §3: only host names
	}
	return b.transport(&tlsv3.UpstreamTlsContext{Sni: name, CommonTlsContext: c})
}

// validation accepts the certificate of a listener: one of the authorities for the right name, or without
// authorities that certificate itself.
func (b *builder) validation(to *ownCluster) *tlsv3.CertificateValidationContext {
	ca := b.envoy.Connect.CA
	if ca == "" {
		if b.envoy.Dir != "" {
			b.fail(fmt.Errorf("envoy.connect: Envoy cannot verify %s without the authority of its certificate; set ca",
				to.listenerKey))
		}
		return &tlsv3.CertificateValidationContext{TrustedCa: fileSource(to.listener.Cert)}
	}
	out := &tlsv3.CertificateValidationContext{TrustedCa: fileSource(b.file(ca))}
	name := b.envoy.Connect.NameAt(to.addr)
	if name == "" {
		b.fail(fmt.Errorf("envoy.connect: which name has the certificate of %s? Set server_name", to.listenerKey))
	}
	out.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{san(name)}
	return out
}

// san matches a DNS name, an address or a URI.
func san(name string) *tlsv3.SubjectAltNameMatcher {
	out := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_DNS,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
	}
	switch _, err := netip.ParseAddr(name); {
	case err == nil:
		out.SanType = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	case strings.Contains(name, "://"):
		out.SanType = tlsv3.SubjectAltNameMatcher_URI
	}
	return out
}

// Secrets returns the content of config.Envoy.SecretsFile: the certificates and authorities of the bootstrap
// as resources. Envoy reads them again when a file is moved into their folder (watched_directory), and takes a
// pair only if certificate and key fit.
func Secrets(cfg *config.Config) (*discoveryv3.DiscoveryResponse, error) {
	if cfg.Envoy.TLS.Cert == "" {
		return nil, fmt.Errorf("envoy.tls: the listener needs a certificate; set cert and key")
	}
	b := &builder{envoy: &cfg.Envoy}
	out := &discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{b.pairSecret(secretListener, cfg.Envoy.TLS)}}
	if own := cfg.Envoy.Connect.Own(); own.Cert != "" {
		out.Resources = append(out.Resources, b.pairSecret(secretConnect, own))
	}
	for _, to := range ownClusters(cfg) {
		if to.listener.Cert == "" {
			continue
		}
		v := b.validation(&to)
		v.WatchedDirectory = folderOf(v.GetTrustedCa().GetFilename())
		out.Resources = append(out.Resources, b.any(&tlsv3.Secret{
			Name: to.name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: v},
		}))
	}
	return out, b.err
}

func (b *builder) pairSecret(name string, t config.TLS) *anypb.Any {
	pair := b.keyPair(t)
	pair.WatchedDirectory = folderOf(pair.GetCertificateChain().GetFilename())
	return b.any(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: pair}})
}

func folderOf(file string) *corev3.WatchedDirectory {
	return &corev3.WatchedDirectory{Path: filepath.Dir(file)}
}

// PrintSecrets writes [Secrets] of cfg as YAML.
func PrintSecrets(w io.Writer, cfg *config.Config) error {
	s, err := Secrets(cfg)
	if err != nil {
		return err
	}
	return printYAML(w, s, "# Envoy's certificates, written by `scimward envoy secrets` for envoy.secrets_file.")
}
