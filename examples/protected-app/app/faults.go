package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Rows of the fault table besides the credential kinds.
const (
	AnyKind     Kind = "*"       // every row that has no row of its own
	KindAccount Kind = "account" // the account routes: find, disable, enable
	FaultWhoami Kind = "whoami"  // /admin/whoami
)

// Fault is a fault of the admin routes of one kind. The zero value is no fault. PUT /admin/faults
// takes an object of kind -> Fault.
type Fault struct {
	SlowMS      int  `json:"slow_ms,omitempty"`       // answer that much later, at most 60000
	Status      int  `json:"status,omitempty"`        // answer this status, 400–599, and change nothing
	RetryAfterS int  `json:"retry_after_s,omitempty"` // Retry-After beside Status, at most 3600
	Times       int  `json:"times,omitempty"`         // number of requests that get Status; 0 = until changed
	CacheS      int  `json:"cache_s,omitempty"`       // accept a deleted credential that long, at most 3600
	Unsupported bool `json:"unsupported,omitempty"`   // the kind cannot be listed or revoked: 501
}

// Counters counts events since the start of the application.
type Counters struct {
	Logins     int                  `json:"logins"`
	Issued     map[Kind]int         `json:"minted"`
	Deleted    map[Kind]int         `json:"deleted"`
	Served     map[Kind]int         `json:"served"`      // requests of signed-in users, by credential kind
	ServedUser map[string]int       `json:"served_user"` // the same by folded user name
	LastServed map[string]time.Time `json:"last_served"` // when last, by folded user name
}

func newCounters() Counters {
	return Counters{
		Issued:     map[Kind]int{},
		Deleted:    map[Kind]int{},
		Served:     map[Kind]int{},
		ServedUser: map[string]int{},
		LastServed: map[string]time.Time{},
	}
}

// encode encodes a part of the state under the lock.
func (s *state) encode(part any) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := json.Marshal(part) // the state has only types that can be encoded
	return b
}

func (s *state) served(userName string, k Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Served[k]++
	s.count.ServedUser[fold(userName)]++
	s.count.LastServed[fold(userName)] = s.now()
}

func (s *state) loggedIn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Logins++
}

func (s *state) setFaults(table map[Kind]*Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = map[Kind]*Fault{}
	maps.Copy(s.faults, table)
}

// takeFault returns the fault for one request and uses up one of its Times.
func (s *state) takeFault(k Kind) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[k]
	if f == nil {
		f = s.faults[AnyKind]
	}
	if f == nil {
		return Fault{}
	}
	now := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			f.Status = 0
		}
	}
	return now
}

// fault applies the fault of a kind. It waits, and returns an error if the request must fail.
func (a *App) fault(w http.ResponseWriter, r *http.Request, k Kind) error {
	f := a.state.takeFault(k)
	if f.SlowMS > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), time.Duration(f.SlowMS)*time.Millisecond)
		defer cancel()
		select {
		case <-ctx.Done():
		case <-a.ending:
		}
	}
	switch {
	case r.Context().Err() != nil:
		return r.Context().Err() // the client has disconnected
	case f.Unsupported:
		return statusError{http.StatusNotImplemented, "this kind cannot be revoked"}
	case f.Status == 0:
		return nil
	case f.RetryAfterS > 0:
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfterS))
	}
	return statusError{f.Status, "switched on fault"}
}

func (a *App) putFaults(w http.ResponseWriter, r *http.Request) error {
	var table map[Kind]*Fault
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&table); err != nil {
		return statusError{http.StatusBadRequest, "want an object of kind to fault"}
	}
	for k, f := range table {
		_, known := Collections()[k]
		known = known || k == AnyKind || k == KindAccount || k == FaultWhoami
		if !known || f == nil || !f.valid() {
			return statusError{http.StatusBadRequest, fmt.Sprintf("fault of %q is not valid", k)}
		}
	}
	a.state.setFaults(table)
	return reply(w, http.StatusOK, a.state.encode(&a.state.faults))
}

func (f *Fault) valid() bool {
	within := func(n, most int) bool { return n >= 0 && n <= most }
	return (f.Status == 0 || (f.Status >= 400 && f.Status <= 599)) &&
		within(f.SlowMS, 60_000) &&
		within(f.RetryAfterS, 3600) &&
		within(f.Times, 1_000_000) &&
		within(f.CacheS, 3600)
}
