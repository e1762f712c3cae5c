package scimhttp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/subject"
)

// kinds is the number of job kinds of acme's application in storetest.
const kinds = 7

// cutter records whose open streams would end.
type cutter struct {
	mu  sync.Mutex
	cut []string
}

func (c *cutter) afterLock(_ context.Context, tenant, userID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = append(c.cut, tenant+"/"+userID)
}

func (c *cutter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cut)
}

// TestDeactivate: every way to set active to false creates one lock epoch and one job for each
// kind. Before the answer, the lock applies and the streams have ended.
func TestDeactivate(t *testing.T) {
	tests := []struct {
		name    string
		profile string
		do      func(s *service, id string) *answer
		status  int
		state   store.LockState
	}{
		{"path", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false)))
		}, 200, store.LockDeactivated},
		{"path in another case", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("replace", "ACTIVE", false)))
		}, 200, store.LockDeactivated},
		{"add", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("add", "active", false)))
		}, 200, store.LockDeactivated},
		{"path-less replace", base, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("replace", "", obj{"active": false})))
		}, 200, store.LockDeactivated},
		{"path-less add", base, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("add", "", obj{"active": false})))
		}, 200, store.LockDeactivated},
		{"URN path", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("replace", scim.UserURN+":active", false)))
		}, 200, store.LockDeactivated},
		{"one of several operations", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(
				op("replace", "title", "gone"), op("replace", "active", false), op("replace", "displayName", "x"),
			))
		}, 200, store.LockDeactivated},
		{"off, on and off in one request", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(
				op("replace", "active", false), op("replace", "active", true), op("replace", "active", false),
			))
		}, 200, store.LockDeactivated},
		{"PUT", base, func(s *service, id string) *answer {
			p := person("ada")
			p["active"] = false
			return s.do("PUT", "/Users/"+id, p)
		}, 200, store.LockDeactivated},
		{"remove", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("remove", "active")))
		}, 200, store.LockDeactivated},
		{"remove with URN", base, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("remove", scim.UserURN+":Active")))
		}, 200, store.LockDeactivated},
		{"replace with null", il1, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("replace", "active", nil)))
		}, 200, store.LockDeactivated},
		{"path-less null", base, func(s *service, id string) *answer {
			return s.do("PATCH", "/Users/"+id, ops(op("add", "", obj{"active": nil, "title": "x"})))
		}, 200, store.LockDeactivated},
		{"PUT with null", base, func(s *service, id string) *answer {
			p := person("ada")
			p["active"] = nil
			return s.do("PUT", "/Users/"+id, p)
		}, 200, store.LockDeactivated},
		{"DELETE", il1, func(s *service, id string) *answer {
			return s.do("DELETE", "/Users/"+id, nil)
		}, 204, store.LockDeleted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var streams cutter
			s := serve(t, tt.profile, func(o *scimhttp.Options) { o.AfterLock = streams.afterLock })
			id := s.createUser("ada")
			if _, locked := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); locked {
				t.Fatalf("Lookup(%q) finds a lock of a new user, want none", id)
			}
			tt.do(s, id).want(tt.status)
			lock, locked := s.store.Locks().Lookup("acme", &subject.Subject{UserName: "ADA@acme.example"})
			if !locked || lock.UserID != id || lock.Epoch != 1 || lock.State != tt.state {
				t.Fatalf("lock %+v (%v) after the answer, want epoch 1, %s", lock, locked, tt.state)
			}
			s.wantJobs(id, 1, kinds)
			if got := streams.count(); got != 1 {
				t.Errorf("the streams ended %d times before the answer, want once", got)
			}
		})
	}
}

// wantJobs fails unless the user has n jobs in this epoch, one for each kind.
func (s *service) wantJobs(id string, epoch uint64, n int) {
	s.t.Helper()
	s.view(func(r *store.Reader) error {
		jobs, err := r.JobsOf(id, epoch)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, j := range jobs {
			seen[j.Kind] = true
			if j.Received.IsZero() {
				s.t.Errorf("job %s lacks the time of the request", j.Kind)
			}
		}
		if len(jobs) != n || len(seen) != n {
			s.t.Errorf("%d jobs of %d kinds, want %d of each", len(jobs), len(seen), n)
		}
		return nil
	})
}

// TestDeactivateTwice: a repeated request starts no new epoch, a second deactivation does.
func TestDeactivateTwice(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	off, on := ops(op("replace", "active", false)), ops(op("replace", "active", true))
	version := s.do("PATCH", "/Users/"+id, off).want(200).meta("version")
	for range 2 {
		if got := s.do("PATCH", "/Users/"+id, off).want(200).meta("version"); got != version {
			t.Errorf("version %s after the same request, want %s", got, version)
		}
	}
	lock, _ := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id})
	if lock.Epoch != 1 {
		t.Errorf("epoch %d after three requests for one deactivation, want 1", lock.Epoch)
	}
	s.wantJobs(id, 1, kinds)
	if a := s.do("PATCH", "/Users/"+id, on).want(200); a.body["active"] != true {
		t.Errorf("active = %v, want true", a.body["active"])
	}
	lock, locked := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id})
	if !locked || lock.State != store.LockLifted {
		t.Errorf("lock %+v (%v), want lifted: credentials issued before stay refused", lock, locked)
	}
	s.do("PATCH", "/Users/"+id, off).want(200)
	lock, _ = s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id})
	if lock.Epoch != 2 || lock.State != store.LockDeactivated {
		t.Errorf("lock %+v, want epoch 2", lock)
	}
	s.wantJobs(id, 2, kinds)
}

// TestRepeatedDeactivationRetriesJobs: a request that names active retries the failed
// job of an inactive user, and no other request does.
func TestRepeatedDeactivationRetriesJobs(t *testing.T) {
	with, without := person("ada"), person("ada")
	with["active"] = false
	delete(without, "active")
	tests := []struct {
		name, method string
		body         obj
		retried      bool
	}{
		{"PATCH of active", "PATCH", ops(op("replace", "active", false)), true},
		{"PUT with active", "PUT", with, true},
		{"PATCH of another attribute", "PATCH", ops(op("replace", "userName", without["userName"])), false},
		{"PUT without active", "PUT", without, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, base)
			id := s.createUser("ada")
			s.do("PUT", "/Users/"+id, with).want(200)
			job := s.failJob(id)
			version := s.do("GET", "/Users/"+id, nil).want(200).meta("version")
			if got := s.do(tt.method, "/Users/"+id, tt.body).want(200).meta("version"); got != version {
				t.Fatalf("version %s, want %s: the request changed the user", got, version)
			}
			s.view(func(r *store.Reader) error {
				j, err := r.Job(job)
				if retried := j.State == store.JobPending && !j.NextAt.IsZero(); retried != tt.retried {
					t.Errorf("the job is %s and due %v, want retried %v", j.State, j.NextAt, tt.retried)
				}
				return err
			})
		})
	}
}

// failJob makes one job of the user failed and never due. It returns the job's ID.
func (s *service) failJob(userID string) (id string) {
	s.t.Helper()
	cause := store.Cause{Actor: "test", RequestID: "r", Decision: "test"}
	_, err := s.store.Update(s.t.Context(), "acme", cause, func(tx *store.Tx) error {
		jobs, err := tx.JobsOf(userID, 1)
		if err != nil {
			return err
		}
		id, jobs[0].State, jobs[0].NextAt = jobs[0].ID, store.JobFailed, time.Time{}
		return tx.SaveJob(&jobs[0])
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// TestParallelDeactivations: eight requests are one deactivation.
func TestParallelDeactivations(t *testing.T) {
	s := serve(t, il1)
	id := s.createUser("ada")
	for _, status := range parallel(8, func(int) int {
		return s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).status
	}) {
		if status != 200 && status != 503 {
			t.Errorf("status %d, want 200 or 503", status)
		}
	}
	if lock, _ := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); lock.Epoch != 1 {
		t.Errorf("epoch %d, want 1", lock.Epoch)
	}
	s.wantJobs(id, 1, kinds)
}

// TestTheAnswerWaitsForTheCut: a deactivation is answered only after the streams have ended.
func TestTheAnswerWaitsForTheCut(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{})
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.AfterLock = func(ctx context.Context, _, _ string) {
			close(entered)
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	})
	id := s.createUser("ada")
	answered := make(chan int, 1)
	go func() { answered <- s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).status }()
	<-entered
	if _, locked := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); !locked {
		t.Errorf("Lookup(%q) finds no lock while the streams end, want one", id)
	}
	select {
	case status := <-answered:
		t.Errorf("answered %d before the streams had ended, want no answer", status)
	default:
	}
	close(release)
	if status := <-answered; status != 200 {
		t.Errorf("status %d, want 200", status)
	}
}

// TestAHangingCutIsBounded: the deactivation is answered although the streams do not end.
func TestAHangingCutIsBounded(t *testing.T) {
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.AfterLock = func(ctx context.Context, _, _ string) { <-ctx.Done() }
	}).bound(func(b *scimhttp.Bounds) { b.LockWait = 20 * time.Millisecond })
	id := s.createUser("ada")
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).want(200)
}

// TestOtherChangesLockNobody: only a deactivation locks a user and ends streams.
func TestOtherChangesLockNobody(t *testing.T) {
	var streams cutter
	s := serve(t, base, func(o *scimhttp.Options) { o.AfterLock = streams.afterLock })
	id := s.createUser("ada")
	g := s.createGroup("staff", id)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "displayName", "x"))).want(200)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", true))).want(200)
	s.do("PATCH", "/Groups/"+g, ops(op("remove", fmt.Sprintf(`members[value eq %q]`, id)))).want(204)
	s.do("DELETE", "/Groups/"+g, nil).want(204)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", "no"))).wantError(400, "invalidValue")
	if _, locked := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); locked || streams.count() != 0 {
		t.Errorf("locked %v, streams ended %d times, want neither", locked, streams.count())
	}
}

// TestLockThatFollowsANameEndsStreams: a person who gets a name under an operator's lock is locked by that
// change, so their open streams end before its answer. The same holds when a name goes to another person.
func TestLockThatFollowsANameEndsStreams(t *testing.T) {
	var streams cutter
	s := serve(t, base, func(o *scimhttp.Options) { o.AfterLock = streams.afterLock })
	for _, name := range []string{"eve", "mallory@acme.example"} {
		cause := store.Cause{Actor: "operator:0", RequestID: "r", Action: "operator.lock", Decision: "operator", Reason: "x"}
		if _, err := s.store.LockByOperator(t.Context(), "acme", cause, name, time.Time{}, false); err != nil {
			t.Fatal(err)
		}
	}
	step := func(what string, ends int) {
		t.Helper()
		if streams.count() != ends {
			t.Errorf("%s: streams ended %d times, want %d", what, streams.count(), ends)
		}
	}
	ada := s.createUser("ada")
	step("a user without a lock", 0)
	s.do("PATCH", "/Users/"+ada, ops(op("replace", "userName", "eve"))).want(200)
	step("a user takes a locked name", 1)
	s.createUser("mallory")
	step("a new user has a locked name", 2)
	bob := s.createUser("bob")
	s.do("PATCH", "/Users/"+bob, ops(op("replace", "userName", "robert"))).want(200)
	s.do("PATCH", "/Users/"+s.createUser("carl"), ops(op("replace", "userName", "bob@acme.example"))).want(200)
	if l, _ := s.store.Locks().Lookup("acme", &subject.Subject{UserName: "bob@acme.example"}); l.UserID == bob {
		t.Error("the former name belongs to its former user")
	}
	if streams.count() <= 2 {
		t.Error("a name goes to another person, and no streams end")
	}
}

// TestCommittedChangeIsASuccess: the store stops right after the commit, so the answer cannot be
// read back. It must report success.
func TestCommittedChangeIsASuccess(t *testing.T) {
	var s *service
	s = serve(t, il1, func(o *scimhttp.Options) {
		o.AfterLock = func(context.Context, string, string) {
			if err := s.store.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		}
	})
	id := s.createUser("ada")
	a := s.do("PATCH", "/Users/"+id, ops(op("replace", "active", false))).want(200)
	if a.body["active"] != false || a.id() != id {
		t.Errorf("answer %s, want the inactive user %s", a.raw, id)
	}
	s.do("PATCH", "/Users/"+id, ops(op("replace", "title", "x"))).wantError(503, "")
}

// TestUnassignedActiveIsInactive: removing active, or setting it to null, locks the user, and never
// unlocks one. A body without active changes nothing about the lock.
func TestUnassignedActiveIsInactive(t *testing.T) {
	for name, op := range map[string]obj{
		"remove":         op("remove", "active"),
		"null":           op("replace", "active", nil),
		"path-less null": op("replace", "", obj{"active": nil}),
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, base)
			id := s.createUser("ada")
			for range 2 {
				if a := s.do("PATCH", "/Users/"+id, ops(op)).want(200); a.body["active"] != false {
					t.Errorf("active = %v, want false", a.body["active"])
				}
				s.wantLock(id, store.LockDeactivated)
			}
			without := person("ada")
			delete(without, "active")
			s.do("PUT", "/Users/"+id, without).want(200)
			s.wantLock(id, store.LockDeactivated)
		})
	}
	t.Run("create", func(t *testing.T) {
		s := serve(t, il1)
		p := person("ada")
		p["active"] = nil
		a := s.do("POST", "/Users", p).want(201)
		if a.body["active"] != false {
			t.Errorf("active = %v, want false", a.body["active"])
		}
		s.wantLock(a.id(), store.LockDeactivated)
	})
	t.Run("PUT without active", func(t *testing.T) {
		s := serve(t, base)
		id := s.createUser("ada")
		without := person("ada")
		delete(without, "active")
		if a := s.do("PUT", "/Users/"+id, without).want(200); a.body["active"] != true {
			t.Errorf("active = %v, want true", a.body["active"])
		}
	})
}

// wantLock fails unless the user has a lock in this state.
func (s *service) wantLock(id string, state store.LockState) {
	s.t.Helper()
	if lock, _ := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); lock.State != state {
		s.t.Errorf("lock %+v, want state %s", lock, state)
	}
}

// TestAnswerWaitsForTheOthers: an answer goes out when the other processes have the lock in force. When that cannot be
// learned, the answer is 503 without the resource, and the deactivation stays; the repeated request waits again.
func TestAnswerWaitsForTheOthers(t *testing.T) {
	var asked int
	var fault error
	var locked []store.Locked
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.Confirm = func(_ context.Context, tenant, request string, l []store.Locked) error {
			if asked++; tenant != "acme" || request == "" {
				t.Errorf("asked for request %q of tenant %q", request, tenant)
			}
			locked = append(locked, l...)
			return fault
		}
	})
	id := s.createUser("ada")
	fault = errors.New("core-2 did not answer")
	before := asked
	off := ops(op("replace", "active", false))
	for range 2 { // the second changes nothing
		a := s.do("PATCH", "/Users/"+id, off)
		a.wantError(503, "")
		if a.header.Get("ETag") != "" || a.header.Get("Retry-After") == "" {
			t.Errorf("headers %v, want Retry-After and no ETag", a.header)
		}
	}
	s.do("GET", "/Users/"+id, nil).wantError(503, "")
	s.do("DELETE", "/Users/unknown", nil).wantError(503, "")
	if asked != before+4 {
		t.Errorf("asked %d times, want once for each answer", asked-before)
	}
	if _, locked := s.store.Locks().Lookup("acme", &subject.Subject{SCIMID: id}); !locked {
		t.Error("no lock, want the one of the deactivation")
	}
	fault = nil
	s.do("PATCH", "/Users/"+id, off).want(200)
	s.do("PATCH", "/Users/"+id, ops(op("replace", "active", true))).want(200)
	s.do("DELETE", "/Users/"+id, nil).want(204)
	want := []store.Locked{{Resource: id, Epoch: 1}, {Resource: id, Epoch: 2}} // the deactivation and the deletion
	if diff := cmp.Diff(want, locked); diff != "" {
		t.Errorf("asked for locks (-want +got):\n%s", diff)
	}
}

// TestRequestWaitsForTheStore: nothing is read or changed until the store has what other processes acknowledged. A
// stranger makes this process ask no other one, neither before nor after the decision.
func TestRequestWaitsForTheStore(t *testing.T) {
	var fault error
	asked := 0
	ask := func(context.Context) error { asked++; return fault }
	s := serve(t, il1, func(o *scimhttp.Options) {
		o.Current = ask
		o.Confirm = func(ctx context.Context, _, _ string, _ []store.Locked) error { return ask(ctx) }
	})
	id := s.createUser("ada")
	fault = store.ErrUnavailable
	s.do("DELETE", "/Users/"+id, nil).wantError(503, "")
	fault = scimhttp.ErrApart
	apart := s.do("DELETE", "/Users/"+id, nil)
	apart.wantError(503, "")
	if apart.header.Get("Retry-After") == "" || !strings.Contains(string(apart.raw), "to another core") {
		t.Errorf("a process out of touch answers %v %s, want Retry-After and what to do", apart.header, apart.raw)
	}
	fault = nil
	s.do("GET", "/Users/"+id, nil).want(200)
	asked = 0
	s.do("GET", "/Users/"+id, nil, "Authorization", "Bearer nobody").wantError(401, "")
	s.do("GET", "/Nothing/"+id, nil, "Authorization", "Bearer nobody").wantError(401, "")
	s.do("PATCH", "/Users/"+id, "{", "Authorization", "").wantError(401, "")
	if asked != 0 {
		t.Errorf("a stranger made the process ask the others %d times", asked)
	}
}
