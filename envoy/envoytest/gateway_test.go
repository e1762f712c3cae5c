package envoytest_test

import (
	"net/http"
	"strings"
	"testing"
)

// gatewayRows are headers in which another gateway would say who the user is: they do not reach the
// application. Other headers of the same products do.
func (p *prey) gatewayRows() []row {
	const family = "header of another gateway"
	send := func(line string) func() answer {
		return func() answer { return p.h1("GET", "/healthz", "", p.cookie(p.ada), line) }
	}
	var out []row
	for _, name := range []string{
		"X-WebAuth-User", "X-WEBAUTH-EMAIL", "x-webauth-groups", "x-webauth-role",
		"Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion",
		"X-Goog-Iap-Jwt-Assertion", "X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-Id",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Name", "X-Ms-Token-Aad-Id-Token",
		"X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Accesstoken", "X-Amzn-Mtls-Clientcert-Subject",
		"Remote-User", "Remote-Groups", "X-Remote-Group", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token",
		"X-Authentik-Username", "X-Vouch-User", "X-Pomerium-Claim-Email", "Tailscale-User-Login", "X-Consumer-Username",
		"X-Userinfo", "Iv-User", "Sm-User", "Client-Cert", "X-Ssl-Client-S-Dn", "X-Forwarded-Tls-Client-Cert",
	} {
		out = append(out, row{
			family: family, name: name, want: []int{200}, send: send(name + ": root"),
			upstream: func(t *testing.T, r *http.Request) {
				t.Helper()
				for n, v := range r.Header {
					if strings.EqualFold(n, name) {
						t.Errorf("%s: %q arrived", n, v)
					}
				}
			},
		})
	}
	for _, name := range []string{
		"X-Webauth-Color", "Cf-Connecting-Ip", "X-Goog-Api-Client", "X-Ms-Client-Request-Id", "X-Amzn-Trace-Id",
		"X-Remote-Addr", "X-Consumer-Color",
	} {
		out = append(out, row{
			family: family, name: "twin: " + name, want: []int{200}, send: send(name + ": blue"),
			upstream: func(t *testing.T, r *http.Request) {
				t.Helper()
				if got := r.Header.Get(name); got != "blue" {
					t.Errorf("%s is %q, want blue", name, got)
				}
			},
		})
	}
	return out
}
