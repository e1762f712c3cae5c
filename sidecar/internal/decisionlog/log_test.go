package decisionlog_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newLog(tb testing.TB, s decisionlog.Settings) (*decisionlog.Log, *prometheus.Registry) {
	tb.Helper()
	reg := prometheus.NewRegistry()
	l := decisionlog.New(decisionlog.Options{
		Now: func() time.Time { return noon }, Logger: slog.New(slog.DiscardHandler), Metrics: reg,
		Labels: map[string]string{"instance": "i"},
	})
	l.Configure(s)
	return l, reg
}

// record is decision number i of a tenant.
func record(tenant string, i int) *decisionlog.Record {
	return &decisionlog.Record{
		ID: strconv.Itoa(i), Time: noon.Add(time.Duration(i) * time.Millisecond), Tenant: tenant, Surface: "scim",
		By: decisionlog.ByService, Route: "PATCH /Users/{id}", Method: "PATCH", Client: "idp", Issuer: "https://as.example",
		Outcome: decisionlog.Deny, Status: 403, Reason: "policy", Revision: "ipsie-il1@0 7",
		Rules: []decisionlog.Rule{{ID: "policy/title", Mode: "enforce"}}, Deviations: []string{"boolean_string"},
		Resource: "019b0000-0000-7000-8000-000000000000", Took: decisionlog.Took{Policy: 40, Decide: 90, Total: 300},
	}
}

// sum adds the values of a counter over its labels.
func sum(tb testing.TB, reg *prometheus.Registry, name string) (n uint64) {
	tb.Helper()
	all, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			n += uint64(m.GetCounter().GetValue())
		}
	}
	return n
}

// counted returns how many records, and how many that gaps report, are in lines of JSON.
func counted(tb testing.TB, from io.Reader) (records, gaps uint64) {
	tb.Helper()
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var x struct {
			ID  string           `json:"decision_id"`
			Gap *decisionlog.Gap `json:"gap"`
		}
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			tb.Fatal(err)
		}
		switch {
		case x.Gap != nil:
			gaps += x.Gap.Dropped
		case x.ID != "":
			records++
		}
	}
	return records, gaps
}

// soak decides n times from several goroutines and checks that what is written and what is reported as dropped make
// n, in the file and in the metrics.
func soak(t *testing.T, n, buffer int) (dropped uint64) {
	t.Helper()
	f := decisionlog.File{Path: filepath.Join(t.TempDir(), "d.jsonl"), Max: 1 << 40, Keep: 1}
	l, reg := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{f}, Buffer: buffer})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := g; i < n; i += 4 {
				l.Add(record("acme", i))
			}
		})
	}
	all.Wait()
	l.Close()
	file, err := os.Open(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	records, gaps := counted(t, file)
	written, lost := sum(t, reg, "scimward_decision_log_written_total"), sum(t, reg, "scimward_decision_log_dropped_total")
	decided := sum(t, reg, "scimward_decision_log_decisions_total")
	if decided != uint64(n) || records+gaps != decided || written != records || lost != gaps {
		t.Errorf("%d decisions: %d records and gaps of %d; the metrics say %d decided, %d written, %d dropped",
			n, records, gaps, decided, written, lost)
	}
	return gaps
}

// TestSoak: nothing is lost without a word, with a ring that is large enough and with one that is not.
func TestSoak(t *testing.T) {
	if dropped := soak(t, 50_000, 1<<20); dropped > 0 {
		t.Errorf("%d dropped with room for all", dropped)
	}
	soak(t, 50_000, 128)
	if !testing.Short() { // some seconds; with the race detector, a minute
		soak(t, 1_000_000, decisionlog.DefaultBuffer)
	}
}

// blocked is standard output that nobody reads until it is opened.
type blocked struct {
	open chan struct{}
	bytes.Buffer
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.open
	return b.Buffer.Write(p)
}

// TestFullRing: a full ring drops the newest records, and the gap stands where they are missing.
func TestFullRing(t *testing.T) {
	out := &blocked{open: make(chan struct{})}
	to := []decisionlog.Destination{decisionlog.Writer{To: out}}
	l, _ := newLog(t, decisionlog.Settings{Destinations: to, Buffer: 4})
	for i := range 100 {
		l.Add(record("acme", i))
	}
	close(out.open)
	l.Close()
	text := out.String()
	records, gaps := counted(t, &out.Buffer)
	if records+gaps != 100 || gaps < 90 {
		t.Errorf("%d records and gaps of %d of 100 decisions", records, gaps)
	}
	if !bytes.HasPrefix([]byte(text), []byte(`{"decision_id":"0"`)) || !bytes.Contains([]byte(text), []byte(`"reason":"full"`)) {
		t.Errorf("it begins with another record than the oldest: %s", text)
	}
}

// TestRotation: files stay below their bound, the oldest goes, and all have mode 0600.
func TestRotation(t *testing.T) {
	f := decisionlog.File{Path: filepath.Join(t.TempDir(), "d.jsonl"), Max: 2000, Keep: 2}
	l, reg := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{f}})
	for i := range 40 {
		l.Add(record("acme", i))
		for sum(t, reg, "scimward_decision_log_written_total") <= uint64(i) {
			time.Sleep(time.Millisecond)
		}
	}
	l.Close()
	var ids []string
	if err := f.Read(func(r *decisionlog.Record) error { ids = append(ids, r.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(ids) < 6 || len(ids) > 15 || ids[len(ids)-1] != "39" {
		t.Errorf("the files have %v, want the newest in order", ids)
	}
	names, err := filepath.Glob(f.Path + "*")
	if err != nil || len(names) != 3 {
		t.Fatalf("files %v %v", names, err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 || info.Size() > f.Max {
			t.Errorf("%s has mode %v and %d bytes", name, info.Mode(), info.Size())
		}
	}
}

// TestMask: a tenant turns its records off, or leaves fields out, everywhere. It changes nothing for
// another tenant.
func TestMask(t *testing.T) {
	var out bytes.Buffer
	l, _ := newLog(t, decisionlog.Settings{
		Destinations: []decisionlog.Destination{decisionlog.Writer{To: &out}},
		Tenants: map[string]decisionlog.Tenant{
			"off": {Off: true}, "acme": {},
			"masked": {Erase: []string{"client", "resource", "subject", "lock", "rules", "deviations"}},
		},
	})
	for i, tenant := range []string{"off", "masked", "acme"} {
		r := record(tenant, i)
		r.Subject, r.Lock = "019b0000-0000-7000-8000-000000000001", &decisionlog.Lock{Kind: "operator", ID: "lock-7"}
		l.Add(r)
	}
	l.Close()
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if len(lines) != 2 || len(l.Recent("off", noon)) != 0 {
		t.Fatalf("%d records, want two: %s", len(lines), &out)
	}
	kept, err := json.Marshal(l.Recent("masked", noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		`"idp"`, "as.example", "019b0000", "lock-7", "operator", "policy/title", "enforce", "boolean_string",
	} {
		if bytes.Contains(lines[0], []byte(secret)) || bytes.Contains(kept, []byte(secret)) {
			t.Errorf("the masked record has %s: %s, in memory %s", secret, lines[0], kept)
		}
		if !bytes.Contains(lines[1], []byte(secret)) {
			t.Errorf("the record of another tenant has no %s: %s", secret, lines[1])
		}
	}
}

// service takes batches, after the failures that it has.
type service struct {
	mu     sync.Mutex
	fails  []int // statuses of the first answers
	bodies [][]byte
	tokens []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fails) > 0 {
		w.WriteHeader(s.fails[0])
		s.fails = s.fails[1:]
		return
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(z)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.bodies, s.tokens = append(s.bodies, b), append(s.tokens, r.Header.Get("Authorization"))
}

// deliver sends three decisions to a service with failures. It returns what arrived.
func deliver(t *testing.T, format string, fails ...int) (*service, *prometheus.Registry) {
	t.Helper()
	s := &service{fails: fails}
	server := httptest.NewServer(s)
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, reg := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{decisionlog.HTTP{
		URL: server.URL, Format: format, TokenFile: token, Pause: time.Millisecond,
	}}})
	for i := range 3 {
		l.Add(record("acme", i))
	}
	for written, dropped := uint64(0), uint64(0); written+dropped < 3; {
		written = sum(t, reg, "scimward_decision_log_written_total")
		dropped = sum(t, reg, "scimward_decision_log_dropped_total")
	}
	l.Close()
	return s, reg
}

// TestOPAFormat: a service gets OPA's events, also if it failed at first.
func TestOPAFormat(t *testing.T) {
	s, _ := deliver(t, decisionlog.FormatOPA, 503, 429)
	type event struct {
		Labels     map[string]string
		DecisionID string `json:"decision_id"`
		Bundles    map[string]struct{ Revision string }
		Path       string
		Input      struct{ Tenant, Route, Client, Resource string }
		Result     struct {
			Allow bool
			Rules []decisionlog.Rule
		}
		Timestamp time.Time
		Metrics   map[string]int64
	}
	var all []event
	for i, body := range s.bodies {
		var events []event
		if err := json.Unmarshal(body, &events); err != nil || s.tokens[i] != "Bearer secret" {
			t.Fatalf("%s: %v, token %q", body, err, s.tokens[i])
		}
		all = append(all, events...)
	}
	if len(all) != 3 {
		t.Fatalf("%d events of 3 decisions", len(all))
	}
	e := all[0]
	if e.DecisionID != "0" || e.Labels["instance"] != "i" || e.Bundles["policy"].Revision != "ipsie-il1@0 7" ||
		e.Path != "scimward/scim" || e.Input.Route != "PATCH /Users/{id}" || e.Result.Allow ||
		e.Result.Rules[0].ID != "policy/title" || !e.Timestamp.Equal(noon) || e.Metrics["timer_total_ns"] != 300_000 {
		t.Errorf("event %+v", e)
	}
}

// TestOTLPFormat: a collector's own types decode what it gets, without an unknown member. The records have the ids as
// attributes, and the last one is the gap.
func TestOTLPFormat(t *testing.T) {
	hold := make(chan struct{})
	s := &service{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-hold
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	l, _ := newLog(t, decisionlog.Settings{Buffer: 3, Destinations: []decisionlog.Destination{decisionlog.HTTP{
		URL: server.URL, Format: decisionlog.FormatOTLP, Pause: time.Hour, // it lingers until it closes or half is full
	}}})
	for i := range 200 {
		l.Add(record("acme", i))
	}
	close(hold)
	l.Close()
	records, dropped := 0, int64(0)
	for _, body := range s.bodies {
		var got logsv1.LogsData // the members of an ExportLogsServiceRequest
		if err := protojson.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		resource, scope := got.GetResourceLogs()[0].GetResource(), got.GetResourceLogs()[0].GetScopeLogs()[0]
		if found := attributes(resource.GetAttributes()); found["service.name"] != "scimward" || found["scimward.instance"] != "i" {
			t.Errorf("resource %v", found)
		}
		for _, r := range scope.GetLogRecords() {
			found := attributes(r.GetAttributes())
			if r.GetBody().GetStringValue() == "gap" {
				dropped += found["scimward.dropped"].(int64)
				continue
			}
			n, _ := strconv.Atoi(found["scimward.decision_id"].(string))
			if at := noon.Add(time.Duration(n) * time.Millisecond).UnixNano(); r.GetTimeUnixNano() != uint64(at) ||
				r.GetSeverityNumber() != logsv1.SeverityNumber_SEVERITY_NUMBER_WARN || found["scimward.status"] != int64(403) ||
				found["scimward.rule.policy/title"] != "enforce" || found["scimward.tenant"] != "acme" {
				t.Errorf("record %d is %v", n, r)
			}
			records++
		}
	}
	if records < 3 || dropped == 0 || records+int(dropped) != 200 {
		t.Errorf("%d records and gaps of %d of 200 decisions", records, dropped)
	}
}

// attributes are texts and numbers by name.
func attributes(list []*commonv1.KeyValue) map[string]any {
	out := map[string]any{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			out[a.GetKey()] = v.IntValue
		}
	}
	return out
}

// TestRefusedBatch: a batch that the service refuses is dropped at once, and counted.
func TestRefusedBatch(t *testing.T) {
	s, reg := deliver(t, decisionlog.FormatOPA, 400, 400, 400)
	if n := sum(t, reg, "scimward_decision_log_dropped_total"); n == 0 || len(s.bodies) > 2 {
		t.Errorf("%d dropped, %d batches arrived", n, len(s.bodies))
	}
}

// TestFailingFile: what cannot be written is counted, and the next record comes behind the gap.
func TestFailingFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	f := decisionlog.File{Path: filepath.Join(dir, "d.jsonl"), Max: 1 << 20, Keep: 1}
	l, reg := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{f}})
	l.Add(record("acme", 1))
	for sum(t, reg, "scimward_decision_log_dropped_total") < 1 {
		time.Sleep(time.Millisecond)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Add(record("acme", 2))
	l.Close()
	b, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	if records, gaps := counted(t, bytes.NewReader(b)); records != 1 || gaps != 1 {
		t.Errorf("%d records and gaps of %d: %s", records, gaps, b)
	}
}

// TestFullDisk: what a full disk does not take is counted, no half line stays, and when there is space the file goes on
// behind a gap.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("SKIP full disk: mounting a small tmpfs needs privileges: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	f := decisionlog.File{Path: filepath.Join(dir, "d.jsonl"), Max: 1 << 20, Keep: 1}
	l, reg := newLog(t, decisionlog.Settings{Destinations: []decisionlog.Destination{f}})
	n := 0
	for ; sum(t, reg, "scimward_decision_log_dropped_total") == 0; n++ {
		l.Add(record("acme", n))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	l.Add(record("acme", n))
	l.Close()
	b, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	lost := sum(t, reg, "scimward_decision_log_dropped_total")
	records, gaps := counted(t, bytes.NewReader(b)) // fails at a half line
	if records+gaps != uint64(n+1) || gaps != lost || !bytes.Contains(b, []byte(`"reason":"failed"`)) {
		t.Errorf("%d records and gaps of %d of %d decisions, %d counted as dropped", records, gaps, n+1, lost)
	}
}

// TestReload: a destination that goes gets what waits for it, and one that comes gets what follows.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	destination := func(name string) []decisionlog.Destination {
		return []decisionlog.Destination{decisionlog.File{Path: filepath.Join(dir, name), Max: 1 << 20, Keep: 1}}
	}
	l, _ := newLog(t, decisionlog.Settings{Destinations: destination("a")})
	l.Add(record("acme", 1))
	l.Configure(decisionlog.Settings{Destinations: destination("b")})
	l.Add(record("acme", 2))
	l.Configure(decisionlog.Settings{Destinations: destination("b"), Tenants: map[string]decisionlog.Tenant{"acme": {}}})
	l.Add(record("acme", 3))
	l.Close()
	for name, want := range map[string]uint64{"a": 1, "b": 2} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := counted(t, bytes.NewReader(b)); n != want {
			t.Errorf("%s has %d records, want %d", name, n, want)
		}
	}
}

// TestClosesInTime: a service that does not answer does not keep the process from ending.
func TestClosesInTime(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		<-hang
		if !errors.Is(err, io.ErrUnexpectedEOF) && err != nil {
			return
		}
	}))
	defer server.Close()
	defer close(hang)
	l, reg := newLog(t, decisionlog.Settings{
		Destinations: []decisionlog.Destination{decisionlog.HTTP{URL: server.URL, Format: decisionlog.FormatOPA}},
	})
	l.Add(record("acme", 1))
	l.Close()
	if n := sum(t, reg, "scimward_decision_log_dropped_total"); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
}

// TestSCIMID: only ids of this service are recorded.
func TestSCIMID(t *testing.T) {
	const good = "019b0000-0000-7000-8000-00000000000a"
	for id, want := range map[string]string{
		good: good, "": "", "ada": "", "ada@example.com": "", "019B0000-0000-7000-8000-00000000000A": "",
		"ada-lovelace-of-the-analytical-engine": "", "019b0000x0000-7000-8000-00000000000a": "",
	} {
		if got := decisionlog.SCIMID(id); got != want {
			t.Errorf("SCIMID(%q) = %q", id, got)
		}
	}
}
