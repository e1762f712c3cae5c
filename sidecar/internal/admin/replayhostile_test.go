package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
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

// TestHostileRecordings: recordings that no scimward writes, of another tenant, of another key or cut neither end a
// replay nor count as judged, and the good ones are judged. An explanation of each is an answer too.
func TestHostileRecordings(t *testing.T) {
	s := newService(t)
	dir := t.TempDir()
	open := func(key byte) *recording.Store {
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
		done, stop := context.WithCancel(t.Context())
		stop()
		r.Run(done)
	}
	add(open(2), "acme", "other-key-")
	mine := open(1)
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

	engine, err := policies.NewEngine(policies.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.options.Recordings, s.options.Policy = mine, engine
	s.options.Decisions = func(string, time.Time, func(*decisionlog.Record) error) error { return nil }
	s.withKeys(nil)
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
