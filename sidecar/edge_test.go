package sidecar_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/ca"
)

// withStale has a second application that is served without a lease.
const withStale = base + "        hosts: [app.example.com]\n" + `      - name: before
        upstream: http://127.0.0.1:3001
        hosts: [before.example.com]
        on_stale: serve
        stale_limit: 1h
        subjects: [{header: x-user, is: user_name}]
`

// startEdged starts three cores with a listener for edges under mTLS, and edges that follow them. All have the
// configuration text.
func startEdged(t *testing.T, configuration string, edges int) (*cores, []*running) {
	t.Helper()
	authority, err := ca.Create(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pair := func(name, of string, server bool) string {
		p, err := authority.Issue(ca.Request{Names: []string{of}, Server: server}, time.Now())
		if err == nil {
			err = p.Write(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("cert: %s/%s.crt, key: %s/%s.key, client_ca: %s/ca.crt", dir, name, dir, name, dir)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), authority.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ip := loopbackAddress()
	server := pair("core", ip.String(), true)
	c := newCores(t, configuration, ip, func(i int) string {
		return fmt.Sprintf("  edges: {listen: \"%s:%d\", tls: {%s, client_names: [\"*.edge.example\"]}}\n", ip, 7222+i, server)
	})
	var addrs []string
	for i := range c.dirs {
		addrs = append(addrs, fmt.Sprintf("\"%s:%d\"", ip, 7222+i))
	}
	var out []*running
	for i := range edges {
		name := fmt.Sprintf("e%d", i)
		text := configuration + fmt.Sprintf("\ncluster: {role: edge, name: %s, lease: 3s, heartbeat: 200ms, cores: [%s], tls: {%s}}\n",
			name, strings.Join(addrs, ", "), pair(name, name+".edge.example", false))
		out = append(out, startIn(t, newFolder(t, text), sidecar.Options{}))
	}
	for i, e := range out {
		until(t, fmt.Sprintf("edge %d to be ready", i), func() bool {
			code, _ := e.get("/readyz")
			return code == http.StatusOK
		})
	}
	return c, out
}

// readyForEnvoy asks the SCIM listener whether Envoy may send requests there.
func readyForEnvoy(t *testing.T, r *running) int {
	t.Helper()
	res, err := http.Get("http://" + r.scim + "/envoy/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// TestEdges: what any core is told holds at every edge when its answer comes. An edge goes on when its core ends, and
// says where the SCIM service is. Without any core it serves only an application that wants so, and only whom it knows.
func TestEdges(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	c, edges := startEdged(t, withStale, 3)
	idp := c.idp
	bearer := idp.token()
	allowed := func(user string) (n int) {
		for _, e := range edges {
			if e.ask("app", "app.example.com", user) == 0 {
				n++
			}
		}
		return n
	}
	leave := func(i int, name string) {
		t.Helper()
		idp.r = c.run[i]
		id := idp.create("/Users", bearer, userNamed(name))
		until(t, "every edge to know "+name, func() bool { return allowed(name) == len(edges) })
		if status, _, text := idp.scim(http.MethodPatch, "/Users/"+id, bearer, off); status != http.StatusOK {
			t.Fatalf("deactivating at core %d: %d %s", i, status, text)
		}
		if n := allowed(name); n != 0 {
			t.Errorf("%d edges allow %s after the answer, want none", n, name)
		}
	}
	for i := range 6 {
		leave(i%3, fmt.Sprint("user", i))
	}
	if n := allowed("nobody"); n != 0 {
		t.Errorf("%d edges allow somebody whom the directory does not know", n)
	}
	if err := c.run[0].stop(); err != nil {
		t.Errorf("stopping core 0: %v", err)
	}
	c.run[0] = nil
	until(t, "every edge to follow another core", func() bool {
		for _, e := range edges {
			if code, _ := e.get("/readyz"); code != http.StatusOK {
				return false
			}
		}
		return true
	})
	leave(1, "ada")
	res, err := http.Get("http://" + edges[0].scim + "/scim/v2/Users")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusMisdirectedRequest || !strings.Contains(string(text), ":7222") {
		t.Errorf("SCIM at an edge: %d %s, want 421 and the cores", res.StatusCode, text)
	}
	if got := edges[0].asked("/v1/status"); !strings.Contains(got, `"ready": true`) {
		t.Errorf("status of an edge: %s, want ready", got)
	}
	if code := readyForEnvoy(t, edges[0]); code != http.StatusMisdirectedRequest {
		t.Errorf("an edge tells an Envoy %d, want 421: it is no core", code)
	}
	if code := readyForEnvoy(t, c.run[1]); code != http.StatusOK {
		t.Errorf("a core tells an Envoy %d, want 200", code)
	}
	idp.r = c.run[1]
	idp.create("/Users", bearer, userNamed("eve"))
	e := edges[0]
	until(t, "the edge to know eve", func() bool { return e.ask("before", "before.example.com", "eve") == 0 })
	if err := c.run[2].stop(); err != nil {
		t.Errorf("stopping core 2: %v", err)
	}
	c.run[2] = nil
	until(t, "the last core to say that it has no lease", func() bool {
		return readyForEnvoy(t, c.run[1]) == http.StatusServiceUnavailable &&
			c.run[1].health() == grpc_health_v1.HealthCheckResponse_NOT_SERVING
	})
	until(t, "the edge to have no lease", func() bool { return e.ask("app", "app.example.com", "eve") == 503 })
	for user, want := range map[string]int32{"eve": 0, "ada": 401} {
		if got := e.ask("before", "before.example.com", user); got != want {
			t.Errorf("the edge without a lease answers %d for %s, want %d", got, user, want)
		}
	}
	const counted = `scimward_cluster_stale_allowed_total{app="before",tenant="acme"} 1`
	if _, metrics := e.get("/metrics"); !strings.Contains(metrics, counted) {
		t.Error("the metric does not count the request that passed without a lease")
	}
}
