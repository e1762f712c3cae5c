package envoy

import (
	"fmt"
	"io"
	"path/filepath"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/scimward/scimward/sidecar/config"
)

// Names of the secrets in config.Envoy.SecretsFile.
const (
	secretListener = "scimward_listener" // what clients of Envoy see
	secretAuthz    = "scimward_authz"    //nolint:gosec // a name: what Envoy shows to the authz listener
)

func keyPair(t config.TLS) *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{CertificateChain: fileSource(t.Cert), PrivateKey: fileSource(t.Key)}
}

func fileConfig(path string) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{
			PathConfigSource: &corev3.PathConfigSource{Path: path},
		},
	}
}

// Secrets returns the content of config.Envoy.SecretsFile: the certificates of the bootstrap as resources.
// Envoy reads a pair again when a file is moved into the folder of the certificate (watched_directory),
// and takes it only if certificate and key fit.
func Secrets(cfg *config.Config) (*discoveryv3.DiscoveryResponse, error) {
	if cfg.Envoy.TLS.Cert == "" {
		return nil, fmt.Errorf("envoy.tls: the listener needs a certificate; set cert and key")
	}
	b := &builder{}
	out := &discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{b.secret(secretListener, cfg.Envoy.TLS)}}
	if cfg.Listen.AuthzTLS.Cert != "" {
		out.Resources = append(out.Resources, b.secret(secretAuthz, cfg.Listen.AuthzTLS))
	}
	return out, b.err
}

func (b *builder) secret(name string, t config.TLS) *anypb.Any {
	pair := keyPair(t)
	pair.WatchedDirectory = &corev3.WatchedDirectory{Path: filepath.Dir(t.Cert)}
	return b.any(&tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: pair}})
}

// PrintSecrets writes [Secrets] of cfg as YAML.
func PrintSecrets(w io.Writer, cfg *config.Config) error {
	s, err := Secrets(cfg)
	if err != nil {
		return err
	}
	return printYAML(w, s, "# Envoy's certificates, written by `scimward envoy secrets` for envoy.secrets_file.")
}
