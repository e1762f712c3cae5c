package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/config"
)

// twoTenants is a configuration in which two tenants name these upstreams.
func twoTenants(first, second, extra string) string {
	const tenant = `  - name: %[1]s
    external_url: https://%[1]s.example.com
    identity_services: [{client_id: idp, keys: {jwks_uri: https://idp.example.com/jwks}}]
    apps:
      - name: app
        upstream: %[2]s
        subjects: [{header: x-user, is: user_name}]
        local_writes: [{path: /of-%[1]s}]
%[3]s`
	return "version: 1\ntenants:\n" + fmt.Sprintf(tenant, "acme", first, extra) + fmt.Sprintf(tenant, "globex", second, extra)
}

// TestSharedUpstream: two tenants may name one application only if both say so, however they spell it.
// Then each app has the local writes of both.
func TestSharedUpstream(t *testing.T) {
	const shared = "        shared_upstream: true\n"
	for _, row := range []struct {
		first, second string
		same          bool
	}{
		{"http://10.0.0.1:80", "http://10.0.0.1:80", true},
		{"http://127.0.0.1:3000", "http://localhost:3000", true},
		{"http://127.0.0.1:3000", "http://[::1]:3000", true},
		{"http://127.0.0.1:3000", "http://127.0.0.2:03000", true},
		{"http://127.0.0.1:3000", "http://app.localhost:3000", true},
		{"http://127.0.0.1:3000", "http://[::ffff:127.0.0.1]:3000", true},
		{"http://127.0.0.1:3000", "http://0.0.0.0:3000", true},
		{"https://App.example:8443", "http://app.example.:8443", true},
		{"http://127.0.0.1:3000", "http://127.0.0.1:3001", false},
		{"http://a.example:80", "http://b.example:80", false},
	} {
		_, err := config.Parse("f.yaml", t.TempDir(), []byte(twoTenants(row.first, row.second, "")))
		refused := err != nil && strings.Contains(err.Error(), "tenants[1].apps[0].upstream") &&
			strings.Contains(err.Error(), "is an upstream of tenant acme too")
		if refused != row.same || !row.same && err != nil {
			t.Errorf("%s and %s: %v, want a fault: %t", row.first, row.second, err, row.same)
		}
		c, err := config.Parse("f.yaml", t.TempDir(), []byte(twoTenants(row.first, row.second, shared)))
		if err != nil {
			t.Errorf("%s and %s, shared: %v", row.first, row.second, err)
			continue
		}
		want := map[bool]int{true: 2, false: 1}[row.same]
		sharing := config.NewSharing(c)
		for tenant, a := range c.AllApps() {
			if len(a.LocalWrites) != want || slices.Contains(sharing.With(tenant.Name), "acme") != (row.same && tenant.Name == "globex") ||
				len(sharing.Tenants(a)) != want {
				t.Errorf("%s of %s and %s: local writes %v, shared with %v", tenant.Name, row.first, row.second,
					a.LocalWrites, sharing.Tenants(a))
			}
		}
	}
	half := strings.Replace(twoTenants("http://10.0.0.1:80", "http://10.0.0.1:80", shared), shared, "", 1)
	if _, err := config.Parse("f.yaml", t.TempDir(), []byte(half)); err == nil {
		t.Error("shared_upstream in one of two tenants is enough, want a fault")
	}
}

// TestOneApplicationHasOneSetOfPlaces: apps with one upstream must look for credentials in the same places.
// A leaver would use the cookie of one host at the other, where nobody reads it.
func TestOneApplicationHasOneSetOfPlaces(t *testing.T) {
	const file = `version: 1
tenants:
  - name: acme
    external_url: https://acme.example.com
    identity_services: [{client_id: idp, keys: {jwks_uri: https://idp.example.com/jwks}}]
    apps:
      - {name: web, upstream: "http://127.0.0.1:3000", hosts: [web.example.com], subjects: [%s]}
      - {name: api, upstream: "http://localhost:%s", hosts: [api.example.com], subjects: [%s], %s}
`
	const (
		user     = "{header: x-forwarded-user, is: user_name}"
		own      = "{header: x-my-user, is: user_name}"
		login    = "{body: {path: /login, form: username}, is: user_name}"
		signIn   = "{body: {path: /sign-in, form: username}, is: user_name}"
		basic    = "{header: authorization, scheme: basic, basic: user, is: user_name}"
		password = "{header: authorization, scheme: basic, basic: password, is: jwt, jwt: {issuer: https://i.example.com}}"
		bearer   = "{header: authorization, scheme: bearer, is: jwt, jwt: {issuer: https://i.example.com}}"
		whole    = "{header: authorization, is: jwt, jwt: {issuer: https://i.example.com}}"
	)
	for _, row := range []struct{ web, port, api, want string }{
		{user + ", " + own, "3000", user + ", " + own, ""},
		{user + ", " + login, "3000", login + ", " + user, ""},
		{user, "3000", own, "apps[0].subjects"},
		{own, "3000", user, "apps[1].subjects"},
		{user + ", " + login, "3000", user + ", " + signIn, "apps[1].subjects"},
		{own, "3001", user, ""},
		{user, "3000", "{header: x-remote-user, is: user_name}", ""}, // Envoy removes the one that an app does not read
		{own + ", " + basic, "3000", own, "apps[1].subjects"},        // which ignores it
		{own + ", " + whole, "3000", own, "apps[1].subjects"},
		{own + ", " + basic + ", " + password, "3000", own + ", " + basic, "apps[1].subjects"}, // it reads the other half
		{own + ", " + basic, "3000", own + ", " + strings.Replace(basic, "is:", "prefix: a_, is:", 1), "apps[0].subjects"},
		{own + ", " + bearer, "3000", own, ""}, // which refuses it
	} {
		ignores := "ignore_schemes: [Basic]"
		if strings.Contains(row.api, "scheme: basic") {
			ignores = "anonymous: bare"
		}
		_, err := config.Parse("f.yaml", t.TempDir(), fmt.Appendf(nil, file, row.web, row.port, row.api, ignores))
		if row.want == "" && err != nil {
			t.Errorf("%+v: %v", row, err)
		}
		if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "would pass unjudged")) {
			t.Errorf("%+v: %v, want a fault", row, err)
		}
	}
}

// TestOneApplicationHasOneSetOfRoutes: what is said about the routes of an application counts at each of its hosts, but
// the exempt accounts of one host are those of no other.
func TestOneApplicationHasOneSetOfRoutes(t *testing.T) {
	const file = `version: 1
tenants:
  - name: acme
    external_url: https://acme.example.com
    identity_services: [{client_id: idp, keys: {jwks_uri: https://idp.example.com/jwks}}]
    apps:
      - name: web
        upstream: "http://127.0.0.1:3000"
        hosts: [web.example.com]
        subjects: [{header: x-user, is: user_name}]
        exempt: [glass]
        route_parameters: [rt]
        local_writes: [{path: /login, exempt: allow}, {path: /account}]
      - name: api
        upstream: "http://localhost:3000"
        hosts: [api.example.com]
        subjects: [{header: x-user, is: user_name}]
        exempt: [service]
        local_writes: [{path: /users}, {path: /users}, {path: /users}]
`
	c, err := config.Parse("f.yaml", t.TempDir(), []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"[/login allow /account refuse /users refuse] [rt]", "[/login refuse /account refuse /users refuse] [rt]"}
	for i, a := range c.Tenants[0].Apps {
		var writes []string
		for _, w := range a.LocalWrites {
			writes = append(writes, w.Path, w.Exempt)
		}
		if got := fmt.Sprint(writes, " ", a.RouteParameters); got != want[i] {
			t.Errorf("%s: %s, want %s", a.Name, got, want[i])
		}
	}
}
