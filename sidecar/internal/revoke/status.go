package revoke

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/store"
)

// The statuses of a kind or an offboarding, from best to worst. Verified and enforced are done. An
// unknown status is never shown as done.
const (
	StatusVerified = "verified"           // a probe found no credential that works
	StatusEnforced = "enforced_at_proxy"  // the application cannot revoke the kind, only the proxy blocks it
	StatusClosed   = "closed_by_operator" // an operator closed it without proof
	StatusHeld     = "held_for_approval"  // a deletion of the account that an operator must approve
	StatusRunning  = "revoking"
	StatusFailed   = "failed"
	StatusUnknown  = "unknown"
)

// RevocationJobs returns the jobs of one offboarding without those after the revocation, a reactivation and held
// deletions, sorted by app and in the order of kinds.
func RevocationJobs(r *store.Reader, user string, epoch uint64) ([]store.Job, error) {
	jobs, err := r.JobsOf(user, epoch)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs of %s: %w", user, err)
	}
	jobs = slices.DeleteFunc(jobs, func(j store.Job) bool { return j.AfterRevocation() })
	slices.SortStableFunc(jobs, func(a, b store.Job) int {
		return cmp.Or(strings.Compare(a.App, b.App), kindOrder(a.Kind)-kindOrder(b.Kind))
	})
	return jobs, nil
}

// Status returns the worst status among jobs, the RevocationJobs of off. It is unknown while a job is
// missing. An offboarding without any app is enforced at the proxy.
func Status(off *store.Offboarding, jobs []store.Job) string {
	order := []string{StatusVerified, StatusEnforced, StatusClosed, StatusHeld, StatusRunning, StatusFailed, StatusUnknown}
	if len(jobs) != off.Jobs {
		return StatusUnknown
	}
	if len(jobs) == 0 {
		return StatusEnforced
	}
	worst := 0
	for i := range jobs {
		worst = max(worst, slices.Index(order, KindStatus(&jobs[i])))
	}
	return order[worst]
}

// How a kind was verified.
const (
	ByProbe   = "probe"   // the application judged a credential
	ByListing = "listing" // the application listed no credential
)

// VerifiedBy returns how a verified job was verified. The account is a switch, which a list shows.
func VerifiedBy(j *store.Job) string {
	if n := len(j.Probes); n > 0 && j.Probes[n-1].Probed() {
		return ByProbe
	}
	return ByListing
}

// KindStatus returns the status of one job.
func KindStatus(j *store.Job) string {
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
	case store.JobClosed:
		return StatusClosed
	case store.JobHeld:
		return StatusHeld
	case store.JobUnknown:
	}
	return StatusUnknown
}
