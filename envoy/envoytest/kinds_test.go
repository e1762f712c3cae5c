package envoytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

// promise is the time that IL1 §3.2.5 allows for a revocation.
const promise = 300 * time.Second

// dead fails when any of the credentials still works: through Envoy, at the
// application itself, or over SSH.
func dead(t *testing.T, p *stack.Person, when string) {
	t.Helper()
	for _, kind := range p.Kinds() {
		if status, body := use(t, p, kind); status/100 != 4 {
			t.Errorf("%s: the %s through Envoy: %d %s", when, kind, status, body)
		}
		// The application cannot revoke its JWTs: only the proxy refuses them.
		if kind != "jwt" {
			if status := direct(t, p, kind); status/100 != 4 {
				t.Errorf("%s: the %s at the application itself: %d", when, kind, status)
			}
		}
	}
	if s, err := p.OpenSSH(); err == nil {
		s.Close()
		t.Errorf("%s: the SSH key opens a session", when)
	}
}

// alive fails when one of the credentials does not work. The age of a JWT is in whole seconds. The
// proxy refuses a JWT from the second of the deactivation, so alive gets new ones until one works.
func alive(t *testing.T, w *world, p *stack.Person, when string) {
	t.Helper()
	for _, kind := range p.Kinds() {
		if kind == "jwt" {
			eventually(t, when+": serving a new JWT", func() string {
				status, body := use(t, p, kind)
				if status == http.StatusOK {
					return ""
				}
				*p = *w.signIn(t, p.Tenant, p.Name)
				return fmt.Sprintf("200, got %d %s", status, body)
			})
			continue
		}
		if status, body := use(t, p, kind); status != http.StatusOK {
			t.Errorf("%s: the new %s: %d %s", when, kind, status, body)
		}
	}
	s, err := p.OpenSSH()
	if err != nil {
		t.Errorf("%s: the new SSH key: %v", when, err)
		return
	}
	s.Close()
}

// proved waits for the evidence of the latest offboarding and checks it.
func proved(t *testing.T, w *world, id string, epochs int) report {
	t.Helper()
	r := w.settled(t, "acme", id)
	if len(r.Offboardings) != epochs {
		t.Fatalf("%d offboardings in the evidence, want %d", len(r.Offboardings), epochs)
	}
	o := r.Offboardings[epochs-1]
	inTime := o.SettleAfter > 0 && o.SettleAfter <= float64(promise.Milliseconds())
	if r.Status != "verified" || o.Breached || o.BlockedAt == nil || o.VerifiedAt == nil || !inTime {
		t.Errorf("evidence: status %s, breached %v, blocked at %v, verified at %v, settled after %.0f ms",
			r.Status, o.Breached, o.BlockedAt, o.VerifiedAt, o.SettleAfter)
	}
	for _, kind := range kinds() {
		if k := stateOf(r, kind); k.State != "revoked" || !k.Verified || k.Revoked == 0 {
			t.Errorf("kind %s: %+v, want revoked and verified", kind, k)
		}
	}
	return r
}

func enabled(t *testing.T, tenant *stack.Tenant, name string) bool {
	t.Helper()
	status, body := appAdmin(t, tenant, http.MethodGet, "/admin/users/"+name, nil)
	var acc struct {
		Disabled bool `json:"disabled"`
	}
	if err := json.Unmarshal(body, &acc); err != nil || status != http.StatusOK {
		t.Fatalf("reading the account: %d %s %v", status, body, err)
	}
	return !acc.Disabled
}

// waitEnabled waits until the plugin has enabled the account again.
func waitEnabled(t *testing.T, tenant *stack.Tenant, name string) {
	t.Helper()
	eventually(t, "enabling the account", func() string {
		return unless(enabled(t, tenant, name), "an enabled account of %s", name)
	})
}

// TestSixKindsDie is the main job (IL1 §3.2.5, §3.2.6): after a deactivation every
// kind of credential is revoked in the application itself, with evidence. Neither
// a reactivation nor a new account of the same name brings one back.
func TestSixKindsDie(t *testing.T) {
	w := sharedWorld(t)
	u := user(t, w.Acme, "leaver")
	p := w.signIn(t, w.Acme, u.UserName)
	alive(t, w, p, "at first")
	ssh, err := p.OpenSSH()
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	old := []*stack.Person{p.Clone()}

	const rounds = 5
	for round := 1; round <= rounds; round++ {
		asked := time.Now()
		if err := w.Acme.Client.Deactivate(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		refusedEverywhere(t, p, "at once")
		r := proved(t, w, u.ID, round)
		t.Logf("round %d: every kind verified after %.0f ms by the evidence, seen after %s",
			round, r.Offboardings[round-1].SettleAfter, time.Since(asked).Round(time.Millisecond))
		if round == 1 {
			ended(t, ssh)
			checkEvidence(t, w, u.ID, p)
		}
		for n, before := range old {
			dead(t, before, fmt.Sprintf("deactivated %d times, credentials of round %d", round, n))
		}
		if status, err := w.Person(w.Acme, u.UserName).SignIn(t.Context()); err != nil || status != http.StatusUnauthorized {
			t.Errorf("signing in while deactivated: %d %v, want 401", status, err)
		}

		if err := w.Acme.Client.Reactivate(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		waitEnabled(t, w.Acme, u.UserName)
		for n, before := range old {
			dead(t, before, fmt.Sprintf("reactivated %d times, credentials of round %d", round, n))
		}
		p = w.signIn(t, w.Acme, u.UserName)
		alive(t, w, p, fmt.Sprintf("reactivated %d times", round))
		old = append(old, p.Clone())
	}

	// IL1 §3.2.6: another person with the same name.
	if err := w.Acme.Client.DeleteUser(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	refusedEverywhere(t, p, "deleted, at once")
	proved(t, w, u.ID, rounds+1)
	again := userNamed(t, w.Acme, u.UserName)
	if again.ID == u.ID {
		t.Errorf("the new user has the id %s of the old one, want a new id", u.ID)
	}
	waitEnabled(t, w.Acme, u.UserName)
	for n, before := range old {
		dead(t, before, fmt.Sprintf("created again, credentials of round %d", n))
	}
	alive(t, w, w.signIn(t, w.Acme, u.UserName), "created again")
	for n, before := range old {
		dead(t, before, fmt.Sprintf("created again and signed in, credentials of round %d", n))
	}
}

// checkEvidence verifies a report offline, as an auditor does. A changed report must not verify,
// and the keys of another tenant must not verify it.
func checkEvidence(t *testing.T, w *world, id string, p *stack.Person) {
	t.Helper()
	_, doc := w.evidence(t, "acme", id)
	for _, kind := range p.Kinds() {
		if strings.Contains(string(doc), p.Credentials[kind]) {
			t.Errorf("the evidence contains the %s", kind)
		}
	}
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys := func(tenant *stack.Tenant) string {
		a := w.raw(t, tenant, h1("GET", "/oauth/jwks", strings.TrimPrefix(tenant.URL, "https://"), ""))
		return write(tenant.Name+".jwks", []byte(a.body))
	}
	file, ours, theirs := write("evidence.json", doc), keys(w.Acme), keys(w.Globex)
	verify := func(file, jwks string) (string, error) {
		out, err := w.Command(t.Context(), "evidence", "verify", file, "--jwks", jwks).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(file, ours); err != nil || !strings.Contains(out, "signature valid") {
		t.Errorf("verifying the evidence: %v %s", err, out)
	}
	if out, err := verify(file, theirs); err == nil {
		t.Errorf("the evidence verifies with the other tenant's keys: %s", out)
	}
	for from, to := range map[string]string{
		`"revoked": 1`:      `"revoked": 2`,
		p.Name:              strings.Replace(p.Name, "leaver", "someone", 1),
		`"breached": false`: `"breached": true`,
	} {
		changed := bytes.Replace(doc, []byte(from), []byte(to), 1)
		if bytes.Equal(changed, doc) {
			t.Errorf("the evidence does not contain %q: the test proves nothing", from)
			continue
		}
		if out, err := verify(write("changed.json", changed), ours); err == nil {
			t.Errorf("evidence with %q for %q still verifies: %s", to, from, out)
		}
	}
}
