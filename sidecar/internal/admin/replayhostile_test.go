package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/recording"
)

// recordings opens the recordings of a folder with a key.
func recordings(t *testing.T, dir string, key byte) *recording.Store {
	t.Helper()
	r, err := recording.New(recording.Options{
		Dir: dir, Key: bytes.Repeat([]byte{key}, 32), Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Configure(map[string]int64{"acme": 64 << 20, "globex": 64 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// write writes what was added to r.
func write(t *testing.T, r *recording.Store) {
	t.Helper()
	done, stop := context.WithCancel(t.Context())
	stop()
	r.Run(done)
}

// withRecordings lets the service replay these, and nothing else.
func (s *service) withRecordings(r *recording.Store) {
	s.t.Helper()
	engine, err := policies.NewEngine(policies.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.options.Recordings, s.options.Policy = r, engine
	s.options.Decisions = func(string, time.Time, func(*decisionlog.Record) error) error { return nil }
	s.withKeys(nil)
}

// TestReplayOfComputedIDs: a bundle that makes up other ids for each request fills no memory: what is beyond the first
// thousand counts as policy/other, each request once.
func TestReplayOfComputedIDs(t *testing.T) {
	const requests = 20
	s := newService(t)
	s.withBundles("")
	r := recordings(t, t.TempDir(), 1)
	for n := range requests {
		r.Add("acme", &recording.Entry{
			ID: fmt.Sprint("d", n), Time: time.Now(), Profile: "rfc7644", Route: "POST /Users", Client: "hr", Allowed: true,
			Final: true, Document: json.RawMessage(fmt.Sprintf(`{"method":"POST","resource":{"userName":"u%d"}}`, n)),
		})
	}
	write(t, r)
	s.withRecordings(r)
	_, encoded := packed(t, 1, `
requirements[id] := {"message": "m"} if {
	some i, _ in split(sprintf("%150d", [1]), "")
	id := sprintf("%s-%d", [input.resource.userName, i])
}
`)
	var got admin.Replayed
	s.post("policy/replay", `{"bundle":"`+encoded+`"}`, &got)
	if len(got.Rules) != 1001 || got.Refused != requests || got.NewlyRefused != requests {
		t.Errorf("%d rules, refused %d, want 1001 and %d", len(got.Rules), got.Refused, requests)
	}
	for _, rule := range got.Rules {
		if rule.Rule == policies.OtherRule && (rule.Requests < 10 || rule.Requests > requests || len(rule.Examples) != 5) {
			t.Errorf("the others: %+v", rule)
		}
	}
}

// TestHostileRecordings: recordings that no scimward writes, of another tenant, of another key or cut neither end a
// replay nor count as judged, and the good ones are judged. An explanation of each is an answer too.
func TestHostileRecordings(t *testing.T) {
	s := newService(t)
	dir := t.TempDir()
	documents := map[string]string{
		"good":   `{"method":"POST","resource":{"userName":"ada"}}`,
		"empty":  `{}`,
		"deep":   `{"method":"POST","resource":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
		"number": `{"method":"POST","resource":{"n":1e999999999},"counts":{"users":-1e999999999}}`,
		"twice":  `{"method":"POST","method":"DELETE"}`,
		"types":  `{"method":7,"resource":"x","stored":[],"canonical":{"a":null},"groups":1}`,
		"null":   `null`, "list": `[]`, "text": `"x"`,
	}
	add := func(r *recording.Store, tenant, prefix string) {
		for id, doc := range documents {
			r.Add(tenant, &recording.Entry{
				ID: prefix + id, Time: time.Now(), Profile: "rfc7644", Route: "POST /Users", Final: true, Document: json.RawMessage(doc),
			})
		}
		write(t, r)
	}
	add(recordings(t, dir, 2), "acme", "other-key-")
	mine := recordings(t, dir, 1)
	add(mine, "globex", "globex-")
	add(mine, "acme", "")
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	foreign, err := filepath.Glob(filepath.Join(dir, "globex/*.rec"))
	if err != nil || len(foreign) != 1 {
		t.Fatal(foreign, err)
	}
	raw, err := os.ReadFile(foreign[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"1.rec": raw[:len(raw)-3], "2.rec": {0xff, 0xff, 0xff, 0xff, 1}, "3.rec": nil, "x.rec": []byte("no recording"),
	} {
		if err := os.WriteFile(filepath.Join(dir, "acme", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	s.withRecordings(mine)
	_, encoded := packed(t, 1, `
requirements["named"] := {"message": sprintf("%v", [input.resource])} if input.method == "POST"

satisfied contains "named" if input.resource.n + 1 > input.counts.users
`)
	for _, body := range []string{`{"bundle":"` + encoded + `"}`, `{"bundle":"` + encoded + `","diff":true}`} {
		var got admin.Replayed
		s.post("policy/replay", body, &got)
		if got.Judged+got.Failed != 5 || got.Judged < 4 || got.Unreadable < len(documents)+4 {
			t.Errorf("replayed %+v, want five judged, and the rest unreadable", got)
		}
	}
	for id := range documents {
		for _, prefix := range []string{"", "other-key-", "globex-"} {
			w := s.do("POST", "/v1/tenants/acme/policy/eval", `{"id":"`+prefix+id+`","bundle":"`+encoded+`"}`)
			if known := w.Code != http.StatusNotFound; known != (prefix == "") || w.Code >= 500 {
				t.Errorf("%s%s: %d %s", prefix, id, w.Code, w.Body)
			}
		}
	}
}
