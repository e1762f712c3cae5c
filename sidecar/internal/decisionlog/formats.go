package decisionlog

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// opaEvent is an event of OPA's decision log service API. What OPA calls the input are the ids and codes of the
// request, and never its body.
type opaEvent struct {
	Labels     map[string]string    `json:"labels"`
	DecisionID string               `json:"decision_id,omitempty"`
	Bundles    map[string]opaBundle `json:"bundles,omitempty"`
	Path       string               `json:"path"`
	Input      any                  `json:"input,omitempty"`
	Result     any                  `json:"result,omitempty"`
	Timestamp  time.Time            `json:"timestamp"`
	Metrics    map[string]int64     `json:"metrics,omitempty"`
}

type opaBundle struct {
	Revision string `json:"revision"`
}

type opaInput struct {
	Tenant     string   `json:"tenant,omitempty"`
	App        string   `json:"app,omitempty"`
	Surface    string   `json:"surface"`
	Route      string   `json:"route,omitempty"`
	Method     string   `json:"method"`
	Client     string   `json:"client,omitempty"`
	Issuer     string   `json:"issuer,omitempty"`
	Resource   string   `json:"resource,omitempty"`
	Subject    string   `json:"subject,omitempty"`
	Deviations []string `json:"deviations,omitempty"`
}

type opaResult struct {
	Allow   bool   `json:"allow"`
	Outcome string `json:"outcome"`
	By      string `json:"by"`
	Status  int    `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Rules   []Rule `json:"rules,omitempty"`
	Lock    *Lock  `json:"lock,omitempty"`
}

func opaEvents(labels map[string]string, now time.Time, batch []*Record, gap *Gap) ([]byte, error) {
	events := make([]opaEvent, 0, len(batch)+1)
	for _, r := range batch {
		e := opaEvent{
			Labels: labels, DecisionID: r.ID, Path: "scimward/" + r.Surface, Timestamp: r.Time,
			Input: opaInput{
				Tenant: r.Tenant, App: r.App, Surface: r.Surface, Route: r.Route, Method: r.Method, Client: r.Client,
				Issuer: r.Issuer, Resource: r.Resource, Subject: r.Subject, Deviations: r.Deviations,
			},
			Result: opaResult{
				Allow: r.Outcome == Allow, Outcome: r.Outcome, By: r.By, Status: r.Status, Reason: r.Reason, Rules: r.Rules,
				Lock: r.Lock,
			},
			Metrics: map[string]int64{
				"timer_policy_ns": r.Took.Policy * 1000, "timer_decide_ns": r.Took.Decide * 1000,
				"timer_total_ns": r.Took.Total * 1000,
			},
		}
		if r.Revision != "" {
			e.Bundles = map[string]opaBundle{"policy": {r.Revision}}
		}
		events = append(events, e)
	}
	if gap != nil {
		events = append(events, opaEvent{Labels: labels, Path: "scimward/gap", Result: gap, Timestamp: now})
	}
	return json.Marshal(events)
}

// The messages of OTLP logs, as JSON (ExportLogsServiceRequest). Numbers of 64 bits are strings there.
type (
	otlpRequest struct {
		ResourceLogs []otlpResourceLogs `json:"resourceLogs"`
	}
	otlpResourceLogs struct {
		Resource  otlpResource    `json:"resource"`
		ScopeLogs []otlpScopeLogs `json:"scopeLogs"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeLogs struct {
		Scope      otlpScope    `json:"scope"`
		LogRecords []otlpRecord `json:"logRecords"`
	}
	otlpScope struct {
		Name string `json:"name"`
	}
	otlpRecord struct {
		Time       string          `json:"timeUnixNano"`
		Severity   int             `json:"severityNumber"`
		Text       string          `json:"severityText"`
		Body       otlpValue       `json:"body"`
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		String string `json:"stringValue,omitempty"`
		Int    string `json:"intValue,omitempty"`
	}
)

// Severities of OTLP logs.
const (
	otlpInfo  = 9
	otlpWarn  = 13
	otlpError = 17
)

func otlpLogs(labels map[string]string, now time.Time, batch []*Record, gap *Gap) ([]byte, error) {
	resource := otlpResource{Attributes: []otlpAttribute{text("service.name", "scimward")}}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		resource.Attributes = append(resource.Attributes, text("scimward."+k, labels[k]))
	}
	logs := otlpScopeLogs{Scope: otlpScope{"scimward/decisions"}}
	for _, r := range batch {
		logs.LogRecords = append(logs.LogRecords, otlpOf(r))
	}
	if gap != nil {
		logs.LogRecords = append(logs.LogRecords, otlpRecord{
			Time: nano(now), Severity: otlpWarn, Text: "WARN", Body: otlpValue{String: "gap"},
			Attributes: []otlpAttribute{
				number("scimward.dropped", int64(gap.Dropped)),
				text("scimward.reason", gap.Reason), text("scimward.since", gap.Since.Format(time.RFC3339Nano)),
				text("scimward.until", gap.Until.Format(time.RFC3339Nano)),
			},
		})
	}
	return json.Marshal(otlpRequest{[]otlpResourceLogs{{resource, []otlpScopeLogs{logs}}}})
}

func otlpOf(r *Record) otlpRecord {
	out := otlpRecord{Time: nano(r.Time), Severity: otlpInfo, Text: "INFO", Body: otlpValue{String: "decision"}}
	switch r.Outcome {
	case Deny:
		out.Severity, out.Text = otlpWarn, "WARN"
	case Fault:
		out.Severity, out.Text = otlpError, "ERROR"
	}
	add := func(key, value string) {
		if value != "" {
			out.Attributes = append(out.Attributes, text("scimward."+key, value))
		}
	}
	add("decision_id", r.ID)
	add("tenant", r.Tenant)
	add("app", r.App)
	add("surface", r.Surface)
	add("by", r.By)
	add("route", r.Route)
	add("method", r.Method)
	add("client", r.Client)
	add("issuer", r.Issuer)
	add("outcome", r.Outcome)
	add("reason", r.Reason)
	add("revision", r.Revision)
	add("resource", r.Resource)
	add("subject", r.Subject)
	for _, rule := range r.Rules {
		add("rule."+rule.ID, rule.Mode)
	}
	for _, d := range r.Deviations {
		add("deviation."+d, "yes")
	}
	if r.Lock != nil {
		add("lock.kind", r.Lock.Kind)
		add("lock.id", r.Lock.ID)
	}
	out.Attributes = append(out.Attributes, number("scimward.status", int64(r.Status)),
		number("scimward.policy_us", r.Took.Policy), number("scimward.decide_us", r.Took.Decide),
		number("scimward.total_us", r.Took.Total))
	return out
}

func text(key, value string) otlpAttribute { return otlpAttribute{key, otlpValue{String: value}} }

func number(key string, n int64) otlpAttribute {
	return otlpAttribute{key, otlpValue{Int: strconv.FormatInt(n, 10)}}
}

func nano(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
