package policies

import (
	"cmp"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// Input is what a rule sees of one SCIM request. Package authz fills it from the decoded
// request; Engine.Decide turns it into the document of schemas/policy-input.v1.json. Nil slices are
// empty arrays in Rego. Resource and the values of operations have the types of [scim.Object].
type Input struct {
	Profile      string // "ipsie-il1"
	Tenant       string // a tenant of the configuration: it labels the metrics
	Client       Client
	Dialect      *Dialect // of the client; nil enforces every rule
	Method       string   // "PATCH"
	Route        string   // "PATCH /Groups/{id}": one string for the rule indexer
	ResourceType string   // "User", "Group", "" on discovery
	ResourceID   string
	Resource     scim.Object  // body of POST and PUT, canonical names; nil otherwise
	Stored       scim.Object  // the resource before a PATCH or PUT, where Result is judged; nil otherwise
	Result       scim.Object  // the resource after it
	Raw          []scim.RawOp // PATCH operations as sent
	Canonical    []scim.Op    // after normalisation
	Deviations   []scim.Deviation
	Query        *scim.Query // nil where there is none: discovery
	Size         int         // bytes of the body; a large one may take longer
	Final        bool        // Stored and Result are known, or there is none: asked by the service that applies the change

	// Only the rules of a tenant see these, and only if they refer to them.
	Received time.Time // when the request arrived; zero is unknown
	Facts    Facts     // of the service that applies the change; nil elsewhere
	Groups   *Groups   // Decide takes them from Facts
	Counts   *Counts
	Members  *Members // of a group
}

// Client is the OAuth client of the request, from the access token.
type Client struct {
	ID     string
	Issuer string
	Scopes []string
	// Label names the client in metrics. Their number must be bounded. Empty counts as "other". Rules do
	// not see it.
	Label string
}

// Mode is how a rule acts. The zero value enforces.
type Mode string

// The modes.
const (
	ModeEnforce Mode = ""
	ModeWarn    Mode = "warn"    // applied, audited, answered with a header
	ModeObserve Mode = "observe" // metric only
)

// String returns the name of a mode: "enforce" for the zero value.
func (m Mode) String() string { return cmp.Or(string(m), "enforce") }

// MarshalText writes the name of a mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (m *Mode) UnmarshalText(name []byte) error {
	switch *m = Mode(name); {
	case string(name) == ModeEnforce.String():
		*m = ModeEnforce
	case *m != ModeWarn && *m != ModeObserve:
		return fmt.Errorf("no mode %q: there are enforce, warn, observe", name)
	}
	return nil
}

// Violation is one requirement that a request does not satisfy.
type Violation struct {
	Rule     string   `json:"rule"`               // requirement id, "IL1-3.3.3-op"
	Op       int      `json:"op"`                 // index of the operation, -1 for the request
	Message  string   `json:"message"`            // what is wrong
	Fix      string   `json:"fix,omitempty"`      // what to send instead
	Status   int      `json:"status"`             // HTTP status of the refusal
	ScimType string   `json:"scimType,omitempty"` // Table 9 value, may be empty
	Mode     Mode     `json:"mode"`
	Overlays []string `json:"overlays,omitempty"` // those that would let the request pass the rule; read-only
}

// Verdict is the answer of a profile. Its zero value denies.
type Verdict struct {
	Allow      bool
	Violations []Violation // of every mode, enforce first
	Revision   string      // "ipsie-il1@<sha256 prefix of the Rego sources>"
	Bundle     string      // name of the tenant's bundle that judged too, or must (Later); empty for none
	Hold       *Hold       // of an allowed deletion of a user: its accounts wait for an operator
	Failure    string      // set when the engine itself failed: the answer is 503, not 403
	Reason     string      // of the failure, for operators: which rule of a tenant, and what is wrong with it; may be ""
	// Later says that the tenant's rules have not judged the request: they read what only the service that applies
	// the change knows. It must ask again with Input.Final before it applies the change.
	Later bool
}
