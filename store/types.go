package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// Seq is the log position of a change and the version of every key that it wrote.
type Seq = log.Seq

// The errors that a caller branches on. The numbers are the HTTP status.
var (
	ErrNotFound    = machine.ErrNotFound
	ErrConflict    = machine.ErrConflict
	ErrTooLarge    = machine.ErrTooLarge    // 413
	ErrUnavailable = machine.ErrUnavailable // 503
	ErrClosed      = machine.ErrClosed
	ErrReplay      = errors.New("store: jti was used before")                  // Tx.UseJTI
	ErrForgotten   = errors.New("store: a use of this jti may be forgotten")   // Tx.UseJTI
	ErrSelfMember  = errors.New("store: a group cannot be a member of itself") // 400
	ErrFenced      = errors.New("store: the job's lease belongs to another")   // Tx.SaveJob
	ErrNoCause     = errors.New("store: a write needs an actor, a request id and a decision")
)

// UniquenessError says that another resource of the tenant has the value of Attribute.
type UniquenessError struct{ Attribute string }

func (e *UniquenessError) Error() string {
	return fmt.Sprintf("store: %s is in use", e.Attribute)
}

// MissingMembersError names member ids that are not users or groups of the tenant.
type MissingMembersError struct{ IDs []string }

func (e *MissingMembersError) Error() string {
	return fmt.Sprintf("store: %d members do not exist", len(e.IDs))
}

// LimitError says that Attribute has more than Limit of Unit, "bytes" or "values".
type LimitError struct {
	Attribute string
	Limit     int
	Unit      string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("store: %s has more than %d %s", e.Attribute, e.Limit, e.Unit)
}

// Cause says who makes a change and why it was allowed. Every write needs one, for the
// audit record of the change.
type Cause struct {
	Actor    string // "client:<id>", "engine:<owner>", "operator:<name>", "system"; required
	ClientID string // OAuth client, empty for the engine
	Issuer   string // of the client's access token; empty means the tenant's own
	JTI      string // of the access token
	Static   bool   `json:"-"` // JTI is the id of a static token, which must still live
	// Issued is the iat of the access token. A change commits only if no end of the client is later. Zero is not
	// checked.
	Issued    time.Time `json:"-"`
	RequestID string    // required
	Remote    string    // address the request came from, as Envoy saw it
	Method    string
	Path      string // path only, no query
	Action    string // "user.create", "user.patch", "token.issue", …
	Decision  string // profile and revision that allowed it, or "internal"; required
	// Policy is the name of the policy bundle that judged the change, empty for none. See TenantOptions.Policy.
	Policy   string    `json:"-"`
	Attrs    []string  // names of the changed attributes, never values
	Received time.Time // when the request arrived; zero means now
	Claimed  string    // name that an operator gave, which nobody checked; may be empty
	Reason   string    // of an operator, one line; may be empty
}

// User is a SCIM user. Resource has the attributes with the canonical names of the schema,
// without id, meta and groups.
type User struct {
	ID       string
	Resource scim.Object
	Created  time.Time
	Modified time.Time
	Version  Seq // set by the store
}

// UserName returns the userName attribute.
func (u *User) UserName() string { return u.Resource.String("userName") }

// ExternalID returns the externalId attribute, empty when unassigned.
func (u *User) ExternalID() string { return u.Resource.String("externalId") }

// Active returns the active attribute, true when unassigned.
func (u *User) Active() bool { return u.Resource.Bool("active", true) }

// Emails returns the values of the emails attribute.
func (u *User) Emails() []string { return u.Resource.Strings("emails", "value") }

// Group is a SCIM group without its members. Each member is a key of its own.
type Group struct {
	ID       string
	Resource scim.Object
	Members  int // count
	Created  time.Time
	Modified time.Time
	Version  Seq // also changes with the members
}

// Member is a member of a group.
type Member struct {
	ID   string
	Type string // "User" or "Group"
}

// Key is a signing key of a tenant's authorization server.
type Key struct {
	ID      string // kid
	Use     string // "access-token"
	JWK     []byte // with the private part, in plain or sealed; empty once it is erased
	Created time.Time
	Signs   time.Time `json:",omitzero"`  // from when it signs; zero: since Created
	Sealed  string    `json:",omitempty"` // id of the key that JWK is encrypted under; empty: in plain
	Public  []byte    `json:",omitempty"` // the public JWK; empty for some keys with JWK
}

// LockState says which credentials a lock refuses.
type LockState string

// The lock states. The zero value refuses everything.
const (
	LockDeactivated LockState = "deactivated" // every credential
	LockDeleted     LockState = "deleted"     // every credential, for ever
	LockLifted      LockState = "lifted"      // only credentials issued before NotBefore
	LockOperator    LockState = "operator"    // every credential; an operator's lock, only from LockTable
)

// Lock refuses the credentials of one user, by the immutable id and by every name. It
// stays after a reactivation, to refuse older credentials. After a deletion it stays as a
// tombstone.
type Lock struct {
	Tenant     string
	UserID     string
	State      LockState
	Epoch      uint64    // counts deactivations, 1 for the first
	NotBefore  time.Time // a lifted lock refuses older credentials; zero refuses none
	UserNames  []string  // folded, with the former ones, oldest first
	ExternalID string
	FormerIDs  []string // former externalIds; looked up like ExternalID
	Emails     []string // folded
	Since      time.Time
	Revision   uint64 // counts the changes of this lock; the sum over a tenant is its counter
	Reason     string // "scim.patch", "scim.put", "scim.delete", "recreated", "renamed", "operator.lock"
	RequestID  string
	Operator   string `json:",omitempty"` // id of the operator's lock, with LockOperator
	// From is the user whose names the user took over, with the reason "recreated", and Taken the SCIM attributes
	// with these names.
	From    string   `json:",omitempty"`
	Taken   []string `json:",omitempty"`
	Version Seq
}

// Refuses reports whether the lock refuses a credential issued at issued. A credential of
// unknown age (zero) counts as old.
func (l Lock) Refuses(issued time.Time) bool {
	if l.State != LockLifted {
		return true
	}
	return !l.NotBefore.IsZero() && (issued.IsZero() || !issued.After(l.NotBefore))
}

// JobState is the state of a job.
type JobState string

// The job states. A state alone is no proof. A kind is done when the job is Verified, or
// when it is JobUnsupported and so enforced at the proxy.
const (
	JobPending         JobState = "pending"
	JobRunning         JobState = "running" // leased
	JobRetrying        JobState = "retrying"
	JobRevoked         JobState = "revoked"           // two empty lists, not yet verified
	JobNothingToRevoke JobState = "nothing_to_revoke" // none existed
	JobUnsupported     JobState = "unsupported"       // enforced at the proxy until EnforcedUntil
	JobFailed          JobState = "failed"            // needs a human
	JobUnknown         JobState = "unknown"           // never shown as done
	JobClosed          JobState = "closed"            // an operator closed it without proof, for ever
	JobHeld            JobState = "held"              // a deletion that waits for an operator, see Hold
)

// Job is the durable work of one user, app and kind. It is enqueued in the record of its
// cause.
type Job struct {
	ID      string // JobID; the idempotency key
	Tenant  string
	App     string
	Kind    string // abi.Kind
	UserID  string
	Epoch   uint64          // 0 for a job without a deactivation, see After
	Event   string          // abi.Event…: user.deactivated, user.deleted, user.reactivated
	Subject subject.Subject // as of the event, because the row may be gone when the job runs
	// After is the leaver who had the userName of this new user, or empty. The application
	// knows both by that name. So the leaver's jobs in the app run first, and then this job
	// enables the account.
	After    string `json:",omitempty"`
	Hold     *Hold  `json:",omitempty"` // of a deletion that an operator must approve
	State    JobState
	Found    int // listed by the application over all attempts
	Revoked  int
	Attempts int
	NextAt   time.Time // not before
	// Wait is the time from the write of the row until NextAt. Another core, whose clock may be wrong, counts it from
	// when it applied the write.
	Wait          time.Duration `json:",omitempty"`
	LeaseOwner    string
	LeaseUntil    time.Time
	Cursor        string
	Code          string // last code and message of the plugin or host
	Message       string
	EnforcedUntil time.Time // the lock plus Target.Lifetime: when the last credential of the app expires
	Verified      bool
	VerifiedAt    time.Time
	Probes        []JobProbe    // last 10
	Evidence      []JobEvidence // at most 100
	Plugin        JobPlugin
	Received      time.Time // when the SCIM request arrived; both clocks start here
	Created       time.Time
	Done          time.Time // first time in a terminal state
	Version       Seq       // the fencing token of a lease
}

// Terminal reports whether the revocation of this kind is complete. A failed job is not,
// because it waits for a human.
func (j *Job) Terminal() bool {
	switch j.State {
	case JobRevoked, JobNothingToRevoke, JobUnsupported:
		return true
	case JobPending, JobRunning, JobRetrying, JobFailed, JobUnknown, JobClosed, JobHeld:
		return false
	}
	return false
}

// JobEvidence is one call that revoked something. ID is the application's
// identifier, never a secret.
type JobEvidence struct {
	ID     string
	Action string
	Status int
	At     time.Time
}

// JobProbe is one verification.
type JobProbe struct {
	At     time.Time
	Result string // "dead", "live", "unknown"
	Live   int
	How    string
	Method string `json:",omitempty"` // "probed"; anything else, also empty, is a list
	With   string `json:",omitempty"` // kind of the credential that a probe tried
}

// Probed reports whether the application judged a credential. Otherwise it only listed what it has.
func (p *JobProbe) Probed() bool { return p.Method == "probed" }

// JobPlugin names the plugin that did the work.
type JobPlugin struct{ Name, Version, Digest string }

// Offboarding is the header of one epoch of one user, with the two clocks.
type Offboarding struct {
	Tenant    string
	UserID    string
	Epoch     uint64
	Event     string
	Cause     Cause
	Received  time.Time
	LockedAt  time.Time // time of the record that set the lock
	BlockedAt time.Time // when the lock was in memory and the open streams had ended; zero until recorded
	// SettledAt is when the last kind was verified or found to be enforced at the proxy only. It is zero
	// until then. Rows name it VerifiedAt, which they also did where nothing was verified.
	SettledAt time.Time `json:"VerifiedAt"`
	Verified  bool      `json:",omitempty"` // every kind was verified; false in rows of older versions
	Closed    bool      `json:",omitempty"` // settled because an operator closed a kind without proof
	Breached  bool      // 300 s passed before SettledAt
	Jobs      int       // number of jobs that the record created; Verify counts them
	Refused   []Refusal `json:",omitempty"` // earlier requests for this that were refused
	// Shared says that the lock was committed to a log that several processes share. Confirmed then says when the
	// lock was in force at all of them; nil means that this is not known.
	Shared    bool          `json:",omitempty"`
	Confirmed *Confirmation `json:",omitempty"`
	Version   Seq
}

// Change is one entry of the change feed, in log order.
type Change struct {
	Seq       Seq
	Tenant    string
	Type      ChangeType
	ID        string        // resource id, or job id
	Lock      *Lock         // of a ChangeLock
	Operator  *OperatorLock `json:",omitempty"` // of a ChangeOperatorLock
	Issuer    string        `json:",omitempty"` // of a ChangeClient: with ID, its [ClientName]
	Client    *Client       `json:",omitempty"` // of a ChangeClient, nil when its tombstone was deleted
	Pause     *Pause        `json:",omitempty"` // of a ChangePause, nil when the tenant was resumed
	Policy    *Policy       `json:",omitempty"` // of a ChangePolicy
	Ended     bool          `json:",omitempty"` // of a ChangeKey: the key signs nothing that is accepted any more
	Until     time.Time     `json:",omitzero"`  // of a ChangeToken: when the token has expired for everybody
	Core      *CoreChange   `json:",omitempty"` // of a ChangeCore, which is not in the feed
	RequestID string
}

// ChangeType says what changed.
type ChangeType string

// The change types.
const (
	ChangeUserCreated  ChangeType = "user.created"
	ChangeUserUpdated  ChangeType = "user.updated"
	ChangeUserDeleted  ChangeType = "user.deleted"
	ChangeGroupCreated ChangeType = "group.created"
	ChangeGroupUpdated ChangeType = "group.updated"
	ChangeGroupDeleted ChangeType = "group.deleted"
	ChangeLock         ChangeType = "lock"
	ChangeOperatorLock ChangeType = "lock.operator"
	ChangeJob          ChangeType = "job"
	ChangeClient       ChangeType = "client"
	ChangePause        ChangeType = "pause"
	ChangePolicy       ChangeType = "policy"
	ChangeKey          ChangeType = "key"           // ID is that of a signing key
	ChangeToken        ChangeType = "token.revoked" // ID is the jti of an access token
	ChangeCore         ChangeType = "core"
)
