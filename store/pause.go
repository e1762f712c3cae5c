package store

import (
	"errors"
	"strings"
	"time"
)

// ErrPaused refuses what a client asks SCIM to change while the tenant is paused.
var ErrPaused = errors.New("store: SCIM of the tenant is paused")

// Pause is the state of a paused tenant.
type Pause struct {
	Since time.Time
	Cause Cause
}

// Paused returns since when and why SCIM of the tenant is paused, nil while it is not.
func (r *Reader) Paused() (*Pause, error) {
	var p Pause
	_, err := r.row(key(kindPause, r.tenant), &p)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &p, err
}

// SetPaused pauses or resumes SCIM of the tenant. It returns ErrNothingToDo when the tenant is in this
// state already.
func (t *Tx) SetPaused(paused bool) error {
	p, err := t.Paused()
	if err != nil {
		return err
	}
	if (p != nil) == paused {
		return ErrNothingToDo
	}
	k, detail := key(kindPause, t.tenant), "resumed"
	if paused {
		p, detail = &Pause{Since: t.now, Cause: t.cause}, "paused"
		t.putRow(k, p)
	} else {
		p = nil
		t.w.Delete(k)
	}
	t.feed(Change{Type: ChangePause, Pause: p})
	t.note("", detail)
	return nil
}

// checkPause refuses a change that a client asks for while the tenant is paused. Every such change reads the row,
// so none commits after the command that paused the tenant. Refusals are recorded, and the token endpoint goes on.
func (t *Tx) checkPause() error {
	if t.cause.ClientID == "" || t.refused || strings.HasPrefix(t.cause.Action, "oauth.") {
		return nil
	}
	p, err := t.Paused()
	if err == nil && p != nil {
		err = ErrPaused
	}
	return err
}
