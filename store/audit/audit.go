// Package audit is the hash-chained audit trail of one tenant: the record, its
// canonical encoding, and the verification of a stream of records without the
// store that wrote it.
package audit

import (
	"time"
)

// Hash is a SHA-256 sum; the zero Hash stands before the first record.
type Hash [32]byte

// Record is one audited act. Values of attributes are never in it, only names.
type Record struct {
	N         uint64    `json:"n"`        // position in the tenant's chain, 1 for the first
	Seq       uint64    `json:"seq"`      // log position of the change
	Tenant    string    `json:"tenant"`   //
	Time      time.Time `json:"time"`     // UTC
	Actor     string    `json:"actor"`    // "client:<id>", "engine:<owner>", …
	ClientID  string    `json:"client"`   // OAuth client, may be empty
	JTI       string    `json:"jti"`      // of the access token, may be empty
	RequestID string    `json:"request"`  //
	Remote    string    `json:"remote"`   // address the request came from
	Method    string    `json:"method"`   //
	Path      string    `json:"path"`     // no query
	Action    string    `json:"action"`   // "user.create", …
	Decision  string    `json:"decision"` // profile and revision that allowed or refused it
	Outcome   string    `json:"outcome"`  // OutcomeDone or OutcomeRefused
	Resource  string    `json:"resource"` // id of the resource or job, may be empty
	Attrs     []string  `json:"attrs"`    // names of changed attributes
	Detail    string    `json:"detail"`   // rule ids of a refusal, state of a job
	Prev      Hash      `json:"prev"`
	Hash      Hash      `json:"hash"`
}

// The outcomes.
const (
	OutcomeDone    = "done"
	OutcomeRefused = "refused"
)
