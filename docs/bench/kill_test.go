package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// acked is a write that a core acknowledged.
type acked struct {
	id         string
	core       int
	sent, done time.Time
}

// load is the writers and the checks of BenchmarkLeaderKill.
type load struct {
	in      *installation
	clients []*http.Client
	stop    chan struct{}
	running sync.WaitGroup
	serial  atomic.Int64
	asked   atomic.Int64 // Checks
	refused atomic.Int64 // of these

	mu     sync.Mutex // the fields below
	acked  []acked
	denied int           // writes with another answer than 201
	news   chan struct{} // closed and replaced when acked grows
}

// create creates a user at a core, and returns the id when the core says so.
func (l *load) create(core int) (id string, ok bool) {
	name := fmt.Sprint("user-", l.serial.Add(1))
	body := fmt.Appendf(nil, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"externalId":%q,`+
		`"emails":[{"value":"%s@acme.example"}]}`, name, "x-"+name, name)
	res, err := l.ask(core, http.MethodPost, "/scim/v2/Users", body)
	if err != nil {
		return "", false
	}
	defer res.Body.Close()
	var user struct{ ID string }
	text, err := io.ReadAll(res.Body)
	ok = err == nil && res.StatusCode == http.StatusCreated && json.Unmarshal(text, &user) == nil
	return user.ID, ok
}

func (l *load) ask(core int, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(l.in.b.Context(), method, "http://acme.example"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.in.token)
	req.Header.Set("Content-Type", "application/scim+json")
	return l.clients[core].Do(req)
}

// write creates users at a core until the load ends.
func (l *load) write(core int) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		a := acked{core: core, sent: time.Now()}
		var ok bool
		a.id, ok = l.create(core)
		a.done = time.Now()
		l.mu.Lock()
		if ok {
			l.acked = append(l.acked, a)
		} else {
			l.denied++
		}
		close(l.news)
		l.news = make(chan struct{})
		l.mu.Unlock()
	}
}

// check asks a core a hundred times a second about a page of the application.
func (l *load) check(s *server) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		out, err := s.client.Check(l.in.b.Context(), l.in.session)
		l.asked.Add(1)
		if err != nil || out.GetOkResponse() == nil {
			l.refused.Add(1)
			l.in.b.Logf("a Check during the load: %v %v", out, err)
		}
	}
}

// until waits until enough reports true of the acknowledged writes.
func (l *load) until(enough func(all []acked) bool) {
	l.in.b.Helper()
	giveUp := time.NewTimer(2 * time.Minute)
	defer giveUp.Stop()
	for {
		l.mu.Lock()
		all, news := slices.Clone(l.acked), l.news
		l.mu.Unlock()
		if enough(all) {
			return
		}
		select {
		case <-news:
		case <-giveUp.C:
			l.in.b.Fatal("the cores acknowledge no writes")
		}
	}
}

// since returns how long after a time each core acknowledged the first write that was sent after it, and whether each
// has.
func since(at time.Time, all []acked) (back [3]time.Duration, each bool) {
	for _, a := range all {
		if d := a.done.Sub(at); a.sent.After(at) && (back[a.core] == 0 || d < back[a.core]) {
			back[a.core] = d
		}
	}
	return back, !slices.Contains(back[:], 0)
}

// lost counts the acknowledged writes that another core than the one that acknowledged them does not have.
func (l *load) lost() (n int64) {
	var all sync.WaitGroup
	var missing atomic.Int64
	for w := range writers {
		all.Go(func() {
			for i := w; i < len(l.acked); i += writers {
				a := l.acked[i]
				res, err := l.ask((a.core+1)%3, http.MethodGet, "/scim/v2/Users/"+a.id, nil)
				if err != nil {
					l.in.b.Errorf("reading an acknowledged user: %v", err)
					return
				}
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					missing.Add(1)
					l.in.b.Logf("an acknowledged user: status %d, want 200", res.StatusCode)
				}
			}
		})
	}
	all.Wait()
	return missing.Load()
}

// BenchmarkLeaderKill kills the leader of the shared log with SIGKILL while 48 clients create users at three cores and
// Checks are asked at each. Cores and servers of the log are processes of their own. It reports how long it took until
// every core acknowledged writes again, what was lost of the acknowledged ones, and which Checks were not allowed.
func BenchmarkLeaderKill(b *testing.B) {
	in := newInstallation(b, 3)
	logs := in.logs()
	l := &load{in: in, stop: make(chan struct{}), news: make(chan struct{})}
	var cores []*server
	var dirs []string
	for i := range 3 {
		dirs = append(dirs, in.core(i, false))
		cores = append(cores, start(b, roleReal, dirs[i]))
		l.clients = append(l.clients, unixClient(filepath.Join(dirs[i], "scim.sock"), writers))
	}
	for _, c := range cores {
		c.waitFor(in.read)
	}
	provision(b, dirs[0], in.token)
	for _, c := range cores {
		c.waitFor(in.session)
	}
	for i, c := range cores {
		l.running.Go(func() { l.check(c) })
		for range writers / 3 {
			l.running.Go(func() { l.write(i) })
		}
	}
	l.until(func(all []acked) bool { return len(all) >= 3000 })
	leader := in.leader(dirs[0])
	logs[leader].Kill()
	killed := time.Now()
	var back [3]time.Duration
	l.until(func(all []acked) (each bool) {
		back, each = since(killed, all)
		return each
	})
	returned := time.Now()
	l.until(func(all []acked) bool {
		n := 0
		for _, a := range all {
			if a.sent.After(returned) {
				n++
			}
		}
		return n >= 1000
	})
	close(l.stop)
	l.running.Wait()
	for b.Loop() { // the load was measured already
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(slices.Max(back[:]).Seconds(), "writes-back-s")
	b.ReportMetric(slices.Min(back[:]).Seconds(), "first-back-s")
	b.ReportMetric(float64(len(l.acked)), "acked")
	b.ReportMetric(float64(l.denied), "refused")
	b.ReportMetric(float64(l.lost()), "lost")
	b.ReportMetric(float64(l.asked.Load()), "checks")
	b.ReportMetric(float64(l.refused.Load()), "checks-refused")
}
