package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Rows of the fault table beside the credential kinds.
const (
	AnyKind     = "*"             // every row that has no row of its own
	KindAccount = Kind("account") // the account routes: find, disable, enable
	FaultWhoami = Kind("whoami")  // /admin/whoami
)

// Fault is what goes wrong with the admin routes of one kind. The zero value
// is no fault. PUT /admin/faults takes an object of kind -> Fault.
type Fault struct {
	SlowMS      int  `json:"slow_ms,omitempty"`       // answer that much later, at most 60000
	Status      int  `json:"status,omitempty"`        // answer this status, 400–599, instead of doing it
	RetryAfterS int  `json:"retry_after_s,omitempty"` // Retry-After beside Status
	Times       int  `json:"times,omitempty"`         // Status only for so many requests; 0 = until changed
	CacheS      int  `json:"cache_s,omitempty"`       // the application honours a deleted credential that long, at most 3600
	Unsupported bool `json:"unsupported,omitempty"`   // the kind cannot be listed or revoked: 501
}

// Counters is what the application counts since it started.
type Counters struct {
	Logins     int                  `json:"logins"`
	Minted     map[Kind]int         `json:"minted"`
	Deleted    map[Kind]int         `json:"deleted"`
	Served     map[Kind]int         `json:"served"`      // requests answered for a signed-in user, by credential kind
	ServedUser map[string]int       `json:"served_user"` // the same by folded user name
	LastServed map[string]time.Time `json:"last_served"` // when last, by folded user name
}

func newCounters() Counters {
	return Counters{Minted: map[Kind]int{}, Deleted: map[Kind]int{}, Served: map[Kind]int{}, ServedUser: map[string]int{}, LastServed: map[string]time.Time{}}
}

func (s *state) counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.count
	c.Minted, c.Deleted, c.Served = maps.Clone(c.Minted), maps.Clone(c.Deleted), maps.Clone(c.Served)
	c.ServedUser, c.LastServed = maps.Clone(c.ServedUser), maps.Clone(c.LastServed)
	return c
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

func (s *state) setFaults(table map[string]*Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = map[string]*Fault{}
	maps.Copy(s.faults, table)
}

func (s *state) faultTable() map[string]Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]Fault{}
	for k, f := range s.faults {
		out[k] = *f
	}
	return out
}

// takeFault is the fault for one request; it uses up one of Times.
func (s *state) takeFault(k Kind) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.faults[string(k)]
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

// faulty plays the fault of a kind and says whether the request was answered.
func (a *App) faulty(w http.ResponseWriter, r *http.Request, k Kind) bool {
	f := a.state.takeFault(k)
	if f.SlowMS > 0 {
		t := time.NewTimer(time.Duration(f.SlowMS) * time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-a.stop:
		case <-r.Context().Done():
			return true
		}
	}
	if f.Unsupported {
		fail(w, http.StatusNotImplemented, "this kind cannot be revoked")
		return true
	}
	if f.Status == 0 {
		return false
	}
	if f.RetryAfterS > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfterS))
	}
	fail(w, f.Status, "switched on fault")
	return true
}

func (a *App) putFaults(w http.ResponseWriter, r *http.Request) {
	var table map[string]*Fault
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&table); err != nil {
		fail(w, http.StatusBadRequest, "want an object of kind to fault")
		return
	}
	for k, f := range table {
		if !knownRow(k) || f == nil || !f.valid() {
			fail(w, http.StatusBadRequest, "fault of "+strconv.Quote(k)+" is not valid")
			return
		}
	}
	a.state.setFaults(table)
	reply(w, http.StatusOK, a.state.faultTable())
}

func knownRow(k string) bool {
	_, listed := Collections()[Kind(k)]
	return listed || k == AnyKind || Kind(k) == KindAccount || Kind(k) == FaultWhoami
}

func (f *Fault) valid() bool {
	within := func(n, most int) bool { return n >= 0 && n <= most }
	status := f.Status == 0 || (f.Status >= 400 && f.Status <= 599)
	return status && within(f.SlowMS, 60_000) && within(f.RetryAfterS, 3600) && within(f.Times, 1_000_000) && within(f.CacheS, 3600)
}
