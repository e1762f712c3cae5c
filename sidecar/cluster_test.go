package sidecar_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store/log/jetstream"
)

// cores are three cores of one installation, with the servers of their log.
type cores struct {
	t    *testing.T
	dirs [3]string
	run  [3]*running
	idp  *idp // of all
	logs [3]logBuffer
}

// loopbackAddress returns an address that no other test uses.
func loopbackAddress() net.IP {
	ip := net.IPv4(127, 0, 0, 1).To4()
	rand.Read(ip[1:3]) // never fails (crypto/rand)
	return ip
}

// startCores starts three cores on a loopback address of their own, each with the configuration text.
func startCores(t *testing.T, text string) *cores {
	t.Helper()
	return newCores(t, text, loopbackAddress(), func(int) string { return "" })
}

// newCores starts three cores. more returns further lines of the section cluster of each.
func newCores(t *testing.T, text string, ip net.IP, more func(i int) string) *cores {
	t.Helper()
	c := coreFiles(t, text, ip, more)
	c.start(0, 1, 2)
	c.idp.r = c.run[0]
	return c
}

// coreFiles makes the files of three cores.
func coreFiles(t *testing.T, text string, ip net.IP, more func(i int) string) *cores {
	t.Helper()
	var servers, members []string
	for i := range 3 {
		servers = append(servers, fmt.Sprintf("%q", fmt.Sprintf("%s:%d", ip, 4222+i)))
		members = append(members, fmt.Sprintf("%q", fmt.Sprintf("%s:%d", ip, 6222+i)))
	}
	c := &cores{t: t, idp: newIDP(t)}
	for i := range c.dirs {
		c.dirs[i] = newFolder(t, text+fmt.Sprintf(`
cluster:
  role: core
  name: core-%d
  lease: 3s
  heartbeat: 200ms
  log:
    servers: [%s]
    member: {listen: %s, routes: %s, members: [%s]}
    password_file: password
    system_password_file: system
%s`, i, strings.Join(append(servers[i:], servers[:i]...), ", "), servers[i], members[i], strings.Join(members, ", "), more(i)))
		for name, content := range map[string]string{
			"password": "a password of scimward", "system": "a password of the system", "keys.json": string(c.idp.jwks),
		} {
			if err := os.WriteFile(filepath.Join(c.dirs[i], name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

// start starts cores together, because one alone waits for another.
func (c *cores) start(which ...int) {
	c.t.Helper()
	var starting sync.WaitGroup
	for _, i := range which {
		starting.Go(func() {
			r, err := launch(c.t, c.dirs[i], sidecar.Options{Logger: slog.New(slog.NewJSONHandler(&c.logs[i], nil))})
			if err != nil {
				c.t.Errorf("starting core %d: %v", i, err)
				return
			}
			c.run[i] = r
		})
	}
	starting.Wait()
	c.t.Cleanup(c.stopAll)
	if c.t.Failed() {
		c.t.FailNow()
	}
	for _, i := range which {
		until(c.t, fmt.Sprintf("core %d to be ready", i), func() bool {
			code, _ := c.run[i].get("/readyz")
			return code == http.StatusOK
		})
	}
}

const off = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
	"Operations":[{"op":"replace","path":"active","value":false}]}`

func userNamed(name string) string {
	return strings.ReplaceAll(strings.Replace(aUser, "e1", name, 1), "olga", name)
}

// TestCores: what one core is told holds at every core when its answer comes: a new user may sign in, a deactivated
// one is refused, and a token of one core opens SCIM at another. A core that stops in good order is not waited for,
// and comes back with everything that it missed.
func TestCores(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	c := startCores(t, base)
	idp := c.idp
	bearer := idp.token()
	allowed := func(user string) (n int) {
		for _, r := range c.run {
			if r != nil && r.ask("app", "app.example.com", user) == 0 {
				n++
			}
		}
		return n
	}
	deactivate := func(at int, id string) {
		idp.r = c.run[at]
		if status, _, text := idp.scim(http.MethodPatch, "/Users/"+id, bearer, off); status != http.StatusOK {
			t.Fatalf("deactivating at core %d: %d %s", at, status, text)
		}
	}
	var ids []string
	for i, name := range []string{"olga", "ada", "bob"} {
		idp.r = c.run[i]
		ids = append(ids, idp.create("/Users", bearer, userNamed(name)))
	}
	for i, name := range []string{"olga", "ada", "bob"} {
		idp.r = c.run[(i+1)%3]
		if status, _, text := idp.scim(http.MethodGet, "/Users/"+ids[i], bearer, ""); status != http.StatusOK {
			t.Errorf("reading %s at another core: %d %s", name, status, text)
		}
		if n := allowed(name); n != 3 {
			t.Errorf("%d cores allow %s before the deactivation, want 3", n, name)
		}
		deactivate((i+2)%3, ids[i])
		if n := allowed(name); n != 0 {
			t.Errorf("%d cores allow %s after the answer, want none", n, name)
		}
	}
	c.healthy(0, 1, 2)
	if err := c.command(0).Serve(t.Context()); !errors.Is(err, jetstream.ErrNameTaken) {
		t.Errorf("a second server of the log with the name of core 0: %v, want ErrNameTaken", err)
	}
	deactivate(1, ids[0]) // again: nothing changes, so there is no other record
	for i, id := range ids {
		c.confirmed(i, id, "by all 3 core(s) within ")
	}
	last := idp.create("/Users", bearer, userNamed("fay"))
	deactivate(1, last)
	until(t, "the cores to have settled each revocation once", func() bool {
		settled := 0
		for _, r := range c.run {
			_, text := r.get("/metrics")
			for line := range strings.Lines(text) {
				var n int
				if _, err := fmt.Sscanf(line, `scimward_revocation_enforced_total{tenant="acme"} %d`, &n); err == nil {
					settled += n
				}
			}
		}
		return settled == len(ids)
	})
	if err := c.run[1].stop(); err != nil {
		t.Errorf("stopping core 1: %v", err)
	}
	c.run[1] = nil
	c.confirmed(0, last, "by all 3 core(s) within ") // it was recorded before the end
	if s := c.status(0); len(s.Gone) != 1 || s.Gone[0].Name != "core-1" || !s.Gone[0].InOrder {
		t.Errorf("gone %+v, want core-1, which left in good order", s.Gone)
	}
	idp.r = c.run[2]
	id := idp.create("/Users", bearer, userNamed("eve"))
	deactivate(0, id)
	if n := allowed("eve"); n != 0 {
		t.Errorf("%d cores allow eve after the answer, want none", n)
	}
	c.confirmed(2, id, "by all 2 core(s) within ")
	c.start(1)
	if n := allowed("eve") + allowed("ada"); n != 0 {
		t.Errorf("%d allow eve or ada after a restart, want none", n)
	}
}

// status is what a core knows of the cluster.
func (c *cores) status(at int) (s sidecar.ClusterStatus) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.run[at].asked("/v1/cluster")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// healthy waits until the status of each core says that nothing needs a person, and then changes the configuration of
// one, which the others name.
func (c *cores) healthy(which ...int) {
	c.t.Helper()
	for _, at := range which {
		var s sidecar.ClusterStatus
		until(c.t, fmt.Sprintf("core %d to know that all is well", at), func() bool {
			s = c.status(at)
			told := !slices.ContainsFunc(s.Cores, func(c sidecar.ClusterCore) bool { return c.Behind == nil })
			return told && len(s.Attention) == 0 && len(s.Cores) == len(which)
		})
		if s.Name != fmt.Sprint("core-", at) || s.Log == nil || s.Log.Leader == "" || len(s.Log.Replicas) != len(which)-1 ||
			!s.Log.Attested || s.Log.Last < s.Log.First || s.Log.Bytes == 0 {
			c.t.Errorf("core %d: %+v, log %+v", at, s, s.Log)
		}
		if l := s.Confirmed; l == nil || l.Tenant != "acme" || l.Position == 0 || l.Cores != len(which) {
			c.t.Errorf("core %d: last confirmed lock %+v, want one of acme by %d cores", at, l, len(which))
		}
	}
	text, err := os.ReadFile(filepath.Join(c.dirs[2], "scimward.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.run[2].reload(strings.Replace(string(text), "    apps:\n", "    reprovision: reactivate\n    apps:\n", 1))
	until(c.t, "core 0 to see another configuration", func() bool {
		return slices.Contains(c.status(0).Attention, "the configuration differs: acme: core-2 has another one than core-0; "+
			"change the files until they are equal")
	})
	c.run[2].reload(string(text))
}

// confirmed waits until the evidence of a core about a user says that the lock was confirmed so, and the audit trail
// once.
func (c *cores) confirmed(at int, id, want string) {
	c.t.Helper()
	var rep sidecar.Evidence
	until(c.t, fmt.Sprintf("core %d to have the confirmation of %s", at, id), func() bool {
		rep = sidecar.Evidence{}
		err := json.Unmarshal([]byte(c.run[at].asked("/v1/tenants/acme/evidence/"+id)), &rep)
		return err == nil && rep.Offboardings[0].Confirmation.Recorded
	})
	off := &rep.Offboardings[0]
	if got := off.Confirmation; !strings.Contains(got.String(), want) || got.At.Before(off.LockedAt) {
		c.t.Errorf("evidence of %s: confirmed %s, locked at %s, want it later, %q", id, got, off.LockedAt, want)
	}
	var records []string
	for i := range rep.Chain {
		if r := &rep.Chain[i]; r.Action == "lock.confirmed" && r.Resource == id {
			records = append(records, r.Detail)
		}
	}
	if len(records) != 1 || !strings.Contains(records[0], want) {
		c.t.Errorf("the audit trail says of %s: %q, want one record of %q", id, records, want)
	}
}

// TestListenersOutlastALease: an answer that waits for the end of the lease of another core is still written.
func TestListenersOutlastALease(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{0: time.Minute, 2 * time.Minute: 182 * time.Second} {
		cfg := &config.Config{Cluster: config.Cluster{Role: config.RoleStandalone}}
		if lease > 0 {
			cfg.Cluster = config.Cluster{Role: config.RoleCore, Lease: lease}
		}
		if got := sidecar.WriteTimeout(cfg); got < want || got > want+5*time.Second {
			t.Errorf("lease %s: an answer is cut after %s, want %s", lease, got, want)
		}
	}
}

// TestCutOff: a core that is cut off from the log and has no lease any more answers at once that it cannot, to SCIM, at
// the token endpoint and to whoever asks about its health, and works again when the log is back.
func TestCutOff(t *testing.T) {
	c := startCores(t, base)
	bearer := c.idp.token()
	ada := c.idp.create("/Users", bearer, userNamed("ada"))
	const up, down = grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING
	until(t, "health", func() bool { return c.run[0].health() == up })
	for _, i := range []int{1, 2} {
		if err := c.run[i].stop(); err != nil {
			t.Error(err)
		}
	}
	until(t, "the core without the log to say so", func() bool { return c.run[0].health() == down })
	if code, text := c.run[0].get("/readyz"); code != 503 || !strings.Contains(text, "it has no lease") {
		t.Errorf("/readyz of a core without the log: %d %s", code, text)
	}
	start := time.Now()
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		status, header, text := c.idp.scim(method, "/Users/"+ada, bearer, "")
		if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(text, "cut off from the others") {
			t.Errorf("%s at a core without the log: %d %v %s", method, status, header, text)
		}
	}
	if status, text := c.idp.ask(); status != 503 || !strings.Contains(text, "cut off from the others") {
		t.Errorf("asking it for a token: %d %s", status, text)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s to refuse three requests, want that none waits for the log", took)
	}
	c.start(1)
	until(t, "health after the log is back", func() bool { return c.run[0].health() == up })
	if status, _, text := c.idp.scim(http.MethodDelete, "/Users/"+ada, bearer, ""); status != http.StatusNoContent {
		t.Errorf("deleting when the log is back: %d %s", status, text)
	}
}

// TestWrongClocksNeedAPerson: a core whose clock is far from that of the core that is asked is named, with how far.
func TestWrongClocksNeedAPerson(t *testing.T) {
	var s sidecar.ClusterStatus
	s.Name, s.Left = "core-1", 1
	for name, ahead := range map[string]float64{"core-2": -720.4, "core-3": 2, "core-4": 95} {
		s.Cores = append(s.Cores, sidecar.ClusterCore{Name: name, Ahead: &ahead})
	}
	s.Cores = append(s.Cores, sidecar.ClusterCore{Name: "core-1", This: true})
	text := strings.Join(sidecar.Attend(&s), "\n")
	for _, want := range []string{"the clock of core-2 is 12m0s behind that of core-1", "core-4 is 1m35s before that of core-1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "the clock of core-3") || strings.Contains(text, "the clock of core-1 is") {
		t.Errorf("a clock that is right is named in:\n%s", text)
	}
}

// TestEndsWithoutTheLog: a core that the servers of the log do not answer ends when its time is over, and says what it
// did not do. One whose lease has ended has nothing to wait for.
func TestEndsWithoutTheLog(t *testing.T) {
	const reserve = 3 * time.Second // the machine may be busy
	for name, run := range map[string]struct {
		drain  time.Duration
		silent time.Duration // how long the log has not answered before
		within time.Duration
	}{
		"with a lease":    {drain: time.Second, within: time.Second + reserve},
		"without a lease": {drain: time.Minute, silent: 3 * time.Second, within: reserve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits, for elections and leases
			c := startCores(t, strings.Replace(base, "drain: 3m", "drain: "+run.drain.String(), 1))
			for _, i := range []int{1, 2} {
				if err := c.run[i].stop(); err != nil {
					t.Error(err)
				}
			}
			until(t, "the log to be silent", func() bool { return c.run[0].server.Silent() > run.silent })
			start := time.Now()
			if err := c.run[0].stop(); err != nil {
				t.Errorf("stopping the last core: %v", err)
			}
			if took := time.Since(start); took > run.within {
				t.Errorf("the last core took %s to end, want %s at most", took, run.within)
			} else {
				t.Logf("the last core took %s to end", took)
			}
			for _, want := range []string{"the servers of the log do not answer", "left the cluster without a record of it"} {
				if !strings.Contains(c.logs[0].String(), want) {
					t.Errorf("the last core does not say %q", want)
				}
			}
		})
	}
}

// TestNewCopy: a core without a copy of its own begins with a snapshot once the log is trimmed, and knows every user
// and lock.
func TestNewCopy(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	c := startCores(t, base)
	idp := c.idp
	bearer := idp.token()
	lock := func(name string) {
		id := idp.create("/Users", bearer, userNamed(name))
		if status, _, text := idp.scim(http.MethodPatch, "/Users/"+id, bearer, off); status != http.StatusOK {
			t.Fatalf("deactivating %s: %d %s", name, status, text)
		}
	}
	lock("ada")
	idp.create("/Users", bearer, userNamed("bob"))
	for range 3 {
		if err := c.run[0].server.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		lock(fmt.Sprintf("u%d", time.Now().UnixNano()))
	}
	b, err := c.run[0].server.SharedBounds(t.Context())
	if err != nil || b.First <= 1 {
		t.Fatalf("bounds %+v, %v, want a trimmed log", b, err)
	}
	if err := c.run[2].stop(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dirs[2], "data", "store")); err != nil {
		t.Fatal(err)
	}
	lock("eve")
	c.start(2)
	for user, want := range map[string]int32{"ada": 401, "eve": 401, "bob": 0} {
		if got := c.run[2].ask("app", "app.example.com", user); got != want {
			t.Errorf("the new copy answers %d for %s, want %d", got, user, want)
		}
	}
}

// TestCommandsReachEveryCore: what a command or a client changes at one core holds at each when its answer comes,
// without a restart: clients, static tokens, signing keys, revoked tokens and pauses.
func TestCommandsReachEveryCore(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	c := startCores(t, allowing)
	idp := c.idp
	// each lets fn ask each core, the one that made the change last.
	each := func(changed int, fn func()) {
		for i := range c.run {
			idp.r = c.run[(changed+1+i)%3]
			fn()
		}
	}
	for round := range 3 {
		at, next := c.run[round], (round+1)%3
		idp.id = fmt.Sprint("client-", round)
		at.must("clients/add", sidecar.ClientAdd{ClientRef: named(idp.id), JWKS: string(idp.jwks)}, nil)
		idp.r = c.run[next]
		until(t, "the token endpoint of another core to know a new client", func() bool {
			status, _ := idp.ask()
			return status == http.StatusOK
		})
		first := idp.token()
		each(next, func() { idp.both(http.StatusOK, "a token of another core", first) })

		revoked := idp.token()
		idp.revoke(revoked)
		each(next, func() { idp.both(http.StatusUnauthorized, "a token that was revoked at another core", revoked) })

		c.run[next].must("pause", sidecar.Pausing{}, nil)
		each(next, func() { idp.both(http.StatusServiceUnavailable, "paused at another core", first) })
		at.must("resume", sidecar.Pausing{}, nil)

		at.must("keys/drop", map[string]string{"kid": kidOf(t, first), "reason": "it leaked"}, nil)
		each(round, func() { idp.both(http.StatusUnauthorized, "a token of a key that another core dropped", first) })
		idp.r = at
		second := idp.token()
		if kid := kidOf(t, second); kid == kidOf(t, first) {
			t.Errorf("the dropped key %s still signs", kid)
		}
		each(round, func() { idp.both(http.StatusOK, "a token of the new key of another core", second) })

		at.must("clients/disable", named(idp.id), nil)
		each(round, func() { idp.both(http.StatusUnauthorized, "disabled at another core", second) })

		name := fmt.Sprint("static-", round)
		at.must("clients/add", sidecar.ClientAdd{ClientRef: named(name), StaticTokens: true}, nil)
		static := at.static(name, time.Hour)
		each(round, func() { idp.both(http.StatusOK, "a static token of another core", static.Token) })
		c.run[next].must("tokens/revoke", sidecar.TokenRevoke{ID: static.ID}, nil)
		each(next, func() { idp.both(http.StatusUnauthorized, "a static token revoked at another core", static.Token) })
	}
	c.limitsAreShared()
}

// limitsAreShared: an assertion that one core took is used up at the others, and the token requests of a client at all
// cores count together.
func (c *cores) limitsAreShared() {
	t, idp := c.t, c.idp
	idp.id = "spread"
	c.run[0].must("clients/add", sidecar.ClientAdd{ClientRef: named(idp.id), JWKS: string(idp.jwks)}, nil)
	for _, idp.r = range c.run {
		until(t, "every core to know the client", func() bool {
			status, _ := idp.ask()
			return status == http.StatusOK
		})
	}
	assertion := idp.assert()
	for i, want := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusUnauthorized} {
		idp.r = c.run[i]
		if status, text := idp.askWith(assertion); status != want {
			t.Errorf("one assertion at core %d: %d %s, want %d", i, status, text, want)
		}
	}
	refused := func() bool {
		status, _ := idp.ask()
		return status == http.StatusTooManyRequests
	}
	idp.r = c.run[0]
	for !refused() { // 60 a minute
		if t.Failed() {
			return
		}
	}
	idp.r = c.run[1]
	asked := 0
	until(t, "another core to have heard of the requests", func() bool { asked++; return refused() })
	if asked > 50 {
		t.Errorf("another core served %d requests of a client that had used up its 60", asked)
	}
}

// revoke revokes an access token.
func (c *idp) revoke(raw string) {
	c.r.t.Helper()
	form := url.Values{
		"token": {raw}, "client_assertion": {c.assert()},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	status, _, body := c.send(http.MethodPost, "/oauth/revoke", "application/x-www-form-urlencoded", "", form.Encode())
	if status != http.StatusOK {
		c.r.t.Fatalf("revoking a token: %d %s", status, body)
	}
}

// kidOf returns the id of the key of a JWT.
func kidOf(t *testing.T, raw string) string {
	t.Helper()
	head, _, _ := strings.Cut(raw, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Kid string }
	if err = errors.Join(err, json.Unmarshal(b, &h)); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}
