package scimtest

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

//go:embed sequences/*.json
var files embed.FS

// Sequence is what one identity provider typically sends, from the test of the connection to the deletion of
// the user.
type Sequence struct {
	Name  string `json:"name"`  // "entra", also the name of the file
	Title string `json:"title"` // the provider and the way it sends
	// Dialects are the overlays that the client of this provider needs. Empty: none.
	Dialects []string `json:"dialects,omitempty"`
	// Profile is the profile that the tenant needs. Empty: the default.
	Profile string            `json:"profile,omitempty"`
	Headers map[string]string `json:"headers"` // of every request; a User-Agent of "" sends none
	Steps   []Step            `json:"steps"`
}

// Step is one request and what its answer must be. Texts may contain ${run}, which is new for each play, and
// the names in Save of earlier steps.
type Step struct {
	Name   string            `json:"name"` // what it does, unique in the sequence
	Method string            `json:"method"`
	Path   string            `json:"path"` // below the base URL
	Query  map[string]string `json:"query,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"`
	// Token is "wrong" for a token that nobody issued and "none" for no token. Empty: the token of the play.
	Token  string  `json:"token,omitempty"`
	Status []int   `json:"status"` // the step is applied when the answer has one of these, and Checks hold
	Checks []Check `json:"checks,omitempty"`
	// MayRefuse says why a profile may refuse the step, if its message names the setting to change. Empty: the
	// step must be applied.
	MayRefuse string `json:"may_refuse,omitempty"`
	// Needs names an earlier step. If that one was not applied, this one is skipped.
	Needs string `json:"needs,omitempty"`
	// Save names values of the answer, by JSON Pointer (RFC 6901), for later steps.
	Save map[string]string `json:"save,omitempty"`
	// Access says who must be in or out after the step.
	Access *Access `json:"access,omitempty"`
}

// Check is a condition on the answer: exactly one of Is, Count, Present and Absent.
type Check struct {
	At      string `json:"at"`              // JSON Pointer
	Is      any    `json:"is,omitempty"`    // the value there
	Count   *int   `json:"count,omitempty"` // the number of elements of the array there
	Present bool   `json:"present,omitempty"`
	Absent  bool   `json:"absent,omitempty"` // nothing, null or an empty array
}

// Access says whether a person may use the application.
type Access struct {
	User string `json:"user"` // userName
	In   bool   `json:"in"`
}

// All returns the sequences, sorted by name. It panics when an embedded file is damaged.
func All() []Sequence {
	names, err := fs.Glob(files, "sequences/*.json")
	if err != nil {
		panic(fmt.Sprintf("scimtest: listing the embedded sequences: %v", err))
	}
	out := make([]Sequence, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		var s Sequence
		if err == nil {
			s, err = Parse(text)
		}
		if err != nil {
			panic(fmt.Sprintf("scimtest: reading the embedded %s: %v", name, err))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Sequence) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Names returns the names of the sequences, sorted.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}

// Find returns the sequence of a name. The error lists the names that exist.
func Find(name string) (Sequence, error) {
	all := All()
	i := slices.IndexFunc(all, func(s Sequence) bool { return s.Name == name })
	if i < 0 {
		return Sequence{}, fmt.Errorf("there is no sequence %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return all[i], nil
}

// Parse reads and checks one sequence. The error names every fault.
func Parse(text []byte) (Sequence, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var s Sequence
	if err := d.Decode(&s); err != nil {
		return Sequence{}, fmt.Errorf("decoding a sequence: %w", err)
	}
	return s, s.check()
}

func (s *Sequence) check() error {
	var faults []error
	if s.Name == "" || s.Title == "" || len(s.Steps) == 0 {
		faults = append(faults, errors.New("name, title and steps are required"))
	}
	seen := map[string]bool{}
	known := map[string]bool{"run": true}
	for i := range s.Steps {
		step := &s.Steps[i]
		if seen[step.Name] {
			faults = append(faults, fmt.Errorf("step %q: there is another one of this name", step.Name))
		}
		if step.Needs != "" && !seen[step.Needs] {
			faults = append(faults, fmt.Errorf("step %q needs %q, which is no earlier step", step.Name, step.Needs))
		}
		seen[step.Name] = true
		faults = append(faults, step.check(known)...)
		for name := range step.Save {
			known[name] = true
		}
	}
	return errors.Join(faults...)
}

func (s *Step) check(known map[string]bool) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("step %q: "+format, append([]any{s.Name}, args...)...))
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if s.Name == "" || !strings.HasPrefix(s.Path, "/") || !slices.Contains(methods, s.Method) || len(s.Status) == 0 {
		fault("name, method, path and status are required")
	}
	if s.Token != "" && s.Token != "wrong" && s.Token != "none" {
		fault("token is %q, want wrong or none", s.Token)
	}
	for _, name := range s.variables() {
		if !known[name] {
			fault("no earlier step saves ${%s}", name)
		}
	}
	for _, c := range s.Checks {
		if c.kinds() != 1 || !strings.HasPrefix(c.At, "/") {
			fault("the check at %q needs a JSON Pointer and one of is, count, present and absent", c.At)
		}
	}
	return faults
}

func (c *Check) kinds() (n int) {
	for _, has := range []bool{c.Is != nil, c.Count != nil, c.Present, c.Absent} {
		if has {
			n++
		}
	}
	return n
}

var variableRE = regexp.MustCompile(`\$\{([^}]*)\}`)

// variables names the variables that the request of the step needs.
func (s *Step) variables() []string {
	text := s.Path + string(s.Body)
	for _, v := range s.Query {
		text += v
	}
	var names []string
	for _, m := range variableRE.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}
