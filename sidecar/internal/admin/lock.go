package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// maxName bounds the name of a person in a request, in bytes.
const maxName = 1 << 10

// maxTTL bounds the time of an operator's lock.
const maxTTL = 10 * 365 * 24 * time.Hour

// lockRequest asks for a lock.
type lockRequest struct {
	User   string  `json:"user"`        // SCIM id, userName, externalId or e-mail address; need not be in the directory
	Reason string  `json:"reason"`      // required
	TTL    float64 `json:"ttl_seconds"` // 0: until unlock
	Revoke bool    `json:"revoke"`      // also revoke what the applications issued; only for a user of the directory
}

// unlockRequest asks to lift the operators' locks of a person.
type unlockRequest struct {
	User   string `json:"user"` // a name of the person, or the id of a lock
	Reason string `json:"reason"`
}

// LockStatus is an operator's lock.
type LockStatus struct {
	Tenant   string     `json:"tenant"`
	ID       string     `json:"id"`
	Name     string     `json:"name"`           // that the operator gave, or the userName
	User     string     `json:"user,omitempty"` // SCIM id; absent while nobody in the directory has the name
	From     string     `json:"from,omitempty"` // the lock whose name this user got
	Since    time.Time  `json:"since"`
	Until    *time.Time `json:"until,omitempty"` // absent: until it is lifted
	Operator string     `json:"operator"`        // user of the operating system
	Claimed  string     `json:"claimed,omitempty"`
	Reason   string     `json:"reason"`
	Revoke   bool       `json:"revoke"`
	Hits     int        `json:"hits"` // requests that it refused since the process started
	LastHit  *time.Time `json:"last_hit,omitempty"`
}

// Locked is the answer to a lock.
type Locked struct {
	LockStatus
	Streams int `json:"streams_cut"`
	Jobs    int `json:"jobs"` // revocations that were started
}

// Unlocked is the answer to an unlock.
type Unlocked struct {
	Lifted []LockStatus `json:"lifted"`
	// StillLocked says that the identity service deactivated or deleted the person, so that the
	// requests stay refused.
	StillLocked bool `json:"still_locked"`
	// OldRefused says that credentials from before a revocation stay refused, and those of unknown age.
	OldRefused bool `json:"old_credentials_refused"`
}

func lockStatus(l *store.OperatorLock) LockStatus {
	s := LockStatus{
		Tenant: l.Tenant, ID: l.ID, Name: l.Name(), User: l.User, From: l.From, Since: l.Since.UTC(),
		Operator: strings.TrimPrefix(l.Cause.Actor, "operator:"), Claimed: l.Cause.Claimed, Reason: l.Cause.Reason,
		Revoke: l.Revoke,
	}
	for _, n := range l.Names {
		if n.Kind == subject.UserName {
			s.Name = n.Value
			break
		}
	}
	if !l.Until.IsZero() {
		until := l.Until.UTC()
		s.Until = &until
	}
	return s
}

// operatorLocks returns the locks in force of all tenants with their uses, and how many more there
// are.
func (h *Handler) operatorLocks(uses []LockUse) (locks []LockStatus, more int) {
	locks = []LockStatus{}
	used := map[string]*LockUse{}
	for i := range uses {
		used[uses[i].Lock] = &uses[i]
	}
	now := h.opts.Now()
	for _, tenant := range h.opts.Tenants() {
		for _, l := range h.opts.Store.Locks().Operator(tenant) {
			switch {
			case !l.InForce(now):
			case len(locks) == maxLeavers:
				more++
			default:
				s := lockStatus(&l)
				if u := used[l.ID]; u != nil {
					s.Hits, s.LastHit = u.Hits, &u.Last
				}
				locks = append(locks, s)
			}
		}
	}
	return locks, more
}

func checkName(name string) error {
	if name == "" || !printable(name, maxName) {
		return refuse(http.StatusBadRequest, "user must be a SCIM id or a name, one line of at most %d bytes", maxName)
	}
	return nil
}

// lock locks a person. When it returns, every check refuses the person and the open streams have
// ended.
func (h *Handler) lock(ctx context.Context, a *act, in lockRequest) (any, error) {
	if err := errors.Join(a.because(in.Reason), checkName(in.User)); err != nil {
		return nil, err
	}
	ttl := time.Duration(in.TTL * float64(time.Second))
	if in.TTL < 0 || in.TTL > maxTTL.Seconds() || in.TTL > 0 && ttl < time.Second {
		return nil, refuse(http.StatusBadRequest, "ttl must be one second to ten years, or absent")
	}
	var until time.Time
	if ttl > 0 {
		until = a.Received.Add(ttl).UTC()
	}
	l, err := h.opts.Store.LockByOperator(ctx, a.Tenant, a.cause("operator.lock"), in.User, until, in.Revoke)
	if err != nil {
		return nil, lockError(err, in.User)
	}
	locked := store.Locked{Resource: l.Resource(in.User)}
	if in.Revoke {
		if own, err := h.lockOf(ctx, a.Tenant, l.User); err == nil { // else only the audit trail has the confirmation
			locked.Epoch = own.Epoch
		}
	}
	a.Locked = append(a.Locked, locked)
	out := Locked{LockStatus: lockStatus(&l), Streams: h.opts.Cut(ctx, a.Tenant)}
	if in.Revoke {
		if out.Jobs, err = h.openJobs(ctx, a, l.User); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// severalError says that a name is of several users.
func severalError(several *store.AmbiguousNameError, name string) error {
	return refuse(http.StatusConflict, "several users have the name %q: name one by SCIM id: %s",
		name, strings.Join(several.IDs[:min(len(several.IDs), 10)], ", "))
}

// lockError says what the operator can do about a lock that failed.
func lockError(err error, name string) error {
	var several *store.AmbiguousNameError
	var names *store.ManyNamesError
	switch {
	case errors.As(err, &several):
		return severalError(several, name)
	case errors.Is(err, store.ErrNobody):
		return refuse(http.StatusNotFound, "no user of the directory has the name %q, so there is nothing to revoke: "+
			"lock without --revoke", name)
	case errors.As(err, &names):
		return refuse(http.StatusConflict, "operators gave %[1]s as many names as scimward keeps for one lock, and it "+
			"stays as it was: to change it, give %[1]s instead of a name", names.Lock)
	case errors.Is(err, store.ErrManyLocks):
		return refuse(http.StatusConflict, "the tenant has as many operators' locks as scimward keeps: lift one first")
	}
	return fmt.Errorf("locking: %w", err)
}

// openJobs counts the revocations under way in the last epoch of a user.
func (h *Handler) openJobs(ctx context.Context, a *act, user string) (n int, err error) {
	err = h.opts.Store.View(ctx, a.Tenant, func(r *store.Reader) error {
		offs, err := r.Offboardings(user)
		if err != nil || len(offs) == 0 {
			return err
		}
		jobs, err := revoke.RevocationJobs(r, user, offs[len(offs)-1].Epoch)
		for i := range jobs {
			if revoke.KindStatus(&jobs[i]) == revoke.StatusRunning {
				n++
			}
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("counting the jobs: %w", err)
	}
	return n, nil
}

// unlock lifts the operators' locks of a person.
func (h *Handler) unlock(ctx context.Context, a *act, in unlockRequest) (any, error) {
	if err := errors.Join(a.because(in.Reason), checkName(in.User)); err != nil {
		return nil, err
	}
	var lifted []store.OperatorLock
	_, err := h.opts.Store.Update(ctx, a.Tenant, a.cause("operator.unlock"), func(tx *store.Tx) (err error) {
		lifted, err = tx.UnlockByOperator(in.User)
		return err
	})
	var several *store.AmbiguousNameError
	if errors.As(err, &several) {
		return nil, severalError(several, in.User)
	}
	var locks *store.SeveralLocksError
	if errors.As(err, &locks) {
		return nil, refuse(http.StatusConflict, "nobody has the name %q now, and %d people who are locked had it: "+
			"unlock one of these: %s", in.User, len(locks.Locks), strings.Join(locks.Locks[:min(len(locks.Locks), 10)], ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("unlocking: %w", err)
	}
	if len(lifted) == 0 {
		return nil, refuse(http.StatusNotFound, "no operator's lock holds %q. What the identity service deactivated, "+
			"only it can reactivate; `scimward status` lists the operators' locks", in.User)
	}
	out := Unlocked{Lifted: []LockStatus{}}
	for i := range lifted {
		out.Lifted = append(out.Lifted, lockStatus(&lifted[i]))
		for _, n := range lifted[i].Names {
			who := subject.Named(n.Kind, n.Value)
			l, ok := h.opts.Store.Locks().Lookup(a.Tenant, &who)
			out.StillLocked = out.StillLocked || ok && l.State != store.LockLifted
			out.OldRefused = out.OldRefused || ok && l.State == store.LockLifted
		}
	}
	return out, nil
}
