package authz

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/scimward/scimward/store/subject"
)

// Directory knows the persons whom a tenant's identity service has provisioned.
type Directory interface {
	// Find returns the SCIM id of the user of the tenant who has one of the names of s, "" if nobody
	// does. It does no I/O for a person whom it has seen lately. An error means that the directory
	// cannot answer.
	Find(ctx context.Context, tenant string, s *subject.Subject) (id string, err error)
	// Empty reports whether the tenant has no user at all.
	Empty(ctx context.Context, tenant string) bool
}

// Unprovisioned says what happens to a known person whom the tenant's directory does not know. No
// lock can ever deny such a person. The zero value denies.
type Unprovisioned string

// The choices.
const (
	UnprovisionedDeny    Unprovisioned = ""
	UnprovisionedObserve Unprovisioned = "observe" // allow, and show who would be denied
	UnprovisionedAllow   Unprovisioned = "allow"
)

// Outcome is what happened to a person whom the directory does not know: one of the constants
// below, "" for a person whom it knows.
type Outcome string

// The outcomes. They are values of a metric label.
const (
	OutcomeDenied   Outcome = "denied"
	OutcomeObserved Outcome = "observed"
	OutcomeAllowed  Outcome = "allowed"
	OutcomeExempt   Outcome = "exempt" // the configuration names the person
	// OutcomeExemptSignIn is an exempt name typed into a sign-in, which proves nothing.
	OutcomeExemptSignIn Outcome = "exempt_sign_in"
	// OutcomeExemptLocal is a request of an exempt account on a LocalWrite with Exempt.
	OutcomeExemptLocal Outcome = "exempt_local_write"
)

// exemptUse is what an exempt account does with a request.
type exemptUse struct {
	outcome Outcome
	who     *Caller // nil if no exempt account has to do with it
	typed   bool    // who is only a name typed into a sign-in
}

// exemptUse finds the exempt account of a request. local is why the request is denied, if it is. Only if all names of
// the request are of exempt accounts, and the one of its credentials is proved, it escapes. A typed name opens its own
// sign-in only, so the request must be one for that and for no other handler.
func (p *app) exemptUse(c *Caller, typed []Caller, local *Decision) (use exemptUse) {
	if len(p.exempt) == 0 {
		return use
	}
	escapes := local != nil && local.exemptPass && !c.Claimed
	switch {
	case c.Known() && p.exempt[c.exemptName()]:
		use = exemptUse{outcome: OutcomeExempt, who: c}
	case c.Known():
		escapes = false
	}
	for i := range typed {
		exempt := p.exempt[typed[i].exemptName()]
		escapes = escapes && exempt && !typed[i].Claimed
		if exempt && use.who == nil {
			use = exemptUse{OutcomeExemptSignIn, &typed[i], true}
		}
	}
	if escapes && use.who != nil {
		use.outcome = OutcomeExemptLocal
	}
	return use
}

// denyUnprovisioned applies AppOptions.Unprovisioned to a caller whom no lock denies. An anonymous
// request has no caller and passes. exempt is what an exempt account does with the request.
func (a *Authorizer) denyUnprovisioned(
	ctx context.Context, tenant string, p *app, c *Caller, exempt Outcome,
) (Outcome, *Decision) {
	if !c.Known() {
		return "", nil
	}
	outcome := p.outcome(c)
	if outcome == OutcomeExempt { // a break-glass account must not depend on the directory
		outcome = exempt
	} else {
		id, err := a.o.Directory.Find(ctx, tenant, &c.Subject)
		if err != nil {
			return "", directoryUnavailable()
		}
		if c.UserID = id; id != "" {
			return "", nil
		}
	}
	p.people.add(outcome, c, a.o.Now())
	if outcome != OutcomeDenied {
		return outcome, nil
	}
	d := deny(http.StatusForbidden, ReasonUnprovisioned, unprovisionedDetail(c, a.o.Directory.Empty(ctx, tenant)))
	d.Caller, d.Unprovisioned = *c, outcome
	return outcome, d
}

func directoryUnavailable() *Decision {
	return fault(ReasonDirectory, "the directory cannot be asked at the moment: send the request again")
}

// outcome is what the configuration says about an unprovisioned caller.
func (p *app) outcome(c *Caller) Outcome {
	switch {
	case len(p.exempt) > 0 && p.exempt[c.exemptName()]:
		return OutcomeExempt
	case p.unprovisioned == UnprovisionedObserve:
		return OutcomeObserved
	case p.unprovisioned == UnprovisionedAllow:
		return OutcomeAllowed
	}
	return OutcomeDenied
}

// exemptName is the name that AppOptions.Exempt is compared with. It is the first name only: people
// may choose others themselves, such as an e-mail address.
func (c *Caller) exemptName() string { return subject.FoldUserName(c.displayName()) }

// provisioned reports whether the stream of a caller may stay open. Without an answer of the
// directory it may not.
func (a *Authorizer) provisioned(ctx context.Context, tenant string, p *app, c *Caller) bool {
	if p.outcome(c) != OutcomeDenied {
		return true
	}
	id, err := a.o.Directory.Find(ctx, tenant, &c.Subject)
	return err == nil && id != ""
}

// unprovisionedDetail says what was looked up. It repeats a name only if the caller's own credential
// contains it. The names that the application gave are for operators.
func unprovisionedDetail(c *Caller, empty bool) string {
	var looked []string
	for kind, value := range c.Names() {
		what := kindText(kind)
		if !c.FromApplication {
			what += fmt.Sprintf(" %q", shorten(value))
		}
		if !slices.Contains(looked, what) {
			looked = append(looked, what)
		}
	}
	const most = 4
	if len(looked) > most {
		looked = append(looked[:most], "…")
	}
	detail := "the directory has no user with the " + strings.Join(looked, " or the ")
	if empty {
		return detail + ": no user has been provisioned yet; the identity service must send its users first"
	}
	return detail + ": ask your administrator to assign this application to you in the identity service"
}

// kindText names a kind of name for people.
func kindText(kind subject.Name) string {
	switch kind {
	case subject.UserName:
		return "user name"
	case subject.SCIMID:
		return "SCIM id"
	case subject.ExternalID:
		return "external id"
	case subject.Email:
		return "e-mail address"
	case subject.AppUserID:
		return "application user id"
	}
	return string(kind)
}

const maxShownName = 128

func shorten(s string) string {
	if len(s) <= maxShownName {
		return s
	}
	return strings.ToValidUTF8(s[:maxShownName], "") + "…"
}

// UnprovisionedPerson is a person of one application whom the directory does not know. An operator sees
// the name; the log does not.
type UnprovisionedPerson struct {
	Kind    subject.Name `json:"kind"`   // user_name, email, …
	Name    string       `json:"name"`   // shortened
	Source  string       `json:"source"` // "cookie:session"
	Outcome Outcome      `json:"outcome"`
	Times   int          `json:"times"` // since the entry was made
	Last    time.Time    `json:"last"`
}

// AppUnprovisioned counts the requests of persons of one application whom the directory does not know.
type AppUnprovisioned struct {
	Tenant   string                `json:"tenant"`
	App      string                `json:"app"`
	Mode     string                `json:"mode"`     // deny, observe or allow
	Requests map[Outcome]uint64    `json:"requests"` // since the start
	Examples []UnprovisionedPerson `json:"examples"` // at most 20, the newest first
	More     bool                  `json:"more"`     // there were more persons than Examples has
	// Exempt are the accounts that need no directory entry, and ExemptRoutes the local writes that are open to them.
	Exempt       []string `json:"exempt"`
	ExemptRoutes []string `json:"exempt_routes"`
}

// UnprovisionedPeople returns, for each application with such requests or with exempt accounts, the counts and the
// examples, by tenant and application.
func (a *Authorizer) UnprovisionedPeople() []AppUnprovisioned {
	out := []AppUnprovisioned{}
	for tenant, t := range *a.tenants.Load() {
		for name, p := range t.apps {
			if s := p.people.read(); len(s.Requests) > 0 || len(p.exemptNames) > 0 {
				s.Exempt, s.ExemptRoutes = p.exemptNames, p.exemptRoutes()
				s.Tenant, s.App, s.Mode = tenant, name, cmp.Or(string(p.unprovisioned), "deny")
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(x, y AppUnprovisioned) int {
		return cmp.Or(strings.Compare(x.Tenant, y.Tenant), strings.Compare(x.App, y.App))
	})
	return out
}

// exemptRoutes returns the local writes that are open to the exempt accounts.
func (p *app) exemptRoutes() []string {
	out := []string{}
	for i := range p.writes {
		if w := &p.writes[i]; w.exempt && len(p.exempt) > 0 {
			out = append(out, w.route)
		}
	}
	return out
}

// maxPeople is how many examples an application keeps.
const maxPeople = 20

// people are the counts and examples of one application.
type people struct {
	counted func(Outcome, uint64)

	mu       sync.Mutex
	counts   map[Outcome]uint64
	examples []UnprovisionedPerson // oldest first
	more     bool
}

func (s *people) add(o Outcome, c *Caller, now time.Time) {
	if n := s.count(o, c, now); s.counted != nil {
		s.counted(o, n)
	}
}

// count returns how often the outcome happened.
func (s *people) count(o Outcome, c *Caller, now time.Time) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[Outcome]uint64{}
	}
	s.counts[o]++
	e := UnprovisionedPerson{Source: c.Source, Outcome: o, Times: 1, Last: now.UTC()}
	for kind, value := range c.Names() {
		e.Kind, e.Name = kind, strings.Clone(shorten(value)) // not a part of all headers
		break
	}
	at := slices.IndexFunc(s.examples, func(x UnprovisionedPerson) bool {
		return x.Kind == e.Kind && x.Name == e.Name && x.Source == e.Source && x.Outcome == o
	})
	switch {
	case at >= 0:
		e.Times += s.examples[at].Times
		s.examples = slices.Delete(s.examples, at, at+1)
	case len(s.examples) == maxPeople:
		s.examples, s.more = slices.Delete(s.examples, 0, 1), true
	}
	s.examples = append(s.examples, e)
	return s.counts[o]
}

func (s *people) read() AppUnprovisioned {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := AppUnprovisioned{Requests: map[Outcome]uint64{}, Examples: slices.Clone(s.examples), More: s.more}
	for o, n := range s.counts {
		out.Requests[o] = n
	}
	slices.Reverse(out.Examples)
	return out
}
