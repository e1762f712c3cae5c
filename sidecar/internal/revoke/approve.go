package revoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/store"
)

// Codes of a held deletion that does not run: an operator rejected it, or another user has the userName.
const (
	codeNotApproved = "not_approved"
	codeNameTaken   = "name_taken"
)

// approved: an operator lets a held deletion run.
type approved struct{ cause store.Cause }

func (ev approved) apply(t *task, in env) effects {
	t.State = store.JobPending
	t.decide(&ev.cause, true, in)
	return t.release(in.now)
}

// rejected: an operator ends a held deletion, for ever.
type rejected struct{ cause store.Cause }

func (ev rejected) apply(t *task, in env) effects {
	t.State, t.Code, t.Done = store.JobClosed, codeNotApproved, in.now
	t.Message = "deletion not approved by an operator; account stays disabled: " + ev.cause.Reason
	t.decide(&ev.cause, false, in)
	return t.release(time.Time{})
}

// nameTaken: an approved deletion is due, and another user has got the userName meanwhile. The application knows both
// by it.
type nameTaken struct{ holder string }

func (ev nameTaken) apply(t *task, in env) effects {
	t.State, t.Code, t.Done = store.JobClosed, codeNameTaken, in.now
	t.Message = "the deletion does not run: user " + ev.holder + " has the userName now"
	return t.release(time.Time{})
}

func (t *task) decide(c *store.Cause, approve bool, in env) {
	h := *t.Hold
	h.Decided, h.Approved, h.By, h.Claimed, h.Reason = in.now, approve, c.Actor, c.Claimed, c.Reason
	t.Hold = &h
}

// NotDecidableError says why an operator cannot decide about a deletion.
type NotDecidableError struct{ Why string }

func (e *NotDecidableError) Error() string { return "revoke: nothing to decide: " + e.Why }

// Decide approves or rejects held deletions: the one with an id, or all of a user by SCIM id or any other name. It
// returns the jobs it changed, a [NotDecidableError], [store.ErrNotFound], or the errors of [Build] for an unknown
// user. It changes all of them or none.
func (e *Engine) Decide(
	ctx context.Context, tenant string, cause store.Cause, who string, approve bool,
) ([]JobRef, error) {
	var out []JobRef
	_, err := e.opts.Store.Update(ctx, tenant, cause, func(tx *store.Tx) error {
		out = nil
		held, err := heldOf(tx.Reader, who)
		if err != nil {
			return err
		}
		in := e.env()
		for i := range held {
			j, err := tx.Job(held[i].ID) // a precondition
			if err != nil {
				return err
			}
			var ev event = rejected{cause}
			if approve {
				if err := nameFree(tx, &j); err != nil {
					return err
				}
				ev = approved{cause}
			}
			t, _ := next(task{Job: j}, ev, in)
			out = append(out, refOf(&t.Job))
			if err := tx.SaveJob(&t.Job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("deciding about a deletion: %w", err)
	}
	return out, nil
}

// heldOf returns the held deletions that an operator means.
func heldOf(r *store.Reader, who string) ([]store.Job, error) {
	j, err := r.Job(who)
	jobs := []store.Job{j}
	if errors.Is(err, store.ErrNotFound) {
		ids, err := find(r, who)
		if err != nil {
			return nil, err
		}
		if jobs, err = r.AllJobsOf(ids.user); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	why := "no deletion of this user is held"
	held := slices.DeleteFunc(jobs, func(j store.Job) bool {
		switch {
		case j.State == store.JobHeld:
			return false
		case j.Hold != nil && j.State == store.JobClosed:
			why = "the deletion is closed: " + j.Message
		case j.Hold != nil:
			why = "the deletion is approved already, its state is " + string(j.State)
		}
		return true
	})
	if len(held) == 0 {
		return nil, &NotDecidableError{why}
	}
	return held, nil
}

// nameFree refuses a deletion while another user has the userName: the application knows both by it.
func nameFree(tx *store.Tx, j *store.Job) error {
	holder, err := holderOf(tx, j)
	if err != nil || holder == "" {
		return err
	}
	return &NotDecidableError{"user " + holder + " has the userName now, and the application knows both by it: " +
		"reject the deletion"}
}

// holderOf returns the other user who has the userName of a deleted one, "" if nobody has it.
func holderOf(tx *store.Tx, j *store.Job) (string, error) {
	holders, err := tx.UserIDs("userName", j.Subject.UserName)
	if err != nil {
		return "", fmt.Errorf("reading who has the name of %s: %w", j.UserID, err)
	}
	for _, id := range holders {
		if id != j.UserID {
			return id, nil
		}
	}
	return "", nil
}

// Approval is the deletion of an account that the policy holds, or that is approved and not done.
type Approval struct {
	Tenant   string     `json:"tenant"`
	Job      string     `json:"job"`
	User     string     `json:"user"` // SCIM id of the deleted user
	UserName string     `json:"user_name"`
	App      string     `json:"app"`
	Epoch    uint64     `json:"epoch"`
	State    string     `json:"state"` // "held", or the state of the approved job
	Rule     string     `json:"rule"`
	Why      string     `json:"message"` // of the rule
	Since    time.Time  `json:"since"`
	Decided  *time.Time `json:"decided,omitempty"`
	By       string     `json:"by,omitempty"`
	Reason   string     `json:"reason,omitempty"` // of the operator
	Code     string     `json:"code,omitempty"`   // of an approved job that is not done
	Message  string     `json:"job_message,omitempty"`
}

// maxApprovals bounds a list of held deletions.
const maxApprovals = 1000

// Approvals lists the held deletions of a tenant that are neither done nor closed, the oldest first. complete is false
// if there are more than it reads.
func Approvals(r *store.Reader, tenant string) (out []Approval, complete bool, err error) {
	out = []Approval{}
	complete, err = r.Holds(maxApprovals, func(j *store.Job) (bool, error) {
		out = append(out, Approval{
			Tenant: tenant, Job: j.ID, User: j.UserID, UserName: j.Subject.UserName, App: j.App, Epoch: j.Epoch,
			State: string(j.State), Rule: j.Hold.Rule, Why: j.Hold.Message, Since: j.Hold.Since.UTC(),
			Decided: when(j.Hold.Decided), By: j.Hold.By, Reason: j.Hold.Reason, Code: j.Code, Message: j.Message,
		})
		return true, nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading the held deletions: %w", err)
	}
	slices.SortStableFunc(out, func(a, b Approval) int { return a.Since.Compare(b.Since) })
	return out, complete, nil
}

// DeletionReport is the deletion of an account that the policy held.
type DeletionReport struct {
	KindReport
	Status  string     `json:"status"` // of the deletion: held, closed, or as of any kind
	Rule    string     `json:"rule"`
	Why     string     `json:"hold_message"`
	Since   time.Time  `json:"held_since"`
	Decided *time.Time `json:"decided,omitempty"`
	// Approved is the decision. By is who decided, Claimed the name that the operator gave, which nobody checked.
	Approved bool   `json:"approved"`
	By       string `json:"decided_by,omitempty"`
	Claimed  string `json:"claimed,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// deletionReports lists the held deletions of one epoch.
func deletionReports(r *store.Reader, user string, epoch uint64) (out []DeletionReport, err error) {
	jobs, err := r.JobsOf(user, epoch)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs of %s: %w", user, err)
	}
	for i := range jobs {
		j := &jobs[i]
		if h := j.Hold; h != nil {
			out = append(out, DeletionReport{
				KindReport: kindReport(j), Status: KindStatus(j), Rule: h.Rule, Why: h.Message, Since: h.Since.UTC(),
				Decided: when(h.Decided), Approved: h.Approved, By: h.By, Claimed: h.Claimed, Reason: h.Reason,
			})
		}
	}
	slices.SortStableFunc(out, func(a, b DeletionReport) int { return strings.Compare(a.App, b.App) })
	return out, nil
}
