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

// Names of the secrets. Envoy takes exactly one from a file: the first from config.Envoy.SecretsFile, the others from
// files beside it.
const (
	secretListener = "scimward_listener" // what clients of Envoy see
	secretConnect  = "scimward_connect"  // what Envoy shows to the listeners of scimward
	secretCA       = "scimward_ca"       // whom Envoy trusts to be a listener of scimward
)

// fileOf returns the file of a secret: envoy-secrets.yaml, envoy-secrets-connect.yaml and envoy-secrets-ca.yaml.
func (b *builder) fileOf(secret string) string {
	file := b.envoy.SecretsFile
	if secret == secretListener {
		return file
	}
	ext := filepath.Ext(file)
	return strings.TrimSuffix(file, ext) + "-" + strings.TrimPrefix(secret, "scimward_") + ext
}

// ownCluster is a cluster that leads to listeners of scimward.
type ownCluster struct {
	name, key   string
	addrs       []string
	listener    *config.ListenerTLS
	listenerKey string
	limit       uint32 // of a gRPC cluster; zero means HTTP/1.1 without a limit
}

// coresKey is the key of the listeners of other processes, the cores.
const coresKey = "envoy.connect.cores"

// ofCores reports whether the cluster leads to the cores.
func (o *ownCluster) ofCores() bool { return o.key == coresKey }

// ownClusters returns them. Checks and leashes have separate clusters, so that open streams never delay a
// check.
func ownClusters(cfg *config.Config) []ownCluster {
	to, l := &cfg.Envoy.Connect, &cfg.Listen
	out := []ownCluster{
		{ClusterAuthz, "envoy.connect.authz", []string{to.Authz}, &l.AuthzTLS, "listen.authz_tls", maxChecks},
		{ClusterLeash, "envoy.connect.leash", []string{to.Leash}, &l.AuthzTLS, "listen.authz_tls", maxOpen},
	}
	if len(to.Cores) == 0 {
		return append(out, ownCluster{
			ClusterSCIM, "envoy.connect.scim", []string{to.SCIM}, &l.SCIMTLS, "listen.scim_tls", 0,
		})
	}
	own := &config.ListenerTLS{}
	if to.CA != "" { // what the cores show is in their files
		own.Cert = coresKey
	}
	authz, scim := to.CoreAddresses()
	return append(out,
		ownCluster{ClusterCores, coresKey, authz, own, coresKey, maxChecks},
		ownCluster{ClusterSCIM, coresKey, scim, own, coresKey, 0})
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

// sds names a secret and its file.
func (b *builder) sds(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: fileConfig(b.file(b.fileOf(name)))}
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
	b.validate(c, to)
	name := b.envoy.Connect.NameAt(to.addrs[0])
	if san(name).GetSanType() != tlsv3.SubjectAltNameMatcher_DNS || to.ofCores() && b.envoy.Connect.ServerName == "" {
		name = "" // RFC 6066 §3: only host names; and that of one core is wrong for the others
	}
	return b.transport(&tlsv3.UpstreamTlsContext{Sni: name, CommonTlsContext: c})
}

// validate accepts the certificate of a listener: one of the authorities for the right name, or without
// authorities that certificate itself.
func (b *builder) validate(c *tlsv3.CommonTlsContext, to *ownCluster) {
	ca := b.envoy.Connect.CA
	if ca == "" {
		if b.envoy.Dir != "" {
			b.fail(fmt.Errorf("envoy.connect: Envoy cannot verify %s without the authority of its certificate; set ca",
				to.listenerKey))
		}
		c.ValidationContextType = trusting(to.listener.Cert)
		return
	}
	var names []*tlsv3.SubjectAltNameMatcher
	for _, addr := range to.addrs {
		name := b.envoy.Connect.NameAt(addr)
		if name == "" {
			b.fail(fmt.Errorf("envoy.connect: which name has the certificate of %s? Set server_name", to.listenerKey))
		}
		names = append(names, san(name))
		if b.envoy.Connect.ServerName != "" {
			break // one name for all
		}
	}
	if b.envoy.SecretsFile == "" {
		trust := trusting(b.file(ca))
		trust.ValidationContext.MatchTypedSubjectAltNames = names
		c.ValidationContextType = trust
		return
	}
	c.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: names},
			ValidationContextSdsSecretConfig: b.sds(secretCA),
		},
	}
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

// SecretFile is a file in which Envoy finds one certificate or the authorities.
type SecretFile struct {
	Name    string // its path, beside config.Envoy.SecretsFile
	Content *discoveryv3.DiscoveryResponse
}

// Secrets returns config.Envoy.SecretsFile and the files beside it: the certificates and authorities of the
// bootstrap, each as a resource. Envoy reads them again when a file is moved into their folder
// (watched_directory), and takes a pair only if certificate and key fit.
func Secrets(cfg *config.Config) ([]SecretFile, error) {
	if cfg.Envoy.TLS.Cert == "" {
		return nil, fmt.Errorf("envoy.tls: the listener needs a certificate; set cert and key")
	}
	b := &builder{envoy: &cfg.Envoy}
	var out []SecretFile
	add := func(s *tlsv3.Secret) {
		out = append(out, SecretFile{
			b.fileOf(s.GetName()), &discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{b.any(s)}},
		})
	}
	add(b.pairSecret(secretListener, cfg.Envoy.TLS))
	if own := cfg.Envoy.Connect.Own(); own.Cert != "" {
		add(b.pairSecret(secretConnect, own))
	}
	if ca := cfg.Envoy.Connect.CA; ca != "" {
		trust := trusting(b.file(ca)).ValidationContext
		trust.WatchedDirectory = folderOf(b.file(ca))
		add(&tlsv3.Secret{Name: secretCA, Type: &tlsv3.Secret_ValidationContext{ValidationContext: trust}})
	}
	return out, b.err
}

func (b *builder) pairSecret(name string, t config.TLS) *tlsv3.Secret {
	pair := b.keyPair(t)
	pair.WatchedDirectory = folderOf(pair.GetCertificateChain().GetFilename())
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: pair}}
}

func folderOf(file string) *corev3.WatchedDirectory {
	return &corev3.WatchedDirectory{Path: filepath.Dir(file)}
}

// Print writes the content as YAML.
func (f *SecretFile) Print(w io.Writer) error {
	return printYAML(w, f.Content, "# Envoy's certificates, written by `scimward envoy secrets` for envoy.secrets_file.")
}
