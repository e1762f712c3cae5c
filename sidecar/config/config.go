// Package config reads the configuration of scimward: one strict YAML document, and one for each tenant in
// tenants_dir. [Load] reports all faults at once. Each fault has a line, a path and a proposed fix. Unknown keys are
// faults.
// The file contains the paths of files with secrets, never the secrets.
//
// The field comments are the reference documentation: docs/configuration.md is generated from them.
// An absent or empty value means the default that the comment names. Durations are numbers with a
// unit ("250ms", "5m"). Relative paths are relative to the folder of the file that has them.
package config

import (
	"iter"
	"time"
)

// Config is the whole file.
type Config struct {
	// Version of the file format. Required: 1.
	Version int `yaml:"version"`
	// DataDir is the folder of the store, the plugin cache and the sockets. scimward creates it
	// with mode 0700. Default "data".
	DataDir string `yaml:"data_dir"`
	// Listen names the four listeners.
	Listen Listen `yaml:"listen"`
	// Envoy describes the proxy in front, for `scimward envoy bootstrap`.
	Envoy Envoy `yaml:"envoy"`
	// Log configures the log. Logs go to standard error as JSON.
	Log Log `yaml:"log"`
	// Drain is how long `serve` waits after SIGTERM for running requests and jobs before it closes
	// connections. Default 10s.
	Drain time.Duration `yaml:"drain"`
	// Revocation tunes the engine that calls the plugins.
	Revocation Revocation `yaml:"revocation"`
	// Tenants lists the tenants. A tenant cannot reach the users, keys or applications of another.
	// Required: at least one, here or in tenants_dir.
	Tenants []Tenant `yaml:"tenants"`
	// TenantsDir is a folder with further tenants. Each file that ends in .yaml or .yml, and does not begin
	// with a dot, is one tenant: the keys of an entry of tenants, without a list around them. Relative paths in it
	// are relative to this folder. Names, hosts and issuers are unique across all files. A file that is
	// changed, added or removed is a change of the configuration. At most 10,000 files of 1 MiB, 64 MiB together.
	// Empty means none.
	TenantsDir string `yaml:"tenants_dir"`
	// TokenKeys configures the keys that sign access tokens and evidence reports.
	TokenKeys TokenKeys `yaml:"token_keys"`
	// DecisionLog says where the records of decisions go.
	DecisionLog DecisionLog `yaml:"decision_log"`
	// Cluster makes this process one of several with the same users and locks.
	Cluster Cluster `yaml:"cluster"`
}

// TokenKeys configures the signing keys of all tenants. A change needs a restart.
type TokenKeys struct {
	// RotateEvery is how long a key signs. The next one is published ten minutes before it signs, and the
	// former one until its last token has expired. Zero means 2160h (90 days). 24h to 8760h.
	RotateEvery time.Duration `yaml:"rotate_every"`
	// KeyEncryptionKeyFile is a file with 32 bytes, as base64 or hexadecimal text. It encrypts the signing
	// keys in the store, with AES-256-GCM, from the next start on. Without this file scimward does not start
	// any more. Empty means that they are stored in plain.
	KeyEncryptionKeyFile string `yaml:"key_encryption_key_file"`
	// FormerKeyEncryptionKeyFile is the file with the key-encryption key of before. The next start encrypts
	// the signing keys under the present one. Then remove this entry. Empty means none.
	FormerKeyEncryptionKeyFile string `yaml:"former_key_encryption_key_file"`
	// ReplaceUnreadable makes new signing keys at the start, in place of those that neither file decrypts.
	// All their tokens end. It is for a lost key-encryption key: remove it after the start. Default false.
	ReplaceUnreadable bool `yaml:"replace_unreadable"`
}

// Listen names the listeners. scimward opens no other.
type Listen struct {
	// Authz is where Envoy sends its checks: "unix:PATH" or "HOST:PORT". TCP beyond loopback needs
	// authz_tls. The socket has mode 0660, and other users cannot enter data_dir. If Envoy runs as
	// another user, name a socket in a folder that both users may enter, and give them a common group.
	// Default "unix:" + data_dir + "/authz.sock".
	Authz string `yaml:"authz"`
	// AuthzTLS is the certificate of a TCP authz listener. It needs client_ca too (mTLS).
	AuthzTLS ListenerTLS `yaml:"authz_tls"`
	// SCIM is where Envoy forwards SCIM and OAuth requests: "HOST:PORT" or "unix:PATH". Without TLS it
	// must be on loopback or a unix socket. Default "127.0.0.1:8460".
	SCIM string `yaml:"scim"`
	// SCIMTLS is the certificate of the scim listener (TLS 1.2 or later). Required when scim is beyond
	// loopback.
	SCIMTLS ListenerTLS `yaml:"scim_tls"`
	// Admin is the socket of the operators' commands, "unix:PATH". It has mode 0600. On Linux it serves
	// only root and the user who runs scimward. Default "unix:" + data_dir + "/admin.sock".
	Admin string `yaml:"admin"`
	// Metrics is where Prometheus and the probes of Kubernetes connect: "HOST:PORT" or "unix:PATH". It
	// serves /livez, /readyz and /metrics, without TLS. It is read only and names no person, so it may
	// be beyond loopback. Default "127.0.0.1:8461".
	Metrics string `yaml:"metrics"`
}

// TLS names certificate files.
type TLS struct {
	// Cert is a PEM file with the certificate chain.
	Cert string `yaml:"cert"`
	// Key is a PEM file with the private key.
	Key string `yaml:"key"`
	// ClientCA is a PEM file with the authorities that issue client certificates. Empty means that
	// clients need none.
	ClientCA string `yaml:"client_ca"`
}

// Envoy describes the proxy, for its generated configuration.
type Envoy struct {
	// Listen is the address that Envoy serves, "HOST:PORT". Default "0.0.0.0:8443".
	Listen string `yaml:"listen"`
	// TLS is the certificate that clients see. Required for `envoy bootstrap`.
	TLS TLS `yaml:"tls"`
	// Connect says how Envoy reaches scimward, if another machine or container runs it.
	Connect Connect `yaml:"connect"`
	// Dir is the folder with Envoy's own files where Envoy runs, if it does not share the files of scimward.
	// `envoy bootstrap` then names the files of tls, connect and secrets_file by their names in this folder:
	// with "/etc/envoy", tls/client.crt is /etc/envoy/client.crt. "." is the folder in which Envoy starts.
	// scimward judges those of them that it finds, and does not miss the others. Empty means that both see
	// the same files.
	Dir string `yaml:"dir"`
	// SecretsFile is the file with what `scimward envoy secrets` prints: where Envoy finds its
	// certificates. Envoy then watches the folders of the certificates and reads a pair again when a new
	// file is moved there, without a restart. With connect there are further files beside it, such as
	// envoy-secrets-connect.yaml, which --out writes. Empty means that Envoy reads them once, when it starts.
	SecretsFile string `yaml:"secrets_file"`
	// AccessLog says whether Envoy writes a line of JSON for each request to its standard output, with the id of
	// the decision and without path, names and tokens: stdout or off. Default stdout.
	AccessLog string `yaml:"access_log"`
	// Admin is Envoy's own admin listener, "HOST:PORT" on loopback. Default "127.0.0.1:9901".
	Admin string `yaml:"admin"`
	// CheckTimeout limits one authorization check. When it expires, Envoy answers 503. Zero means 1s,
	// which leaves enough time for identify of a plugin (500ms).
	CheckTimeout time.Duration `yaml:"check_timeout"`
	// MaxBodyBytes is the largest SCIM request body, in bytes. A larger body is answered with 413.
	// Zero means 262144 (256 KiB). At most 1048576.
	MaxBodyBytes int `yaml:"max_body_bytes"`
	// MaxGroupBodyBytes is the largest body of a SCIM request that creates or changes a group, in bytes.
	// Envoy does not buffer a body above max_body_bytes. The check then decides on headers and token, and
	// scimward on the whole body when it has arrived. All such bodies together take no more memory than
	// one of the largest: further ones get 503 with Retry-After. Zero means 33554432 (32 MiB), enough for
	// 150,000 members as scimward returns them. At least max_body_bytes, at most 33554432.
	MaxGroupBodyBytes int `yaml:"max_group_body_bytes"`
}

// Log configures the log.
type Log struct {
	// Level is one of debug, info, warn and error. Default info.
	Level string `yaml:"level"`
}

// Revocation tunes the revocation engine.
type Revocation struct {
	// Workers is the number of users that the engine processes at once. Zero means 4. At most 64.
	Workers int `yaml:"workers"`
	// Deadline is how soon after the request every credential must be revoked. A later revocation is a
	// breach and raises the alarm. Zero means 5m.
	Deadline time.Duration `yaml:"deadline"`
	// Lease is how long a job stays with a worker that no longer answers. Zero means 30s.
	Lease time.Duration `yaml:"lease"`
}

// AllApps ranges over every app with its tenant, in the order of the file.
func (c *Config) AllApps() iter.Seq2[*Tenant, *App] {
	return func(yield func(*Tenant, *App) bool) {
		for i := range c.Tenants {
			t := &c.Tenants[i]
			for j := range t.Apps {
				if !yield(t, &t.Apps[j]) {
					return
				}
			}
		}
	}
}
