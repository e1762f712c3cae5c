//go:build faults

package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/replicas/fleet"
	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/store"
)

// round is one deactivation.
type round struct {
	fault            string // none: "-"
	who              person
	began            time.Time // of the fault and the request
	answered         time.Time // the SCIM answer was there
	healed, ended    time.Time // the fault ended, and everybody was served again as before
	until            time.Time // the person may be active again; zero: never
	asked            int       // times
	late             int       // requests that were sent after the answer and served
	latest           time.Duration
	refused          int // requests of the leaver that were sent after the answer, of those with an answer
	stayerNo, stayer int // requests of the stayer that were refused, and all
	unexplained      int // of the refused: outside the fault
}

// trial is a run of deactivations under load.
type trial struct {
	t      *testing.T
	f      *fleet.Fleet
	load   *load
	stale  string
	rounds []round
	active map[string]bool // id: as acknowledged
}

// TestNobodyIsServedAfterTheAnswer: whatever happens to edges and cores, no request of a deactivated user that is sent
// after the SCIM answer is served, at any Envoy. Nothing acknowledged is lost, and all cores are like a fresh replay.
func TestNobodyIsServedAfterTheAnswer(t *testing.T) {
	r := newTrial(t, "refuse")
	r.run(chosen(), further())
	for i := range r.rounds {
		if n := &r.rounds[i]; n.late > 0 {
			t.Errorf("deactivation %d, %s: %d requests that were sent after the answer were served, up to %s later",
				i+1, n.fault, n.late, n.latest)
		}
	}
	r.compare()
}

// TestServedStale: with on_stale: serve, an edge that is cut off serves a deactivated user for stale_limit at most, and
// the evidence says so.
func TestServedStale(t *testing.T) {
	r := newTrial(t, "serve")
	r.run([]fault{{"an edge cut off from every core", cutEdge}}, append(chosen(), further()[1:]...))
	late := 0
	for i := range r.rounds {
		late += r.rounds[i].late
		r.said(i)
	}
	if late == 0 {
		t.Error("no request was served late: the weaker mode was not tried")
	}
	r.compare()
}

func newTrial(t *testing.T, stale string) *trial {
	t.Helper()
	f := start(t, *edges, stale)
	if err := f.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &trial{t: t, f: f, stale: stale, active: map[string]bool{}}
	stayer := r.create("stayer")
	r.load = startLoad(t, f, stayer)
	return r
}

// run deactivates users, with a fault in every second round: first those that every run has, then any.
func (r *trial) run(first, then []fault) {
	begin := time.Now()
	all := slices.Concat(first, then)
	for n, next := 0, 0; n < 2*len(first) || n < *rounds || *rounds == 0 && time.Since(begin) < *runFor; n++ {
		x := fault{name: "-", begin: func(*testing.T, *fleet.Fleet) (func(), []string) { return func() {}, nil }}
		if n%2 == 0 {
			x = all[next%len(all)]
			next++
		}
		p := r.person(n)
		r.served(p)
		r.rounds = append(r.rounds, r.deactivate(p, x))
		if r.t.Failed() {
			break
		}
	}
	r.load.leaver.Store(nil)
	unexplained, stayer := 0, 0
	for i := range r.rounds {
		n := &r.rounds[i]
		r.judge(n)
		unexplained, stayer = unexplained+n.unexplained, stayer+n.stayer
	}
	if unexplained > stayer/50 { // a busy machine is too late for some answers
		r.t.Errorf("%d of %d requests of the stayer were refused, and no fault explains it: is the machine busy?",
			unexplained, stayer)
	}
	r.print(time.Since(begin))
}

// person returns a new user, or the one of the round before, reactivated.
func (r *trial) person(n int) *person {
	if n%4 < 2 {
		return r.create(fmt.Sprintf("leaver%d", n))
	}
	p := r.rounds[n-1].who
	p.locks, p.back = p.locks+1, time.Now()
	r.ask(nil, "reactivating "+p.name, func(ctx context.Context, d *idp.Client) error { return d.Reactivate(ctx, p.id) })
	r.active[p.id] = true
	p.session = time.Now().Add(time.Second).Truncate(time.Second) // the next whole second: it is after the lock
	return &p
}

func (r *trial) create(name string) *person {
	p := &person{name: name, session: time.Now()}
	r.ask(nil, "creating "+name, func(ctx context.Context, d *idp.Client) error {
		u, err := d.CreateUser(ctx, idp.User{
			UserName: name, ExternalID: name, Email: name + "@people.example", DisplayName: name,
		})
		p.id = u.ID
		return err
	})
	r.active[p.id] = true
	return p
}

// ask sends a SCIM request through one Envoy after the other until one has an answer, and returns how many it took.
func (r *trial) ask(without []string, what string, do func(context.Context, *idp.Client) error) (asked int) {
	r.t.Helper()
	edges := slices.DeleteFunc(r.f.Edges(), func(e string) bool { return slices.Contains(without, e) })
	var last error
	if err := fleet.Until(r.t.Context(), what, func() bool {
		d, err := r.f.Directory(edges[asked%len(edges)])
		if err != nil {
			r.t.Fatal(err)
		}
		asked++
		ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second) // as an impatient identity service
		defer cancel()
		last = do(ctx, d)
		return last == nil
	}); err != nil {
		r.t.Fatalf("%v; the last answer: %v", err, last)
	}
	return asked
}

// served waits until every Envoy serves a person and the stayer.
func (r *trial) served(who ...*person) {
	r.t.Helper()
	for _, p := range who {
		for _, e := range r.f.Edges() {
			c, status := r.f.Client(e), 0
			if err := fleet.Until(r.t.Context(), e+" to serve "+p.name, func() bool {
				ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
				defer cancel()
				status, _ = fleet.Get(ctx, c, p.name, p.session)
				return status == http.StatusOK
			}); err != nil {
				r.t.Fatalf("%v; the last answer: %d", err, status)
			}
			c.CloseIdleConnections()
		}
	}
}

// deactivate deactivates a person while a fault lasts, and waits until all is as before.
func (r *trial) deactivate(p *person, x fault) round {
	n := round{fault: x.name, who: *p}
	r.load.leaver.Store(p)
	r.wait(500 * time.Millisecond) // the leaver is served
	n.began = time.Now()
	end, without := x.begin(r.t, r.f)
	n.asked = r.ask(without, "deactivating "+p.name, func(ctx context.Context, d *idp.Client) error {
		return d.Deactivate(ctx, p.id)
	})
	n.answered = time.Now()
	r.active[p.id] = false
	if x.name != "-" {
		hold := lease + 2*time.Second - time.Since(n.began) // longer than a lease
		if r.stale == "serve" {
			hold = max(hold, 0) + staleLimit
		}
		r.wait(max(hold, time.Second))
		end()
		n.healed = time.Now()
		for _, m := range append(r.f.Cores(), r.f.Edges()...) {
			if err := r.f.Ready(r.t.Context(), m); err != nil {
				r.t.Fatal(err)
			}
		}
		r.served(r.load.stayer)
		n.ended = time.Now()
	}
	r.wait(time.Second)
	r.t.Logf("deactivation %d, %s: asked %d times, answered after %s", len(r.rounds)+1, n.fault, n.asked,
		n.answered.Sub(n.began).Round(time.Millisecond))
	return n
}

// wait lets the load go on for a time. No event says that nothing happens.
func (r *trial) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.t.Context().Done():
	}
}

// judge counts what the load saw of a round: until the person may be active again, and for the stayer until the next
// round.
func (r *trial) judge(n *round) {
	var next time.Time
	for i := range r.rounds {
		m := &r.rounds[i]
		if m.began.After(n.began) && next.IsZero() {
			next = m.began
		}
		if m.began.After(n.began) && m.who.name == n.who.name && n.until.IsZero() {
			n.until = m.who.back
		}
	}
	r.load.each(n.who.name, n.answered, n.until, func(a *answer) {
		switch {
		case a.status == http.StatusOK:
			n.late++
			n.latest = max(n.latest, a.sent.Sub(n.answered))
		case a.status > 0:
			n.refused++
		}
	})
	r.load.each(r.load.stayer.name, n.began, next, func(a *answer) {
		n.stayer++
		if a.status == http.StatusOK {
			return
		}
		n.stayerNo++
		if n.fault == "-" || a.sent.After(n.ended) {
			if n.unexplained++; n.unexplained == 1 {
				r.t.Logf("%s answers %d to the stayer after %s, at %s: no fault explains it (fault %s from %s to %s)", a.edge,
					a.status, a.took, a.sent, n.fault, n.began, n.ended)
			}
		}
	})
	if n.refused == 0 {
		r.t.Errorf("%s: no request of %s was refused after the answer, so nothing was shown", n.fault, n.who.name)
	}
}

// said checks what the evidence says of a round in which a person was served after the answer.
func (r *trial) said(i int) {
	n := &r.rounds[i]
	if n.late > 0 && n.latest > staleLimit {
		r.t.Errorf("deactivation %d, %s: served %s after the answer, longer than stale_limit %s", i+1, n.fault, n.latest,
			staleLimit)
	}
	var c *store.Confirmation
	if err := fleet.Until(r.t.Context(), "the confirmation of "+n.who.name, func() bool {
		var e sidecar.Evidence
		// It exits 1 because nobody has verified that the application ended the sessions.
		out, _ := r.f.Command(r.t.Context(), "core-1", "evidence", n.who.id, "--tenant", "main", "--json")
		if json.Unmarshal([]byte(out), &e) != nil || len(e.Offboardings) <= n.who.locks {
			return false
		}
		got := e.Offboardings[n.who.locks].Confirmation
		if got == nil || !got.Recorded {
			return false
		}
		c = got.Confirmation
		return true
	}); err != nil {
		r.t.Error(err)
		return
	}
	beyond := 0
	r.load.each(n.who.name, n.answered, n.until, func(a *answer) {
		if a.status == http.StatusOK && a.sent.After(c.StaleUntil) {
			beyond++
		}
	})
	if beyond > 0 {
		r.t.Errorf("deactivation %d, %s: %d requests were served later than the evidence says: %s", i+1, n.fault, beyond, c)
	}
	if n.late > 0 {
		r.t.Logf("deactivation %d, %s: %d served late, the last %s after the answer; the evidence: %s", i+1, n.fault, n.late,
			n.latest.Round(time.Millisecond), c)
	}
}

// print prints a line for each kind of fault.
func (r *trial) print(took time.Duration) {
	by := map[string][]*round{}
	var names []string
	for i := range r.rounds {
		n := &r.rounds[i]
		if by[n.fault] == nil {
			names = append(names, n.fault)
		}
		by[n.fault] = append(by[n.fault], n)
	}
	slices.Sort(names)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, strings.Join([]string{
		"fault", "n", "answer p50", "max", "back max", "leaver refused after", "served after", "latest",
		"stayer", "refused", "unexplained", "",
	}, "\t"))
	for _, name := range names {
		var answers []time.Duration
		var sum round
		var back time.Duration
		for _, n := range by[name] {
			answers = append(answers, n.answered.Sub(n.began))
			sum.refused, sum.late, sum.latest = sum.refused+n.refused, sum.late+n.late, max(sum.latest, n.latest)
			sum.stayer, sum.stayerNo = sum.stayer+n.stayer, sum.stayerNo+n.stayerNo
			sum.unexplained += n.unexplained
			back = max(back, n.ended.Sub(n.healed))
		}
		slices.Sort(answers)
		ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%.1f %%\t%d\t\n", name, len(answers), ms(answers[len(answers)/2]),
			ms(answers[len(answers)-1]), ms(back), sum.refused, sum.late, ms(sum.latest), sum.stayer,
			100*float64(sum.stayerNo)/float64(max(1, sum.stayer)), sum.unexplained)
	}
	_ = w.Flush()
	r.load.mu.Lock()
	defer r.load.mu.Unlock()
	r.t.Logf("on_stale: %s, %d edges, %d deactivations in %s, %d requests, %d not sent as too many were on their way:\n%s",
		r.stale, len(r.f.Edges()), len(r.rounds), took.Round(time.Second), len(r.load.answers), r.load.unsent, b.String())
}
