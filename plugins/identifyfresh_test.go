package plugins_test

import (
	"testing"
	"time"

	"github.com/scimward/scimward/plugins"
)

// TestFreshAnswer: a request that may stay open gets an answer to a call that began after it came, also while an
// older answer counts or an older call is in flight. An older answer that comes later does not replace the new one.
// A credential that keeps its owner is not asked again.
func TestFreshAnswer(t *testing.T) {
	app := &whoami{users: map[string]string{"Bearer " + cookie: "ann", "Bearer pat": "ann"}, cache: "300"}
	h := hostile(t, app, nil)
	owner := func(when string, q plugins.Question, fresh bool, want string, calls int32) {
		t.Helper()
		before := app.count.Load()
		q.Fresh = fresh
		r, err := h.Identify(t.Context(), "acme", "app", q)
		if err != nil || r.Subject == nil || r.Subject.UserName != want || app.count.Load()-before != calls {
			t.Errorf("%s: %+v, %v, %d calls; want %s, %d calls", when, r.Subject, err, app.count.Load()-before, want, calls)
		}
	}
	owner("first", session(cookie), false, "ann", 1)
	owner("a token", token("pat"), true, "ann", 1)
	app.set(func(w *whoami) { w.users["Bearer "+cookie] = "eve" })
	owner("a short request", session(cookie), false, "ann", 0)
	owner("a stream", session(cookie), true, "eve", 1)
	owner("a short request after it", session(cookie), false, "eve", 0)
	owner("another stream", session(cookie), true, "eve", 1)
	owner("a stream with a token", token("pat"), true, "ann", 0)

	gate, old := make(chan struct{}), make(chan error, 1)
	app.set(func(w *whoami) { w.gate = gate })
	before := app.count.Load()
	go func() {
		q := session(cookie)
		q.Fresh = true
		_, err := h.Identify(t.Context(), "acme", "app", q)
		old <- err
	}()
	for app.count.Load() == before { // its answer will be about eve
		<-time.After(time.Millisecond)
	}
	app.set(func(w *whoami) { w.gate, w.users["Bearer "+cookie] = nil, "bob" })
	owner("a stream beside an older call", session(cookie), true, "bob", 1)
	close(gate)
	if err := <-old; err != nil {
		t.Error(err)
	}
	owner("after the older answer", session(cookie), false, "bob", 0)
}
