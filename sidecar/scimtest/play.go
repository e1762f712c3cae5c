package scimtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Options say where and how a sequence is played.
type Options struct {
	URL    string       // base URL of the SCIM service, "https://app.example.com/scim/v2"; required
	Token  string       // bearer token; required
	Client *http.Client // nil: a client that follows no redirect and waits for 30 s
	// Scratch allows a tenant that has users.
	Scratch bool
	// InApplication reports whether the application lets a person in. Play asks it after each step that
	// gives or ends access. Nil: nobody asks the application.
	InApplication func(ctx context.Context, userName string) (bool, error)
	// Each hears of every result as it comes. May be nil.
	Each func(Result)
}

// Outcome is how a step ended.
type Outcome string

// The outcomes of a step.
const (
	OK      Outcome = "ok"      // the service did what the step asked for
	Refused Outcome = "refused" // it refused a step that it may refuse, and named the setting to change
	Wrong   Outcome = "wrong"
	Skipped Outcome = "skipped" // the step needs what an earlier one did not provide
)

// Result is the outcome of one step.
type Result struct {
	Step    string  `json:"step"`
	Request string  `json:"request"` // method and path
	Outcome Outcome `json:"outcome"`
	Status  int     `json:"status,omitempty"` // of the answer; 0 without one
	// Setting is what the message of a refusal tells the administrator to change.
	Setting string `json:"setting,omitempty"`
	// Detail says why the outcome is not ok: what is wrong, or the message of the service.
	Detail string `json:"detail,omitempty"`
	// Deviations is what the service reported of a request that it applied although the profile has another
	// form for it.
	Deviations string `json:"deviations,omitempty"`
}

// Report is the result of a sequence.
type Report struct {
	Sequence string          `json:"sequence"`
	Title    string          `json:"title"`
	URL      string          `json:"url"`
	Passed   bool            `json:"passed"` // no step is wrong, and everything created is deleted
	Counts   map[Outcome]int `json:"counts"`
	Steps    []Result        `json:"steps"`
	// Left are the resources that the play created and could not delete, as paths below URL.
	Left []string `json:"left,omitempty"`
}

// UsersError means that the tenant has users, so it may not be a scratch tenant. Nothing was changed.
type UsersError struct{ Count int }

// Error implements error.
func (e *UsersError) Error() string {
	return fmt.Sprintf("the tenant has %d user(s): play a sequence in a scratch tenant only", e.Count)
}

// NoAnswerError means that the service gave no answer, or none that a SCIM service gives, before the first step.
type NoAnswerError struct {
	Status int // of the answer, zero for none
	Err    error
}

// Error implements error.
func (e *NoAnswerError) Error() string { return "no usable answer: " + e.Err.Error() }

// Unwrap returns why.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// HeaderDeviation is the header in which scimward reports a deviation that it let pass.
const HeaderDeviation = "SCIM-Profile-Deviation"

// Play plays a sequence and deletes what it created, also when ctx ends. An error means that no step was
// played.
func Play(ctx context.Context, s Sequence, o Options) (*Report, error) {
	base, err := url.Parse(strings.TrimSuffix(o.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("the base URL %q is not an http(s) URL", o.URL)
	}
	if o.Client == nil {
		o.Client = &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	p := &player{o: o, base: base, headers: s.Headers, vars: map[string]string{"run": strings.ToLower(rand.Text()[:10])}}
	if err := p.guard(ctx); err != nil {
		return nil, err
	}
	r := &Report{Sequence: s.Name, Title: s.Title, URL: base.String(), Counts: map[Outcome]int{}}
	applied := map[string]bool{}
	for i := range s.Steps {
		step := &s.Steps[i]
		got := Result{Step: step.Name, Request: step.Method + " " + step.Path, Outcome: Skipped}
		if why := p.missing(step, applied); why != "" {
			got.Detail = why
		} else {
			p.play(ctx, step, &got)
		}
		applied[step.Name] = got.Outcome == OK
		r.Counts[got.Outcome]++
		r.Steps = append(r.Steps, got)
		if o.Each != nil {
			o.Each(got)
		}
	}
	r.Left = p.cleanUp(ctx)
	r.Passed = r.Counts[Wrong] == 0 && len(r.Left) == 0
	return r, nil
}

// player plays one sequence.
type player struct {
	o       Options
	base    *url.URL
	headers map[string]string
	vars    map[string]string
	created []string // paths below base, in order
}

// guard refuses a tenant with users.
func (p *player) guard(ctx context.Context) error {
	a, err := p.send(ctx, &Step{Method: http.MethodGet, Path: "/Users", Query: map[string]string{"count": "1"}})
	if err != nil {
		return &NoAnswerError{Err: err}
	}
	total, err := at(a.doc, "/totalResults")
	n, isNumber := total.(float64)
	if a.status != http.StatusOK || err != nil || !isNumber {
		return &NoAnswerError{a.status, fmt.Errorf("GET /Users is answered %d: %s", a.status, a.detail())}
	}
	if n > 0 && !p.o.Scratch {
		return &UsersError{Count: int(n)}
	}
	return nil
}

// missing says what the step needs and does not have, "" for nothing.
func (p *player) missing(s *Step, applied map[string]bool) string {
	if s.Needs != "" && !applied[s.Needs] {
		return fmt.Sprintf("it needs the step %q", s.Needs)
	}
	for _, name := range s.variables() {
		if _, ok := p.vars[name]; !ok {
			return fmt.Sprintf("no earlier step provided ${%s}", name)
		}
	}
	return ""
}

// settingRE finds what a message tells an administrator to change.
var settingRE = regexp.MustCompile(
	`(?:\b(?:tenants|identity_services|external_issuers)\[\]\.[a-z_]+|\b(?:dialects|profile|aadOptscim062020)\b)` +
		`(?: for this client, to the one that it is)?(?:: *(?:\[[\w, -]*\]|[\w-]+(?:, [\w-]+)*))?`)

func (p *player) play(ctx context.Context, s *Step, got *Result) {
	got.Outcome = Wrong
	a, err := p.send(ctx, s)
	if err != nil {
		got.Detail = err.Error()
		return
	}
	got.Status, got.Deviations = a.status, a.header.Get(HeaderDeviation)
	p.note(s, a)
	if !slices.Contains(s.Status, a.status) {
		got.Detail = a.detail()
		got.Setting = settingRE.FindString(got.Detail)
		if a.status >= 400 && a.status < 500 && s.MayRefuse != "" && got.Setting != "" {
			got.Outcome = Refused
		}
		return
	}
	if got.Detail = p.judge(ctx, s, a); got.Detail == "" {
		got.Outcome = OK
	}
}

// judge says what is wrong with an answer of an expected status, "" for nothing. It saves what the step
// saves.
func (p *player) judge(ctx context.Context, s *Step, a *answer) string {
	for i := range s.Checks {
		if fault := s.Checks[i].fault(a.doc, p.vars); fault != "" {
			return fault
		}
	}
	for name, pointer := range s.Save {
		v, err := at(a.doc, pointer)
		text, ok := v.(string)
		if err != nil || !ok || text == "" {
			return fmt.Sprintf("the answer has no text at %s", pointer)
		}
		p.vars[name] = text
	}
	if s.Access == nil || p.o.InApplication == nil {
		return ""
	}
	user := expand(s.Access.User, p.vars)
	in, err := p.o.InApplication(ctx, user)
	switch {
	case err != nil:
		return fmt.Sprintf("asking the application as %s: %v", user, err)
	case in && !s.Access.In:
		return fmt.Sprintf("the application still lets %s in", user)
	case !in && s.Access.In:
		return fmt.Sprintf("the application does not let %s in", user)
	}
	return ""
}

// note remembers what the answer says was created, so that it is deleted.
func (p *player) note(s *Step, a *answer) {
	if s.Method != http.MethodPost || a.status/100 != 2 {
		return
	}
	id, err := at(a.doc, "/id")
	if text, ok := id.(string); err == nil && ok && text != "" {
		p.created = append(p.created, s.Path+"/"+url.PathEscape(text))
	}
}

// cleanUp deletes what was created, the last first, and returns what is left.
func (p *player) cleanUp(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for _, path := range slices.Backward(p.created) {
		a, err := p.send(ctx, &Step{Method: http.MethodDelete, Path: path})
		if err != nil || a.status != http.StatusNoContent && a.status != http.StatusNotFound {
			left = append(left, path)
		}
	}
	return left
}
