package revoke

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
)

// EvidenceSchema names the format of a [Report].
const EvidenceSchema = "scimward.evidence/v1"

// Bounds of an evidence document.
const (
	maxChain       = 20000
	maxReportBytes = 64 << 20
)

// Report proves what became of the credentials of one user: who asked, when the
// user was locked, and for each app and kind what was found, revoked and probed.
// It holds no secret: credentials appear by the application's own identifiers.
type Report struct {
	Schema       string           `json:"schema"`
	Tenant       string           `json:"tenant"`
	User         string           `json:"user"` // SCIM id
	UserName     string           `json:"user_name"`
	Generated    time.Time        `json:"generated"`
	Status       string           `json:"status"` // of the last offboarding, see [Status]
	Offboardings []OffboardReport `json:"offboardings"`
	// Chain is the tenant's audit trail from the first deactivation of this user to
	// the last record about the user, without gaps, so that it can be checked
	// without the store. It holds what else happened in between.
	Chain []audit.Record `json:"chain"`
	// ChainFrom is the first epoch that Chain covers: 1, or the last where the
	// trail since the first is too long for a report.
	ChainFrom uint64 `json:"chain_from_epoch"`
	// ChainCut says that Chain was too long even so and ends early.
	ChainCut bool  `json:"chain_cut,omitempty"`
	Seal     *Seal `json:"seal,omitempty"`
	// Holder is the id of who has the name now, where the report was asked for by
	// name and that is another. It is no part of the document.
	Holder string `json:"-"`
}

// OffboardReport is one epoch: one deactivation or deletion.
type OffboardReport struct {
	Epoch     uint64     `json:"epoch"`
	Event     string     `json:"event"`
	Status    string     `json:"status"`
	Client    string     `json:"client"` // OAuth client that asked
	TokenJTI  string     `json:"token_jti"`
	RequestID string     `json:"request_id"`
	Remote    string     `json:"remote"`
	Decision  string     `json:"decision"`
	Received  time.Time  `json:"received"`
	LockedAt  time.Time  `json:"locked_at"`
	BlockedAt *time.Time `json:"blocked_at"`
	// VerifiedAt is when the last kind was probed dead; null while one is not, and
	// for ever where one is enforced at the proxy only.
	VerifiedAt *time.Time `json:"verified_at"`
	// SettledAt is when nothing was left to do: verified, or enforced at the proxy.
	SettledAt    *time.Time   `json:"settled_at"`
	BlockedAfter float64      `json:"blocked_after_ms,omitempty"`
	SettledAfter float64      `json:"settled_after_ms,omitempty"`
	Breached     bool         `json:"breached"`
	Kinds        []KindReport `json:"kinds"`
}

// KindReport is what became of one kind in one app.
type KindReport struct {
	App           string       `json:"app"`
	Kind          string       `json:"kind"`
	State         string       `json:"state"`
	Verified      bool         `json:"verified"`
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

// HowReport is one call that revoked something.
type HowReport struct {
	ID     string    `json:"id"`
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
}

// Seal binds the report to its tenant: a signature over Digest and the chain's head.
type Seal struct {
	Digest string `json:"digest"` // sha256:<hex> of the report without its seal
	Head   string `json:"head"`   // hash of the last record of the chain
	JWS    string `json:"jws"`    // signed by the tenant's own key; its claims repeat digest and head
}

// The statuses of an offboarding, from best to worst. "unknown" is what no rule
// below it explains; it is never shown as done.
const (
	StatusVerified = "verified"          // every kind probed dead
	StatusEnforced = "enforced_at_proxy" // nothing is left to do, but some kind the application cannot revoke is refused at the proxy only
	StatusRunning  = "revoking"
	StatusFailed   = "failed"
	StatusUnknown  = "unknown"
)

// Status is the worst of the jobs of the deactivation o.
func Status(o *store.Offboarding, jobs []store.Job) string {
	order := []string{StatusVerified, StatusEnforced, StatusRunning, StatusFailed, StatusUnknown}
	worst, n := 0, 0
	for i := range jobs {
		if jobs[i].Event == abi.EventReactivated {
			continue
		}
		n++
		worst = max(worst, slices.Index(order, kindStatus(&jobs[i])))
	}
	switch {
	case n != o.Jobs:
		return StatusUnknown // a job is missing: nobody can say
	case n == 0:
		return StatusEnforced // no application to revoke anything in
	}
	return order[worst]
}

func kindStatus(j *store.Job) string {
	switch j.State {
	case store.JobRevoked, store.JobNothingToRevoke:
		if j.Verified {
			return StatusVerified
		}
		return StatusRunning
	case store.JobUnsupported:
		return StatusEnforced
	case store.JobPending, store.JobRunning, store.JobRetrying:
		return StatusRunning
	case store.JobFailed:
		return StatusFailed
	case store.JobUnknown:
	}
	return StatusUnknown
}

// Sign makes the compact JWS of a seal with the tenant's own key.
type Sign func(tenant string, claims map[string]any) (string, error)

// Build reads the report of user, who is named by SCIM id or userName, from the
// store. With a nil sign the report carries no seal. Where no report can be chosen
// the error is [ErrNothingKnown], a [NeverLeftError] or a [SeveralError].
func Build(ctx context.Context, s *store.Store, tenant, user string, now time.Time, sign Sign) (*Report, error) {
	rep := &Report{Schema: EvidenceSchema, Tenant: tenant, Generated: now.UTC(), Status: StatusUnknown}
	err := s.View(ctx, tenant, func(r *store.Reader) error {
		id, holder, err := resolve(r, user)
		if err != nil {
			return err
		}
		rep.User, rep.Holder = id, holder
		offs, err := r.Offboardings(id)
		if err != nil {
			return fmt.Errorf("reading the offboardings of %s: %w", id, err)
		}
		if len(offs) == 0 {
			return ErrNothingKnown
		}
		for i := range offs {
			jobs, err := r.JobsOf(id, offs[i].Epoch)
			if err != nil {
				return fmt.Errorf("reading the jobs of %s: %w", id, err)
			}
			for k := range jobs {
				rep.UserName = jobs[k].Subject.UserName
			}
			rep.Offboardings = append(rep.Offboardings, offboardReport(&offs[i], jobs))
		}
		rep.Status = rep.Offboardings[len(offs)-1].Status
		return rep.addChain(r, offs)
	})
	if err != nil {
		return nil, err
	}
	if sign == nil {
		return rep, nil
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

func offboardReport(o *store.Offboarding, jobs []store.Job) OffboardReport {
	out := OffboardReport{
		Epoch: o.Epoch, Event: o.Event, Status: Status(o, jobs), Client: o.Cause.ClientID, TokenJTI: o.Cause.JTI, RequestID: o.Cause.RequestID,
		Remote: o.Cause.Remote, Decision: o.Cause.Decision, Received: o.Received.UTC(), LockedAt: o.LockedAt.UTC(),
		BlockedAt: when(o.BlockedAt), SettledAt: when(o.VerifiedAt), Breached: o.Breached,
		BlockedAfter: milliseconds(o.Received, o.BlockedAt), SettledAfter: milliseconds(o.Received, o.VerifiedAt),
	}
	if out.Status == StatusVerified {
		out.VerifiedAt = out.SettledAt
	}
	slices.SortStableFunc(jobs, func(a, b store.Job) int {
		if a.App != b.App {
			return strings.Compare(a.App, b.App)
		}
		return position(a.Kind) - position(b.Kind)
	})
	for i := range jobs {
		if jobs[i].Event != abi.EventReactivated {
			out.Kinds = append(out.Kinds, kindReport(&jobs[i]))
		}
	}
	return out
}

func kindReport(j *store.Job) KindReport {
	k := KindReport{
		App: j.App, Kind: j.Kind, State: string(j.State), Verified: j.Verified, VerifiedAt: when(j.VerifiedAt),
		Found: j.Found, Revoked: j.Revoked, Attempts: j.Attempts, Code: j.Code, Message: j.Message, PluginDigest: j.Plugin.Digest,
	}
	if j.State == store.JobUnsupported {
		k.EnforcedUntil = when(j.EnforcedUntil)
	}
	if j.Plugin.Name != "" {
		k.Plugin = j.Plugin.Name + " " + j.Plugin.Version
	}
	for _, e := range j.Evidence {
		k.How = append(k.How, HowReport{ID: e.ID, Action: e.Action, Status: e.Status, At: e.At.UTC()})
	}
	for _, p := range j.Probes {
		k.Probes = append(k.Probes, ProbeEntry{At: p.At.UTC(), Result: p.Result, Live: p.Live, How: p.How})
	}
	return k
}

// addChain adds the audit trail from the record that locked the user first, or,
// where that is too long, from the one of the last epoch, to the last record about
// the user.
func (r *Report) addChain(reader *store.Reader, offs []store.Offboarding) error {
	mine, err := reader.AuditOf(r.User)
	if err != nil {
		return fmt.Errorf("reading the audit trail of %s: %w", r.User, err)
	}
	if len(mine) == 0 {
		return nil
	}
	last := mine[len(mine)-1].N
	start := func(o *store.Offboarding) uint64 {
		i := slices.IndexFunc(mine, func(rec audit.Record) bool {
			return !rec.Time.Before(o.LockedAt) && rec.RequestID == o.Cause.RequestID
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
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the audit trail: %w", err)
	}
	return nil
}

// digest is the sha256 of the report without its seal.
func digest(r *Report) (string, error) {
	bare := *r
	bare.Seal = nil
	b, err := json.Marshal(&bare)
	if err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func seal(r *Report, sign Sign) error {
	d, err := digest(r)
	if err != nil {
		return err
	}
	s := &Seal{Digest: d}
	if n := len(r.Chain); n > 0 {
		s.Head = r.Chain[n-1].Hash.String()
	}
	s.JWS, err = sign(r.Tenant, map[string]any{"digest": s.Digest, "head": s.Head, "sub": r.User, "iat": r.Generated.Unix()})
	if err != nil {
		return fmt.Errorf("sealing the report: %w", err)
	}
	r.Seal = s
	return nil
}

// Read reads a report and checks, without any store, that its audit chain has no
// gap and no changed record and that its seal is over exactly this text. The
// caller checks the signature of Seal.JWS, whose claims must repeat Digest and
// Head.
func Read(in io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxReportBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if len(b) > maxReportBytes {
		return nil, errors.New("the report is larger than 64 MiB")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var r Report
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file holds more than one report")
	}
	if err := exact(b, &r); err != nil {
		return nil, err
	}
	if r.Schema != EvidenceSchema {
		return nil, fmt.Errorf("schema %q is not %s", r.Schema, EvidenceSchema)
	}
	if len(r.Chain) == 0 || r.Seal == nil {
		return nil, errors.New("the report has no audit chain or no seal: it proves nothing")
	}
	first := r.Chain[0]
	c := audit.Chain{Tenant: r.Tenant, N: first.N - 1, Head: first.Prev}
	for i := range r.Chain {
		if err := c.Next(&r.Chain[i]); err != nil {
			return nil, fmt.Errorf("checking the audit chain: %w", err)
		}
	}
	d, err := digest(&r)
	if err != nil {
		return nil, err
	}
	if d != r.Seal.Digest {
		return nil, errors.New("the report was changed after it was sealed")
	}
	if c.Head.String() != r.Seal.Head {
		return nil, errors.New("the seal belongs to another audit chain")
	}
	return &r, nil
}

// exact checks that b says exactly what was read from it: no key twice or in
// another case, no number or time spelled differently. White space may differ.
func exact(b []byte, r *Report) error {
	want, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	var got bytes.Buffer
	if err := json.Compact(&got, b); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return errors.New("the report was changed: it is not written as scimward writes it")
	}
	return nil
}
