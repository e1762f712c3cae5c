package bench_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// installation is the configurations of several processes, on a loopback address of its own. Every process has a
// folder.
type installation struct {
	b       *testing.B
	base    string // folder of a standalone process with the same tenants
	ip      net.IP
	servers int // of the log: 3, or 1
	session *authv3.CheckRequest
	read    *authv3.CheckRequest // of SCIM
	token   string
}

func newInstallation(b *testing.B, servers int) *installation {
	b.Helper()
	key := newSigner(b)
	app := httptest.NewServer(http.HandlerFunc(whoami))
	b.Cleanup(app.Close)
	in := &installation{b: b, base: shortDir(b), ip: net.IPv4(127, 0, 0, 1).To4(), servers: servers}
	rand.Read(in.ip[1:3]) // never fails (crypto/rand)
	configure(b, in.base, app.URL, key)
	in.session, in.token = appRequest(b, app.URL), key.token(b, "cluster")
	in.read = readRequest(in.token, 0)
	return in
}

// process makes the folder of a process from that of the standalone one and the section cluster.
func (in *installation) process(section string) (dir string) {
	in.b.Helper()
	dir = shortDir(in.b)
	for name, more := range map[string]string{"scimward.yaml": section, "jwks.json": "", "admin.secret": ""} {
		text, err := os.ReadFile(filepath.Join(in.base, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), append(text, more...), 0o600)
		}
		if err != nil {
			in.b.Fatal(err)
		}
	}
	for _, name := range []string{"log.password", "log.system"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("of the benchmark: "+name), 0o600); err != nil {
			in.b.Fatal(err)
		}
	}
	return dir
}

// addresses are those of all servers of the log, from a port on.
func (in *installation) addresses(port int) (out []string) {
	for i := range in.servers {
		out = append(out, fmt.Sprintf(`"%s:%d"`, in.ip, port+i))
	}
	return out
}

// core makes the folder of core i, which uses server i of the log first. With member it is that server too.
func (in *installation) core(i int, member bool) (dir string) {
	servers, routes := in.addresses(4222), in.addresses(6222)
	section := fmt.Sprintf(`cluster:
  role: core
  name: core-%d
  edges: {listen: "%s:%d"}
  log:
    servers: [%s]
    replicas: %d
    accept_loss: %t
    password_file: log.password
    system_password_file: log.system
`, i, in.ip, 7222+i, strings.Join(append(servers[i:], servers[:i]...), ", "), in.servers, in.servers == 1)
	switch {
	case member && in.servers == 1:
		section += fmt.Sprintf("    member: {listen: %s}\n", in.addresses(4222)[i])
	case member:
		section += fmt.Sprintf("    member: {listen: %s, routes: %s, members: [%s]}\n",
			in.addresses(4222)[i], routes[i], strings.Join(routes, ", "))
	}
	return in.process(section)
}

// edge makes the folder of an edge that follows core 0.
func (in *installation) edge() (dir string) {
	return in.process(fmt.Sprintf("cluster: {role: edge, name: edge, cores: [\"%s:%d\"]}\n", in.ip, 7222))
}

// logs starts the servers of the log, each in a process of its own.
func (in *installation) logs() (out []*server) {
	in.b.Helper()
	for i := range in.servers {
		out = append(out, start(in.b, roleLog, in.core(i, true)))
	}
	return out
}

// leader is the number of the server that leads the log. dir is the folder of a core.
func (in *installation) leader(dir string) (i int) {
	in.b.Helper()
	s, err := in.command(dir).Status(in.b.Context())
	if err != nil {
		in.b.Fatal(err)
	}
	if _, err := fmt.Sscanf(s.Leader, "core-%d", &i); err != nil {
		in.b.Fatalf("the leader is %q: %v", s.Leader, err)
	}
	return i
}

// command is for the commands of the log with the configuration in dir.
func (in *installation) command(dir string) *sidecar.LogCommand {
	in.b.Helper()
	cfg, err := config.Load(filepath.Join(dir, "scimward.yaml"))
	if err != nil {
		in.b.Fatal(err)
	}
	return &sidecar.LogCommand{Config: cfg, Operator: "bench", Version: "bench"}
}

// unixClient sends HTTP requests to a socket.
func unixClient(path string, conns int) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: conns}}
}

// edgeRounds is how often BenchmarkEdge gives each process a burst. Its bar is narrow.
const edgeRounds = 31

// BenchmarkEdge compares a Check of an application page at an edge with the same at a standalone process.
func BenchmarkEdge(b *testing.B) {
	in := newInstallation(b, 1)
	core := in.core(0, true)
	alone, first := start(b, roleReal, in.base), start(b, roleReal, core)
	edge := start(b, roleReal, in.edge())
	for _, p := range []struct {
		*server
		dir string
	}{{alone, in.base}, {first, core}} {
		p.waitFor(in.read)
		provision(b, p.dir, in.token)
	}
	pages := func(n int) []*authv3.CheckRequest {
		out := make([]*authv3.CheckRequest, n)
		for i := range out {
			out[i] = proto.CloneOf(in.session)
		}
		return out
	}
	alone.waitFor(in.session)
	edge.waitFor(in.session)
	got, _ := measure(b, []subject{{"alone", alone, pages}, {"edge", edge, pages}}, newSigner(b), edgeRounds)
	for _, at := range bursts {
		b.Run(fmt.Sprintf("c=%d", at.c), func(b *testing.B) {
			for b.Loop() { // measure has measured already
			}
			ours, floor := got[fmt.Sprint("edge", at.c)], got[fmt.Sprint("alone", at.c)]
			ratio := func(x, y float64, _ int) float64 { return x / y }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours.cpu), "cpu-µs/req")
			b.ReportMetric(median(floor.cpu), "standalone-cpu-µs/req")
			b.ReportMetric(median(ours.p50), "p50-µs")
			b.ReportMetric(median(paired(ours.cpu, floor.cpu, ratio)), "cpu-x")
			b.ReportMetric(median(paired(ours.rps, floor.rps, ratio)), "req/s-x")
		})
	}
	profile(b, edge, pages)
}
