package sidecar_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/scimward/scimward/sidecar"
)

// alertRules are the files of alert rules.
type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Annotations map[string]string
		}
	}
}

// dashboard is what the test reads of a Grafana dashboard.
type dashboard struct {
	Templating struct{ List []struct{ Query string } }
	Panels     []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

func monitoring(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "monitoring", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAlerts(t *testing.T) alertRules {
	t.Helper()
	var a alertRules
	if err := yaml.Unmarshal(monitoring(t, "alerts.yaml"), &a); err != nil || len(a.Groups) != 1 {
		t.Fatalf("alerts.yaml: %v, %d groups", err, len(a.Groups))
	}
	return a
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(monitoring(t, "dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	descRE     = regexp.MustCompile(`fqName: "(scimward_\w+)".*variableLabels: \{(.*)\}\}`)
	selectorRE = regexp.MustCompile(`(scimward_\w+)(?:\{([^}]*)\})?`)
	matcherRE  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	byRE       = regexp.MustCompile(`\b(?:by|without|on|ignoring) \(([^)]*)\)`)
	legendRE   = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// aCore is the configuration of a core that keeps its log alone. It has a place for the address of the log.
const aCore = base + `cluster:
  role: core
  name: core-1
  log:
    servers: ["%[1]s"]
    member: {listen: "%[1]s"}
    replicas: 1
    accept_loss: true
    password_file: password
    system_password_file: password
`

// startCore starts a core that keeps its log alone.
func startCore(t *testing.T) *running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := newFolder(t, fmt.Sprintf(aCore, l.Addr()))
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("a password of scimward"), 0o600); err != nil {
		t.Fatal(err)
	}
	return startIn(t, dir, sidecar.Options{})
}

// labelsOf returns the labels of every metric of a running server, a core, which has those of a standalone one too.
func labelsOf(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, d := range startCore(t).server.Metrics() {
		if m := descRE.FindStringSubmatch(d.String()); m != nil {
			out[m[1]] = strings.Split(m[2], ",")
		}
	}
	if len(out) < 40 {
		t.Fatalf("a running server has %d metrics, want all: %v", len(out), out)
	}
	return out
}

// judgeExpr returns what is wrong with an expression: metrics and labels that do not exist. used gets the metrics.
func judgeExpr(expr string, known map[string][]string, used map[string]bool) (wrong []string) {
	labels := []string{"le"}
	for _, m := range selectorRE.FindAllStringSubmatch(expr, -1) {
		name := m[1]
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if base, is := strings.CutSuffix(name, suffix); is && known[base] != nil {
				name = base
			}
		}
		if known[name] == nil {
			wrong = append(wrong, "no metric "+name)
			continue
		}
		used[name] = true
		labels = append(labels, known[name]...)
		for _, l := range matcherRE.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(known[name], l[1]) {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", name, l[1]))
			}
		}
	}
	for _, m := range byRE.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); !slices.Contains(labels, l) {
				wrong = append(wrong, fmt.Sprintf("no metric of it has the label %s", l))
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		wrong = append(wrong, "its brackets do not match")
	}
	return wrong
}

// TestMonitoringNamesRealMetrics: the alert rules and the dashboard name metrics and labels of a running server only,
// and the dashboard shows every metric.
func TestMonitoringNamesRealMetrics(t *testing.T) {
	known := labelsOf(t)
	for _, r := range readAlerts(t).Groups[0].Rules {
		for _, wrong := range judgeExpr(r.Expr, known, map[string]bool{}) {
			t.Errorf("alert %s: %s", r.Alert, wrong)
		}
	}
	shown := map[string]bool{}
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, wrong := range judgeExpr(target.Expr, known, shown) {
				t.Errorf("panel %q: %s", p.Title, wrong)
			}
			for _, m := range legendRE.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, m[1]) {
					t.Errorf("panel %q: the legend has %s, and the expression drops it", p.Title, m[1])
				}
			}
		}
	}
	for _, v := range d.Templating.List {
		for _, wrong := range judgeExpr(v.Query, known, map[string]bool{}) {
			t.Errorf("variable %q: %s", v.Query, wrong)
		}
	}
	for name := range known {
		if !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// TestJudgeExpr: the test of the rules finds a metric and a label that do not exist.
func TestJudgeExpr(t *testing.T) {
	known := map[string][]string{"scimward_a_total": {"tenant"}, "scimward_b_seconds": {"route"}}
	for expr, want := range map[string]int{
		`rate(scimward_a_total{tenant="x"}[5m]) > 0`:                                        0,
		`histogram_quantile(0.9, sum by (le, route) (rate(scimward_b_seconds_bucket[5m])))`: 0,
		`rate(scimward_c_total[5m])`:                                                        1,
		`scimward_a_total{app="x", route=~"y"}`:                                             2,
		`sum by (tenant) (scimward_b_seconds_count)`:                                        1,
		`sum(scimward_a_total`:                                                              1,
	} {
		if got := judgeExpr(expr, known, map[string]bool{}); len(got) != want {
			t.Errorf("%s: %q, want %d faults", expr, got, want)
		}
	}
}

var (
	rowRE      = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `(.+)` \\| ([^|]+) \\| ([^|]+) \\|$")
	linkRE     = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)
	increaseRE = regexp.MustCompile(`^increase\((.+)\[(\w+)\]\) > 0$`)
)

// TestAlertsAreDocumented: the table of docs/operations.md and the alert rules are the same. A rule about a counter
// sees its first event too.
func TestAlertsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n### Alerts\n")
	table, _, ended := strings.Cut(table, "\n### ")
	if !found || !ended {
		t.Fatal("docs/operations.md has no section Alerts")
	}
	want := map[string]bool{}
	for _, row := range rowRE.FindAllStringSubmatch(table, -1) {
		expr := increaseRE.ReplaceAllString(row[2], "increase($1[$2]) > 0 or ($1 unless $1 offset $2)")
		want[linkRE.ReplaceAllString(strings.Join([]string{row[1], expr, row[3], row[4]}, " | "), "$1")] = true
	}
	if rows := strings.Count(table, "\n| ") - 2; rows != len(want) {
		t.Errorf("the table has %d rows, and %d of them are alerts", rows, len(want))
	}
	names := map[string]bool{}
	for _, r := range readAlerts(t).Groups[0].Rules {
		a := r.Annotations
		key := strings.Join([]string{a["summary"], r.Expr, a["description"], a["action"]}, " | ")
		if !want[key] {
			t.Errorf("docs/operations.md does not have the alert %s", key)
		}
		if delete(want, key); names[r.Alert] {
			t.Errorf("two alerts have the name %s", r.Alert)
		}
		names[r.Alert] = true
	}
	for key := range want {
		t.Errorf("alerts.yaml does not have the alert %s", key)
	}
}
