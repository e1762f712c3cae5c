package revoke

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
)

// EvidenceSchema names the format of a [Report].
const EvidenceSchema = "scimward.evidence/v1"

const maxChain = 20000 // records of a report

// Report shows how one user's credentials were revoked. It says who requested the deactivation, when
// the user was locked, and how many credentials of each app and kind were found, revoked and
// verified. It contains no secret, only the application's own ids.
type Report struct {
	Schema       string           `json:"schema"`
	Tenant       string           `json:"tenant"`
	User         string           `json:"user"` // SCIM id
	UserName     string           `json:"user_name"`
	Generated    time.Time        `json:"generated"`
	Status       string           `json:"status"` // of the last offboarding, see [Status]
	Offboardings []OffboardReport `json:"offboardings"`
	// Refused are requests to deactivate or delete the user that were refused after the last offboarding.
	// The user is back and still has access.
	Refused []RefusedReport `json:"refused_since,omitempty"`
	// Chain is the tenant's audit trail, without gaps, from the first deactivation of this user to the
	// last record about the user. So it can be checked without the store. It also contains the records
	// about other users in between.
	Chain []audit.Record `json:"chain"`
	// ChainFrom is the first epoch that Chain covers. It is the last epoch if the trail since the first
	// one is too long for a report.
	ChainFrom uint64 `json:"chain_from_epoch"`
	// ChainCut says that Chain is still too long and ends early.
	ChainCut bool `json:"chain_cut,omitempty"`
	// ChainNotes correct records of Chain whose words say more than is known.
	ChainNotes []ChainNote `json:"chain_notes,omitempty"`
	Seal       *Seal       `json:"seal,omitempty"`
	// Holder is the id of another user who has the name now, if Build searched by name. It is not part
	// of the document.
	Holder string `json:"-"`
}

// ChainNote is about the record N of a chain. The record itself is sealed and never changes.
type ChainNote struct {
	N    uint64 `json:"n"`
	Note string `json:"note"`
}

// saysVerified matches the detail of records of older versions, which said "verified" also where only
// the proxy refuses the credentials.
var saysVerified = regexp.MustCompile(`^offboarding epoch [0-9]+: verified(,|$)`)

// NoteOf returns what a reader must know about an audit record beside its words, or "".
func NoteOf(rec *audit.Record) string {
	if saysVerified.MatchString(rec.Detail) {
		return "recorded by an older version: settled, which may mean enforced at the proxy and is no proof"
	}
	return ""
}

// Note returns the note about the record n of the chain, or "".
func (r *Report) Note(n uint64) string {
	for _, c := range r.ChainNotes {
		if c.N == n {
			return c.Note
		}
	}
	return ""
}

// OffboardReport is one epoch, that is, one deactivation or deletion.
type OffboardReport struct {
	Epoch  uint64 `json:"epoch"`
	Event  string `json:"event"`
	Status string `json:"status"`
	Client string `json:"client"` // OAuth client of the request
	// Operator is the user of the operating system who locked the user by hand, Claimed the name that
	// the operator gave, which nobody checked.
	Operator  string     `json:"operator,omitempty"`
	Claimed   string     `json:"claimed,omitempty"`
	Reason    string     `json:"reason,omitempty"` // of the operator
	TokenJTI  string     `json:"token_jti"`
	RequestID string     `json:"request_id"`
	Remote    string     `json:"remote"`
	Decision  string     `json:"decision"`
	Received  time.Time  `json:"received"`
	LockedAt  time.Time  `json:"locked_at"`
	BlockedAt *time.Time `json:"blocked_at"`
	// Confirmation says when every process that decides had the lock in force. Where only one process decides, it is
	// absent: BlockedAt says it.
	Confirmation *ConfirmationReport `json:"confirmation,omitempty"`
	// VerifiedAt is when the last kind was verified. It stays null if a kind is enforced at the proxy
	// only.
	VerifiedAt *time.Time `json:"verified_at"`
	// SettledAt is when the last kind was verified or found to be enforced at the proxy only.
	SettledAt    *time.Time   `json:"settled_at"`
	BlockedAfter float64      `json:"blocked_after_ms,omitempty"`
	SettledAfter float64      `json:"settled_after_ms,omitempty"`
	Breached     bool         `json:"breached"`
	Kinds        []KindReport `json:"kinds"`
	// Deletions are those of the accounts that the policy held for approval. They are not part of Status.
	Deletions []DeletionReport `json:"held_deletions,omitempty"`
	// Refused are the earlier requests for this that were refused, while the user still had access.
	Refused []RefusedReport `json:"refused_before,omitempty"`
}

// ConfirmationReport says when a lock was in force at every process that lets requests pass.
type ConfirmationReport struct {
	// Recorded is false while it is not known whether every process has the lock in force. The others are absent then.
	Recorded bool `json:"recorded"`
	*store.Confirmation
}

// String continues "confirmed".
func (c *ConfirmationReport) String() string {
	if !c.Recorded {
		return "unknown: no record says that every process had the lock in force"
	}
	return c.Confirmation.String()
}

// RefusedReport is a deactivation or deletion that was refused, of one client.
type RefusedReport struct {
	Client    string    `json:"client"`
	Asked     string    `json:"asked"` // "deactivate", "delete", or "unseen": the body could not be read
	Status    int       `json:"status"`
	Reason    string    `json:"reason"`
	RequestID string    `json:"request_id"` // of the last request
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Count     int       `json:"count"`
}

// KindReport shows the revocation of one kind in one app.
type KindReport struct {
	Job           string       `json:"job,omitempty"` // id, for `scimward retry` and `close`
	App           string       `json:"app"`
	Kind          string       `json:"kind"`
	State         string       `json:"state"`
	Verified      bool         `json:"verified"`
	VerifiedBy    string       `json:"verified_by,omitempty"` // ByProbe or ByListing
	VerifiedAt    *time.Time   `json:"verified_at,omitempty"`
	EnforcedUntil *time.Time   `json:"enforced_at_proxy_until,omitempty"`
	Found         int          `json:"found"`
	Revoked       int          `json:"revoked"`
	Attempts      int          `json:"attempts"`
	Code          string       `json:"code,omitempty"`
	Message       string       `json:"message,omitempty"`
	How           []HowReport  `json:"how,omitempty"`
	Probes        []ProbeEntry `json:"probes,omitempty"`
	Plugin        string       `json:"plugin,omitempty"`
	PluginDigest  string       `json:"plugin_digest,omitempty"`
}

// HowReport is one call that revoked a credential.
type HowReport struct {
	ID     string    `json:"id"` // the application's own, or "sha256:" and the start of its hash if it is long
	Action string    `json:"action"`
	Status int       `json:"status"`
	At     time.Time `json:"at"`
}

// ProbeEntry is one verification.
type ProbeEntry struct {
	At     time.Time `json:"at"`
	Result string    `json:"result"`
	Live   int       `json:"live"`
	How    string    `json:"how,omitempty"`
	Method string    `json:"method,omitempty"` // "probed" or "listed"; missing in old reports, which is listed
	With   string    `json:"with,omitempty"`   // kind of the credential that a probe tried
}

// Build reads the report about user, a SCIM id or any other name, from the store. If it does not find
// exactly one user, it returns [ErrNothingKnown], a [NotDeactivatedError] or an [AmbiguousNameError].
func Build(ctx context.Context, s *store.Store, tenant, user string, now time.Time, sign Sign) (*Report, error) {
	rep := &Report{Schema: EvidenceSchema, Tenant: tenant, Generated: now.UTC(), Status: StatusUnknown}
	err := s.View(ctx, tenant, func(r *store.Reader) error {
		ids, err := find(r, user)
		if err != nil {
			return fmt.Errorf("finding the user: %w", err)
		}
		id := ids.user
		rep.User, rep.Holder = id, ids.holder
		offs, err := r.Offboardings(id)
		if err != nil {
			return fmt.Errorf("reading the offboardings of %s: %w", id, err)
		}
		for i := range offs {
			jobs, err := RevocationJobs(r, id, offs[i].Epoch)
			if err != nil {
				return err
			}
			if len(jobs) > 0 {
				rep.UserName = jobs[0].Subject.UserName
			}
			off := offboardReport(&offs[i], jobs)
			if off.Deletions, err = deletionReports(r, id, offs[i].Epoch); err != nil {
				return err
			}
			rep.Offboardings = append(rep.Offboardings, off)
		}
		rep.Status = rep.Offboardings[len(offs)-1].Status
		refused, err := r.Refusals(id)
		if err != nil {
			return fmt.Errorf("reading the refused requests about %s: %w", id, err)
		}
		rep.Refused = refusedReports(refused)
		return rep.addChain(r, offs)
	})
	if err != nil {
		return nil, err
	}
	return rep, seal(rep, sign)
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func milliseconds(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return float64(to.Sub(from).Microseconds()) / 1000
}

func offboardReport(off *store.Offboarding, jobs []store.Job) OffboardReport {
	out := OffboardReport{
		Epoch: off.Epoch, Event: off.Event, Status: Status(off, jobs), Client: off.Cause.ClientID, TokenJTI: off.Cause.JTI,
		RequestID: off.Cause.RequestID, Remote: off.Cause.Remote, Decision: off.Cause.Decision,
		Received: off.Received.UTC(), LockedAt: off.LockedAt.UTC(),
		BlockedAt: when(off.BlockedAt), SettledAt: when(off.SettledAt), Breached: off.Breached,
		BlockedAfter: milliseconds(off.Received, off.BlockedAt), SettledAfter: milliseconds(off.Received, off.SettledAt),
	}
	if name, ok := strings.CutPrefix(off.Cause.Actor, "operator:"); ok {
		out.Operator, out.Claimed, out.Reason = name, off.Cause.Claimed, off.Cause.Reason
	}
	if out.Status == StatusVerified {
		out.VerifiedAt = out.SettledAt
	}
	for i := range jobs {
		out.Kinds = append(out.Kinds, kindReport(&jobs[i]))
	}
	out.Refused = refusedReports(off.Refused)
	if off.Shared {
		out.Confirmation = &ConfirmationReport{off.Confirmed != nil, off.Confirmed}
	}
	return out
}

func refusedReports(all []store.Refusal) (out []RefusedReport) {
	for _, f := range all {
		out = append(out, RefusedReport{
			Client: f.ClientID, Asked: string(f.Asked), Status: f.Status, Reason: f.Reason, RequestID: f.RequestID,
			First: f.First.UTC(), Last: f.Last.UTC(), Count: f.Count,
		})
	}
	return out
}

func kindReport(j *store.Job) KindReport {
	k := KindReport{
		Job: j.ID, App: j.App, Kind: j.Kind, State: string(j.State), Verified: j.Verified, VerifiedAt: when(j.VerifiedAt),
		Found: j.Found, Revoked: j.Revoked, Attempts: j.Attempts, Code: j.Code, Message: j.Message,
		PluginDigest: j.Plugin.Digest,
	}
	if j.Verified {
		k.VerifiedBy = VerifiedBy(j)
	}
	if j.State == store.JobUnsupported {
		k.EnforcedUntil = when(j.EnforcedUntil)
	}
	if j.Plugin.Name != "" {
		k.Plugin = j.Plugin.Name + " " + j.Plugin.Version
	}
	for _, e := range j.Evidence {
		k.How = append(k.How, HowReport{ID: shownID(e.ID), Action: e.Action, Status: e.Status, At: e.At.UTC()})
	}
	for _, p := range j.Probes {
		k.Probes = append(k.Probes, ProbeEntry{
			At: p.At.UTC(), Result: p.Result, Live: p.Live, How: p.How,
			Method: cmp.Or(p.Method, string(abi.MethodListed)), With: p.With,
		})
	}
	return k
}

var uuidShape = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// maxPlainID is the length in bytes up to which an id of the application is shown. A longer one may be
// the credential itself, so its hash is shown. UUIDs are shown.
const maxPlainID = 20

func shownID(id string) string {
	if len(id) <= maxPlainID || uuidShape.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:8])
}

// addChain adds the audit trail up to the last record about the user. It begins with the record that
// first locked the user or, if the trail is too long, with the last epoch.
func (r *Report) addChain(reader *store.Reader, offs []store.Offboarding) error {
	mine, err := reader.AuditOf(r.User)
	if err != nil {
		return fmt.Errorf("reading the audit trail of %s: %w", r.User, err)
	}
	if len(mine) == 0 {
		return nil
	}
	last := mine[len(mine)-1].N
	start := func(off *store.Offboarding) uint64 {
		i := slices.IndexFunc(mine, func(rec audit.Record) bool {
			return !rec.Time.Before(off.LockedAt) && rec.RequestID == off.Cause.RequestID
		})
		return mine[max(i, 0)].N
	}
	first, epoch := start(&offs[0]), offs[0].Epoch
	if last-first >= maxChain {
		first, epoch = start(&offs[len(offs)-1]), offs[len(offs)-1].Epoch
	}
	r.ChainFrom = epoch
	err = reader.Audit(func(rec audit.Record) bool {
		switch {
		case rec.N < first:
			return true
		case rec.N > last:
			return false
		case len(r.Chain) == maxChain:
			r.ChainCut = true
			return false
		}
		r.Chain = append(r.Chain, rec)
		if note := NoteOf(&rec); note != "" {
			r.ChainNotes = append(r.ChainNotes, ChainNote{N: rec.N, Note: note})
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the audit trail: %w", err)
	}
	return nil
}

//go:embed evidence.html
var evidencePage string

// HTML writes the report as a page that can be printed.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("evidence").Funcs(template.FuncMap{
		"at": func(t *time.Time) string {
			if t == nil {
				return "not yet"
			}
			return t.Format("2006-01-02 15:04:05.000 MST")
		},
	}).Parse(evidencePage)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
