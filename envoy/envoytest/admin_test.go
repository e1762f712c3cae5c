package envoytest_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/quickstart/stack"
)

func listen() (net.Listener, error) {
	return net.Listen("tcp", "127.0.0.1:0")
}

// counters contains the counts of the admin API.
type counters struct {
	Logins     int                  `json:"logins"`
	Issued     map[string]int       `json:"minted"`
	ServedUser map[string]int       `json:"served_user"`
	LastServed map[string]time.Time `json:"last_served"`
}

func appAdmin(t *testing.T, tenant *stack.Tenant, method, path string, in any) (int, []byte) {
	t.Helper()
	status, body, err := tenant.AppAdmin(t.Context(), method, path, in)
	if err != nil {
		t.Fatalf("asking the application's admin API: %v", err)
	}
	return status, body
}

func countersOf(t *testing.T, tenant *stack.Tenant) counters {
	t.Helper()
	status, body := appAdmin(t, tenant, http.MethodGet, "/admin/counters", nil)
	var c counters
	if err := json.Unmarshal(body, &c); err != nil || status != http.StatusOK {
		t.Fatalf("reading the counters: %d %s %v", status, body, err)
	}
	return c
}

// served returns how many of the person's requests the application has served.
func served(t *testing.T, p *stack.Person) int {
	t.Helper()
	return countersOf(t, p.Tenant).ServedUser[strings.ToLower(p.Name)]
}

// faults sets the faults of the application. nil clears them.
func faults(t *testing.T, tenant *stack.Tenant, table map[string]any) {
	t.Helper()
	method, in := http.MethodPut, any(table)
	if table == nil {
		method, in = http.MethodDelete, nil
	}
	if status, body := appAdmin(t, tenant, method, "/admin/faults", in); status/100 != 2 {
		t.Fatalf("switching faults: %d %s", status, body)
	}
}

// irrevocable returns the fault table of an application that can revoke no credential. It serves
// every request that the proxy lets pass.
func irrevocable() map[string]any {
	table := map[string]any{}
	for _, kind := range kinds() {
		if kind != "account" {
			table[kind] = map[string]any{"unsupported": true}
		}
	}
	return table
}

// kinds are the six kinds of credential in an evidence report, and the account.
func kinds() []string {
	return []string{"ssh_key", "device", "account", "refresh_token", "pat", "api_token", "web_session"}
}

// report is the part of an evidence report that these tests read.
type report struct {
	Status       string `json:"status"`
	Offboardings []struct {
		BlockedAt   *time.Time  `json:"blocked_at"`
		VerifiedAt  *time.Time  `json:"verified_at"`
		SettledAt   *time.Time  `json:"settled_at"`
		SettleAfter float64     `json:"settled_after_ms"`
		Breached    bool        `json:"breached"`
		Kinds       []kindState `json:"kinds"`
	} `json:"offboardings"`
}

// probe is one verification of a kind.
type probe struct {
	Result string `json:"result"`
}

type kindState struct {
	Kind          string     `json:"kind"`
	State         string     `json:"state"`
	Probes        []probe    `json:"probes"`
	Verified      bool       `json:"verified"`
	Revoked       int        `json:"revoked"`
	EnforcedUntil *time.Time `json:"enforced_at_proxy_until"`
}

// evidence gets the report on a user from the command "scimward evidence".
func (w *world) evidence(t *testing.T, tenant, user string) (report, []byte) {
	t.Helper()
	out, err := w.Command(t.Context(), "evidence", user, "--tenant", tenant, "--json", "-c", w.Config).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("scimward evidence %s: %v\n%s", user, err, exit.Stderr)
		}
		t.Fatalf("scimward evidence %s: %v", user, err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("reading the evidence: %v", err)
	}
	return r, out
}

// peek gets the same report from the admin listener, which is cheaper to poll.
func (w *world) peek(t *testing.T, tenant, user string) report {
	t.Helper()
	var r report
	body := w.adminGet(t, "/v1/tenants/"+tenant+"/evidence/"+user)
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("reading the evidence: %v", err)
	}
	return r
}

// adminGet asks the admin socket.
func (w *world) adminGet(t *testing.T, path string) string {
	t.Helper()
	return get(t, w.AdminClient(), "http://localhost"+path)
}

// get returns a page of scimward.
func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, body := send(t, c, req)
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", url, status, body)
	}
	return body
}

// settled waits until every kind of a user is verified or enforced at the proxy. It returns the
// report.
func (w *world) settled(t *testing.T, tenant, user string) report {
	t.Helper()
	var r report
	eventually(t, "settling every kind of "+user, func() string {
		r = w.peek(t, tenant, user)
		for _, o := range r.Offboardings {
			if o.SettledAt == nil {
				return "done among " + unverified(r)
			}
		}
		return unless(len(r.Offboardings) > 0, "an offboarding")
	})
	return r
}

// unverified lists the kinds of the latest offboarding that are not verified.
func unverified(r report) string {
	var out []string
	for _, kind := range kinds() {
		if k := stateOf(r, kind); !k.Verified {
			out = append(out, kind+": "+k.State)
		}
	}
	return strings.Join(out, ", ")
}
