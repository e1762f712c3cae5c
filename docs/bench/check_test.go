package bench_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
)

// rounds is how often each burst runs. Figures are medians over rounds; a ratio
// compares two figures of one round.
const rounds = 9

// bursts are the numbers of callers and of requests in one burst.
var bursts = []struct{ c, n int }{{1, 1000}, {16, 2000}}

// subject is one line of the table: a server and its requests.
type subject struct {
	name   string
	server *server
	next   func(n int) []*authv3.CheckRequest // called before the clock starts
}

// figures are the results of one subject at one concurrency, by round.
type figures struct{ p50, rps, cpu []float64 } // µs, 1/s, µs

// BenchmarkCheck measures a Check through gRPC on a unix socket. The server noop does no work, and verify
// only verifies the signature of a new token. The others are scimward with a new token (cold), a seen
// token (warm), a change of a group (write) and a session with a known user (app). The last is warm with
// the decision log on (logged). See README.md.
func BenchmarkCheck(b *testing.B) {
	key := newSigner(b)
	dirNoop, dirVerify, dirReal, dirLogged := shortDir(b), shortDir(b), shortDir(b), shortDir(b)
	app := httptest.NewServer(http.HandlerFunc(whoami))
	b.Cleanup(app.Close)
	for _, dir := range []string{dirReal, dirLogged} {
		configure(b, dir, app.URL, key)
	}
	key.publish(b, dirVerify)
	floor, bare := start(b, roleNoop, dirNoop), start(b, roleVerify, dirVerify)
	full, logged := start(b, roleReal, dirReal), start(b, roleLogged, dirLogged)
	seen := key.token(b, "warm")
	warm := readRequest(seen, 0)
	if size := proto.Size(warm); size < 1000 || size > 1500 {
		b.Fatalf("the request has %d bytes, want 1000 to 1500 as Envoy sends", size)
	}
	serial := 0
	each := func(request func(n int) *authv3.CheckRequest) func(int) []*authv3.CheckRequest {
		return func(n int) []*authv3.CheckRequest {
			out := make([]*authv3.CheckRequest, n)
			for i := range out {
				serial++
				out[i] = request(serial)
			}
			return out
		}
	}
	reads := each(func(n int) *authv3.CheckRequest { return readRequest(seen, n) })
	cold := each(func(n int) *authv3.CheckRequest {
		return readRequest(key.token(b, fmt.Sprint("cold-", n)), n)
	})
	writes := each(func(n int) *authv3.CheckRequest { return writeRequest(seen, n) })
	session := appRequest(b, app.URL)
	pages := each(func(int) *authv3.CheckRequest { return session })
	for _, s := range []*server{floor, bare, full, logged} {
		s.waitFor(warm)
	}
	provision(b, dirReal, seen)
	full.waitFor(session)
	subjects := []subject{
		{"noop", floor, reads},
		{"verify", bare, cold}, // beside what it is compared with
		{"cold", full, cold},
		{"warm", full, reads},
		{"write", full, writes},
		{"app", full, pages},
		{"logged", logged, reads},
	}
	got, verify := measure(b, subjects, key, rounds)
	for _, s := range subjects {
		for _, at := range bursts {
			b.Run(fmt.Sprintf("%s/c=%d", s.name, at.c), func(b *testing.B) {
				report(b, got, s.name, at.c, verify)
			})
		}
	}
	profiled := reads
	switch os.Getenv("BENCH_PROFILE_OF") {
	case "write":
		profiled = writes
	case "cold":
		profiled = cold
	case "app":
		profiled = pages
	}
	profile(b, full, profiled)
}

// profile gives a server one more burst and writes a CPU profile of it to the file that BENCH_PROFILE names.
func profile(b *testing.B, s *server, next func(n int) []*authv3.CheckRequest) {
	b.Helper()
	if path := os.Getenv("BENCH_PROFILE"); path != "" {
		s.send("profile " + path)
		run(b, s, next(30_000), 16)
		s.send("stop")
	}
}

// measure runs the bursts in rotation. It returns the figures by subject and number
// of callers, and the cost of one bare ES256 verification by round, in µs.
func measure(b *testing.B, subjects []subject, key *signer, rounds int) (map[string]*figures, []float64) {
	b.Helper()
	got := map[string]*figures{}
	var verify []float64
	for round := range rounds + 1 { // the first is a warm-up
		for _, at := range bursts {
			for i := range subjects {
				s := subjects[(i+round)%len(subjects)]
				p50, rps, cpu := run(b, s.server, s.next(at.n), at.c)
				if round == 0 {
					continue
				}
				k := fmt.Sprint(s.name, at.c)
				if got[k] == nil {
					got[k] = &figures{}
				}
				f := got[k]
				f.p50, f.rps, f.cpu = append(f.p50, p50), append(f.rps, rps), append(f.cpu, cpu)
			}
		}
		if v := key.verifyCost(b, 400); round > 0 {
			verify = append(verify, v)
		}
	}
	return got, verify
}

// run is one burst of c callers. It fails when more than one answer in a hundred is
// 503: on a busy machine a deadline may pass.
func run(b *testing.B, s *server, requests []*authv3.CheckRequest, c int) (p50, rps, cpu float64) {
	b.Helper()
	took := make([]time.Duration, len(requests))
	var faults atomic.Int32
	var workers sync.WaitGroup
	used := s.send("cpu")
	began := time.Now()
	for w := range c {
		workers.Go(func() {
			for i := w; i < len(requests); i += c {
				at := time.Now()
				out, err := s.client.Check(b.Context(), requests[i])
				took[i] = time.Since(at)
				if err == nil && out.GetErrorResponse().GetStatus().GetCode() == http.StatusServiceUnavailable {
					faults.Add(1)
				} else if err != nil || out.GetOkResponse() == nil {
					b.Errorf("request %d is not allowed: %v %v", i, out, err)
					return
				}
			}
		})
	}
	workers.Wait()
	wall := time.Since(began)
	used = s.send("cpu") - used
	if f := int(faults.Load()); f*100 > len(requests) {
		b.Errorf("%d of %d requests were answered 503", f, len(requests))
	}
	if b.Failed() {
		b.FailNow()
	}
	slices.Sort(took)
	n := float64(len(requests))
	return micros(took[len(took)/2]), n / wall.Seconds(), micros(used) / n
}

// report publishes one subject's medians, and its ratios to the no-op.
func report(b *testing.B, got map[string]*figures, name string, c int, verify []float64) {
	b.Helper()
	f, floor, bare := got[fmt.Sprint(name, c)], got[fmt.Sprint("noop", c)], got[fmt.Sprint("verify", c)]
	for b.Loop() { // measure has measured already
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(f.p50), "p50-µs")
	b.ReportMetric(median(f.rps), "req/s")
	b.ReportMetric(median(f.cpu), "cpu-µs/req")
	switch name {
	case "noop":
		b.ReportMetric(median(verify), "es256-µs")
		return
	case "verify", "cold": // in verifications of a loop, and of a server that does nothing else
		loops := func(x, y float64, i int) float64 { return (x - y) / verify[i] }
		b.ReportMetric(median(paired(f.cpu, floor.cpu, loops)), "verifies-over-noop")
		served := func(x, y float64, i int) float64 { return (x - y) / (bare.cpu[i] - y) }
		b.ReportMetric(median(paired(f.cpu, floor.cpu, served)), "first-sight-x")
	case "logged":
		more := func(x, y float64, _ int) float64 { return x - y }
		b.ReportMetric(median(paired(f.cpu, got[fmt.Sprint("warm", c)].cpu, more)), "cpu-µs-over-warm")
	}
	ratio := func(x, y float64, _ int) float64 { return x / y }
	b.ReportMetric(median(paired(f.cpu, floor.cpu, ratio)), "cpu-x")
	b.ReportMetric(median(paired(f.rps, floor.rps, ratio)), "req/s-x")
}

func paired(x, y []float64, f func(x, y float64, i int) float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = f(x[i], y[i], i)
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
