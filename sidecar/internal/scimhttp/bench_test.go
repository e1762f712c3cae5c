package scimhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// benchRounds is the number of pairs of bursts; the ratio is their median.
const (
	benchRounds = 15
	benchBurst  = 20
)

// BenchmarkPatchMember adds one member to a group and removes it again, through the handler:
// decoding, profile ipsie-il1, a synced commit, the answer. Groups of 1,000 and 100,000 members
// alternate on one store. "100k/1k-x" is the ratio of their times, which must stay below 1.5.
func BenchmarkPatchMember(b *testing.B) {
	s := storetest.New(b)
	h := benchHandler(b, s)
	small, large := fillGroup(b, s, "small", 1_000), fillGroup(b, s, "large", 100_000)
	extra := addUsers(b, s, "extra", 1)[0].ID
	burst := func(gid string) float64 {
		began := time.Now()
		for i := range benchBurst {
			op := fmt.Sprintf(`{"op":"add","path":"members","value":[{"value":%q}]}`, extra)
			if i%2 == 1 {
				op = fmt.Sprintf(`{"op":"remove","path":"members[value eq \"%s\"]"}`, extra)
			}
			patchGroup(b, h, gid, op)
		}
		return float64(time.Since(began).Microseconds()) / benchBurst
	}
	var at1k, at100k, ratio []float64
	for b.Loop() {
		for i := range benchRounds + 1 {
			x, y := burst(small), burst(large)
			if i == 0 {
				continue
			}
			at1k, at100k, ratio = append(at1k, x), append(at100k, y), append(ratio, y/x)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(at1k), "1k-µs")
	b.ReportMetric(middle(at100k), "100k-µs")
	b.ReportMetric(middle(ratio), "100k/1k-x")
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func benchHandler(b *testing.B, s *store.Store) http.Handler {
	b.Helper()
	e, err := policies.NewEngine(policies.Options{Deadline: time.Minute}) // the machine may be busy
	if err != nil {
		b.Fatal(err)
	}
	a, err := authz.New(authz.Options{Policy: e, Locks: nobody{}, Tenants: map[string]authz.TenantOptions{"acme": {
		Profile: il1, Verifier: verifier{"acme-token": client("idp", "j")},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	h, err := scimhttp.New(scimhttp.Options{
		Decider: a, Store: s, TenantOf: func(*http.Request) (string, bool) { return "acme", true },
		Base:   func(string) string { return "https://acme.test/scim/v2" },
		RateOf: func(string, string, string) (rate.Limit, int) { return 1e6, 1e6 },
	})
	if err != nil {
		b.Fatal(err)
	}
	return h.Route(http.NotFoundHandler())
}

func patchGroup(b *testing.B, h http.Handler, gid, op string) {
	b.Helper()
	body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + op + `]}`
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPatch, "/scim/v2/Groups/"+gid, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer acme-token")
	r.Header.Set("Content-Type", "application/scim+json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusNoContent && w.Code != http.StatusOK {
		b.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	if w.Body.Len() > 4096 {
		b.Fatalf("the answer to a change of one member has %d bytes", w.Body.Len())
	}
}

func addUsers(b *testing.B, s *store.Store, prefix string, n int) []store.Member {
	b.Helper()
	out := make([]store.Member, 0, n)
	for base := 0; base < n; base += 500 {
		change(b, s, func(tx *store.Tx) error {
			out = out[:base]
			for i := base; i < min(n, base+500); i++ {
				name := fmt.Sprint(prefix, i)
				u := &store.User{Resource: scim.Object{"userName": name, "externalId": name}}
				if err := tx.CreateUser(u); err != nil {
					return err
				}
				out = append(out, store.Member{ID: u.ID, Type: "User"})
			}
			return nil
		})
	}
	return out
}

func fillGroup(b *testing.B, s *store.Store, name string, n int) string {
	b.Helper()
	members := addUsers(b, s, name, n)
	g := &store.Group{Resource: scim.Object{"displayName": name, "externalId": name}}
	change(b, s, func(tx *store.Tx) error { g.ID = ""; return tx.CreateGroup(g, nil) })
	for part := range slices.Chunk(members, 1000) {
		change(b, s, func(tx *store.Tx) error {
			_, err := tx.AddMembers(g.ID, part)
			return err
		})
	}
	return g.ID
}

func change(b *testing.B, s *store.Store, fn func(*store.Tx) error) {
	b.Helper()
	if _, err := s.Update(b.Context(), "acme", storetest.Cause("bench"), fn); err != nil {
		b.Fatal(err)
	}
}
