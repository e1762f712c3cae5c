package scim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mode says which deviations are accepted although they need a guess. The zero value is strict, as the
// IPSIE profile requires. Deviations with one meaning are accepted in every mode, and reported for the
// policy; [Codes] says which. A deactivation is never lost to a Mode: see [Lookalike].
type Mode struct {
	// Accept lists codes of deviations: those of [Codes] with [AcceptListed].
	Accept []string `json:"accept,omitempty"`
	// UnknownSchemas lists URNs of schemas that are dropped with all their attributes.
	UnknownSchemas []string `json:"unknownSchemas,omitempty"`
	// UnknownAttributes lists attributes that are dropped: "badge", "emails.label", or with the URN
	// of a schema, "urn:…:User:badge". Sub-attributes are included.
	UnknownAttributes []string `json:"unknownAttributes,omitempty"`
}

// Merge returns the mode that accepts what m or more accepts.
func (m Mode) Merge(more Mode) Mode {
	return Mode{
		Accept:            union(m.Accept, more.Accept, func(a, b string) bool { return a == b }),
		UnknownSchemas:    union(m.UnknownSchemas, more.UnknownSchemas, equalName),
		UnknownAttributes: union(m.UnknownAttributes, more.UnknownAttributes, equalName),
	}
}

// union returns both lists without repetition, sorted, nil if both are empty.
func union(a, b []string, same func(x, y string) bool) []string {
	var out []string
	for _, s := range slices.Concat(a, b) {
		if !slices.ContainsFunc(out, func(known string) bool { return same(known, s) }) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

// Check returns all faults of a mode that somebody wrote: a code that does not exist or that no mode can
// accept, and a name that the schemas have, that looks like active, or that is empty.
func (m Mode) Check() error {
	var faults []error
	for _, name := range m.Accept {
		code, known := codeNamed(name)
		switch {
		case !known:
			faults = append(faults, fmt.Errorf("accept: %s is no deviation code", quoteShort(name)))
		case code.Accepted != AcceptListed:
			faults = append(faults, fmt.Errorf("accept: %s cannot be listed: it is accepted %s", name, code.Accepted))
		}
	}
	for _, urn := range m.UnknownSchemas {
		if err := checkUnknown(urn); err != nil {
			faults = append(faults, fmt.Errorf("unknownSchemas: %w", err))
		}
	}
	for _, name := range m.UnknownAttributes {
		if err := checkUnknown(name); err != nil {
			faults = append(faults, fmt.Errorf("unknownAttributes: %w", err))
		}
	}
	return errors.Join(faults...)
}

func checkUnknown(name string) error {
	if name == "" {
		return errors.New("a name is empty")
	}
	if Lookalike(name) {
		return fmt.Errorf("%s looks like active: a deactivation could be lost", quoteShort(name))
	}
	for _, t := range Types() {
		if _, ok := lookupRef(t, name); ok || equalName(name, t.Schema.ID) {
			return fmt.Errorf("%s is an attribute or schema of %s", quoteShort(name), t.Name)
		}
	}
	return nil
}

// accepts reports whether the mode lists a code.
func (m Mode) accepts(code string) bool { return slices.Contains(m.Accept, code) }

// ignoresSchema reports whether the mode names the schema urn.
func (m Mode) ignoresSchema(urn string) bool {
	return slices.ContainsFunc(m.UnknownSchemas, func(s string) bool { return equalName(s, urn) })
}

// ignores reports whether the mode names the unknown attribute or path, or what it belongs to.
func (m Mode) ignores(name string) bool {
	if head, filter, found := strings.Cut(name, "["); found {
		name = head + filter[strings.LastIndexByte(filter, ']')+1:]
	}
	covers := func(known string) bool {
		n := len(known)
		if n == 0 || len(name) < n || !equalName(name[:n], known) {
			return false
		}
		return len(name) == n || name[n] == ':' || name[n] == '.'
	}
	return slices.ContainsFunc(m.UnknownSchemas, covers) || slices.ContainsFunc(m.UnknownAttributes, covers)
}

// normalizer normalises one body or PATCH.
type normalizer struct {
	t       *ResourceType
	m       Mode
	op      int // index of the operation, -1 for a body
	found   []Deviation
	first   int    // index in found of the first deviation of the operation
	refused string // code that the mode did not accept, which makes an error
}

// note records a deviation once per operation.
func (n *normalizer) note(codes ...string) {
	for _, code := range codes {
		d := Deviation{Code: code, Op: n.op}
		if !slices.Contains(n.found[n.first:], d) {
			n.found = append(n.found, d)
		}
	}
}

// accepts records a deviation and reports whether the mode lists it. If not, the caller returns an error.
func (n *normalizer) accepts(code string) bool {
	n.note(code)
	if n.m.accepts(code) {
		return true
	}
	n.refused = code
	return false
}

// explain adds the code that made an error.
func (n *normalizer) explain(err *Error) *Error {
	if err.Code == "" {
		err.Code = n.refused
	}
	return err
}

func (n *normalizer) patching() bool { return n.op >= 0 }
