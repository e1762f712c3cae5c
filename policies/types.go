package policies

// Input is what a rule sees of one SCIM request. Package authz fills it from the
// decoded request; Engine.Decide turns it into an ast.Value by hand. Slices are
// arrays and nil slices are empty arrays in Rego; Resource and Value are the JSON
// types nil, bool, string, int64, float64, []any and map[string]any.
type Input struct {
	Profile      string // "ipsie-il1"
	Tenant       string // a tenant of the configuration: it labels the metrics
	Client       Client
	Method       string // "PATCH"
	Route        string // "PATCH /Groups/{id}": one string for the rule indexer
	ResourceType string // "User", "Group", "" on discovery
	ResourceID   string
	Resource     map[string]any // body of POST and PUT, canonical names; nil otherwise
	Raw          []Operation    // PATCH operations as sent
	Canonical    []Operation    // after normalisation
	Deviations   []Deviation
	Query        Query
}

// Client is who asks, from the access token.
type Client struct {
	ID     string
	Issuer string
	Scopes []string
}

// Operation is one PATCH operation. HasPath and HasValue tell absent from empty.
type Operation struct {
	Op       string
	Path     string
	HasPath  bool
	Value    any
	HasValue bool
	Target   string // canonical only: the attribute the operation acts on, "members"
	Raw      int    // canonical only: index of the operation in Input.Raw that it came from
}

// Deviation is a difference between what was sent and the canonical form.
type Deviation struct {
	Code string // OP_CASE, PATHLESS, REMOVE_VALUE_ARRAY, …
	Op   int    // index of the operation, -1 for the request
}

// Query is the parsed query of a list request.
type Query struct {
	Filter      string // canonical text, "" when absent
	FilterShape string // "userName eq", "emails[value eq]", "other", "" when absent
	Attributes  []string
	Excluded    []string
}

// Mode is how a rule acts. The zero value enforces.
type Mode string

// The modes.
const (
	ModeEnforce Mode = ""
	ModeWarn    Mode = "warn"    // applied, audited, answered with a header
	ModeObserve Mode = "observe" // metric only
)

// Violation is one requirement that a request does not satisfy.
type Violation struct {
	Rule     string // requirement id, "IL1-3.3.3-op"
	Op       int    // index of the operation, -1 for the request
	Message  string // what is wrong
	Fix      string // what to send instead
	Status   int    // HTTP status of the refusal
	ScimType string // Table 9 value, may be empty
	Mode     Mode
}

// Verdict is the answer of a profile. Its zero value denies.
type Verdict struct {
	Allow      bool
	Violations []Violation // of every mode, enforce first
	Revision   string      // "ipsie-il1@<sha256 prefix of the Rego sources>"
	Failure    string      // set when the engine itself failed: the answer is 503, not 403
}
