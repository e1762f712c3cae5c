// Package decisionlog keeps what scimward decided: one record for each request. Records wait in a bounded ring for
// each destination: a file, standard output, an HTTP service, an OpenTelemetry collector. Full rings drop the newest
// record, count it, and say in a gap record how many are missing. The newest records stay in memory for operators.
//
// A record has ids and codes. It never has names, e-mail addresses, tokens, paths, bodies or texts of a client.
package decisionlog

import (
	"slices"
	"time"
)

// The values of Record.By.
const (
	ByProxy   = "proxy"   // answered at Envoy
	ByService = "service" // answered by the SCIM service
)

// The values of Record.Outcome.
const (
	Allow = "allow"
	Deny  = "deny"
	Fault = "fault" // nobody could decide: 503
)

// Record is one decision. It does not change after [Log.Add].
type Record struct {
	ID       string    `json:"decision_id"` // the id of the request in log, audit trail and access log
	Time     time.Time `json:"time"`        // when the request arrived
	Tenant   string    `json:"tenant,omitempty"`
	App      string    `json:"app,omitempty"`
	Surface  string    `json:"surface"` // scim, oauth, app, unknown
	By       string    `json:"by"`
	Route    string    `json:"route,omitempty"` // "PATCH /Users/{id}", of SCIM
	Method   string    `json:"method"`          // OTHER for an unusual one
	Client   string    `json:"client,omitempty"`
	Issuer   string    `json:"issuer,omitempty"` // of the client's token
	Outcome  string    `json:"outcome"`
	Status   int       `json:"status,omitempty"` // 0: the application answers
	Reason   string    `json:"reason,omitempty"`
	Revision string    `json:"revision,omitempty"` // of the profile, and of the tenant's bundle behind a blank
	Rules    []Rule    `json:"rules,omitempty"`    // violated, in every mode
	// Deviations are the codes of what was not in the canonical form.
	Deviations []string `json:"deviations,omitempty"`
	Resource   string   `json:"resource,omitempty"` // SCIM id of what the request is about
	Subject    string   `json:"subject,omitempty"`  // SCIM id of the person who sent it
	Lock       *Lock    `json:"lock,omitempty"`     // that refused it
	Took       Took     `json:"took_us"`
}

// Rule is a violated rule.
type Rule struct {
	ID   string `json:"id"`
	Mode string `json:"mode"`
}

// Lock is a lock of the lock table.
type Lock struct {
	Kind  string `json:"kind"`
	Epoch uint64 `json:"epoch,omitempty"`
	ID    string `json:"id,omitempty"` // of an operator's lock
}

// Took is the time of each stage, in microseconds.
type Took struct {
	Policy int64 `json:"policy,omitempty"` // the rules
	Decide int64 `json:"decide,omitempty"` // the decision with the rules
	Total  int64 `json:"total"`            // until the answer
}

// Gap says that records are missing: it follows those that arrived before.
type Gap struct {
	Dropped uint64    `json:"dropped"`
	Since   time.Time `json:"since"` // of the first and the last one
	Until   time.Time `json:"until"`
	Reason  string    `json:"reason"` // full: the ring was full. failed: they could not be delivered
}

// erase returns a record without some fields: client, resource, subject, lock, rules, deviations.
func (r *Record) erase(fields []string) *Record {
	if len(fields) == 0 {
		return r
	}
	out := *r
	for _, f := range fields {
		switch f {
		case "client":
			out.Client, out.Issuer = "", ""
		case "resource":
			out.Resource = ""
		case "subject":
			out.Subject = ""
		case "lock":
			out.Lock = nil
		case "rules":
			out.Rules = nil
		case "deviations":
			out.Deviations = nil
		}
	}
	return &out
}

// SCIMID returns id if it has the form of the ids that this service makes, else "". Somebody may put a name where
// an id belongs, and names are not recorded.
func SCIMID(id string) string {
	if len(id) != 36 {
		return ""
	}
	for i := range len(id) {
		c := id[i]
		if dash := slices.Contains([]int{8, 13, 18, 23}, i); dash != (c == '-') ||
			!dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}
