package bench_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
	"github.com/scimward/scimward/sidecar/passes"
	"github.com/scimward/scimward/store/storetest/child"
)

// shortDir makes a folder whose path is short enough for a socket.
func shortDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "b") //nolint:usetesting // the path of b.TempDir is too long for a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

const configText = `version: 1
data_dir: data
listen: {authz: "unix:authz.sock", scim: "unix:scim.sock", admin: "unix:admin.sock", metrics: "unix:metrics.sock"}
tenants:
  - name: acme
    external_url: https://acme.example
    requests_per_second: 100000
    external_issuers:
      - issuer: https://as.example
        keys: {jwks_file: jwks.json}
    apps:
      - name: app
        upstream: http://127.0.0.1:%[1]s
        hosts: [app.example]
        subjects:
          - {cookie: session, is: opaque}
        local_writes:
          - {path: /account/email}
        plugin:
          manifest: %[2]s
          config: {base_url: "http://127.0.0.1:%[1]s"}
          secrets: {admin: admin.secret}
          http:
            - {scheme: http, host: 127.0.0.1, port: %[1]s, methods: [GET, HEAD, DELETE, POST], path_prefixes: ["/"], secrets: [admin], identify: true, allow_private: ["127.0.0.0/8"]}
`

// configure writes a configuration with one tenant under ipsie-il1, one
// application, and the fixture plugin of package plugins.
func configure(b *testing.B, dir, app string, key *signer) {
	b.Helper()
	u, err := url.Parse(app)
	if err != nil {
		b.Fatal(err)
	}
	wasm := plugintest.BuildGo(b, "../../plugins/plugintest/testdata/hostile")
	manifest := plugintest.WriteManifest(b, wasm, plugins.Manifest{
		Name: "hostile", Version: "1.0.0", Kinds: []abi.Kind{abi.KindWebSession, abi.KindPAT},
		Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{{
			BaseURL: "base_url", Methods: []string{"GET", "HEAD", "DELETE", "POST"}, Secrets: []string{"admin"}, Identify: true,
		}}},
	})
	for name, text := range map[string]string{
		"scimward.yaml": fmt.Sprintf(configText, u.Port(), manifest),
		"jwks.json":     key.jwks(),
		"admin.secret":  "a-secret-of-the-benchmark",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

// whoami is the application. It accepts one session, and lets scimward cache the answer for five
// minutes.
func whoami(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+sessionValue {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("X-Request-Id", "300")
	fmt.Fprint(w, `{"User":"ann"}`)
}

// provision creates the user of the session, because the directory must know everybody.
func provision(b *testing.B, dir, token string) {
	b.Helper()
	client := unixClient(filepath.Join(dir, "scim.sock"), 1)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://acme.example/scim/v2/Users", strings.NewReader(
		`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ann","externalId":"e-1",`+
			`"emails":[{"value":"ann@acme.example"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/scim+json")
	res, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		answer, _ := io.ReadAll(res.Body) // for the message only
		b.Fatalf("creating the user: status %d %s", res.StatusCode, answer)
	}
}

const sessionValue = "0f8b2c4d6e8f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f"

// signer is the external issuer: an ES256 key.
type signer struct{ key *ecdsa.PrivateKey }

func newSigner(b *testing.B) *signer {
	b.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	return &signer{k}
}

func (s *signer) jwks() string {
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		panic("bench: a P-256 key has no encoding: " + err.Error())
	}
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// keyFile has the public key for the server verify.
const keyFile = "key.der"

// publish writes the public key into the folder of a server.
func (s *signer) publish(b *testing.B, dir string) {
	b.Helper()
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, keyFile), der, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// token returns an RFC 9068 access token. scimward recognizes it only if it has seen the jti.
func (s *signer) token(b *testing.B, jti string) string {
	b.Helper()
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss":            "https://as.example",
		"aud":            "https://acme.example/scim/v2",
		"sub":            "https://idp.example",
		"client_id":      "https://idp.example",
		"jti":            "5f0d6c1e-3b7a-4a55-9d2b-0c9a61f3f7aa-" + jti,
		"scope":          "scim",
		"iat":            now,
		"nbf":            now,
		"exp":            now + 3600,
		"token_endpoint": "https://acme.example/oauth/token",
		"tenant":         "b2c41a7e-6f0e-4d1b-8d55-7a1f4d3f9c10",
	})
	if err != nil {
		b.Fatal(err)
	}
	signing := b64([]byte(`{"alg":"ES256","kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs","typ":"at+jwt"}`)) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signing))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	t.FillBytes(sig[32:])
	return signing + "." + b64(sig)
}

// verifyCost is the processor time of one bare ES256 verification in µs.
func (s *signer) verifyCost(b *testing.B, n int) float64 {
	b.Helper()
	sum := sha256.Sum256([]byte("a token"))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	sig, err := asn1.Marshal(struct{ R, S *big.Int }{r, t})
	if err != nil {
		b.Fatal(err)
	}
	before, err := child.CPU()
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		if !ecdsa.VerifyASN1(&s.key.PublicKey, sum[:], sig) {
			b.Fatal("VerifyASN1() = false, want true")
		}
	}
	after, err := child.CPU()
	if err != nil {
		b.Fatal(err)
	}
	return micros(after-before) / float64(n)
}

// readRequest returns the request that Envoy sends with the generated configuration for a read of
// user n.
func readRequest(token string, n int) *authv3.CheckRequest {
	path := fmt.Sprintf("/scim/v2/Users/2819c223-7f76-453a-919d-%012x", n)
	return checkRequest("scim", "GET", "acme.example", path, nil,
		"authorization", "Bearer "+token, "accept", "application/scim+json", "content-type", "application/scim+json")
}

// writeRequest adds user n to a group, in the shape that the profile allows.
func writeRequest(token string, n int) *authv3.CheckRequest {
	body := fmt.Appendf(nil, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":"2819c223-7f76-453a-919d-%012x"}]}]}`, n)
	return checkRequest("scim", "PATCH", "acme.example", "/scim/v2/Groups/e9e30dba-f08f-4109-8486-d5c6a331660a", body,
		"authorization", "Bearer "+token, "accept", "application/scim+json",
		"content-type", "application/scim+json", "content-length", fmt.Sprint(len(body)))
}

// appRequest is a page of the application at the address app, with a session cookie among others.
func appRequest(b *testing.B, app string) *authv3.CheckRequest {
	b.Helper()
	u, err := url.Parse(app)
	if err != nil {
		b.Fatal(err)
	}
	declared := append(passes.New([]string{passes.EveryHeader}, []string{"/login"}, nil), passes.Upstream(u.Host))
	r := checkRequest("app", "GET", "app.example", "/projects/17/board?view=week", nil,
		"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
		"cookie", "theme=dark; "+"session="+sessionValue+"; consent="+strings.Repeat("y", 120))
	r.Attributes.ContextExtensions[passes.Extension] = declared.String()
	return r
}

func checkRequest(surface, method, host, path string, body []byte, headers ...string) *authv3.CheckRequest {
	headers = append(headers, "host", host,
		"x-request-id", "3f1c2d7e-9a4b-4c1d-8e2f-5a6b7c8d9e0f",
		"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	h := &authv3.AttributeContext_HttpRequest{
		Id: "5237012873405", Method: method, Path: path, Host: host, Scheme: "https", Protocol: "HTTP/2",
		Size: -1, RawBody: body, HeaderMap: &corev3.HeaderMap{},
	}
	for i := 0; i < len(headers); i += 2 {
		header := &corev3.HeaderValue{Key: headers[i], RawValue: []byte(headers[i+1])}
		h.HeaderMap.Headers = append(h.HeaderMap.Headers, header)
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: peer("192.0.2.7", 51234), Destination: peer("198.51.100.1", 8443),
		Request: &authv3.AttributeContext_Request{Time: timestamppb.Now(), Http: h},
		ContextExtensions: map[string]string{
			"surface": surface, "tenant": "acme", "app": "app",
		},
		MetadataContext: &corev3.Metadata{}, RouteMetadataContext: &corev3.Metadata{},
		TlsSession: &authv3.AttributeContext_TLSSession{Sni: host},
	}}
}

func peer(address string, port uint32) *authv3.AttributeContext_Peer {
	socket := &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}
	return &authv3.AttributeContext_Peer{
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: socket}},
	}
}
