// Package shapes is the collection of the requests that identity services really send, each with what
// package scim makes of it: the mode that accepts it, its deviations, its canonical form, what is stored,
// and the refusal in strict mode. The tests of the parser and of the SCIM service play them, and the
// documentation shows them.
//
// Each shape is one file of data/. The fields from codes on are results: go test -update writes them.
package shapes

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/store/scim"
)

//go:embed data/*.json
var files embed.FS

// The kinds of requests.
const (
	KindPatch  = "PATCH"  // Wire is the array Operations
	KindPost   = "POST"   // Wire is the body
	KindPut    = "PUT"    // Wire is the body
	KindFilter = "FILTER" // Wire is the text of a filter
	KindHTTP   = "HTTP"   // Wire is an [HTTP]: only the transport matters
)

// Shape is one form of a request.
type Shape struct {
	Name    string          `json:"-"` // of the file without its ending
	Title   string          `json:"title"`
	Senders []string        `json:"senders"` // names of overlays; empty for a form of the profile itself
	Kind    string          `json:"kind"`
	Type    string          `json:"type"` // "User" or "Group"
	Wire    json.RawMessage `json:"wire"`
	Mode    scim.Mode       `json:"mode"` // accepts it, with as few codes as possible

	Codes     []string        `json:"codes"`             // deviations, in the order of their discovery
	Canonical []string        `json:"canonical"`         // operations or filter
	Stored    json.RawMessage `json:"stored,omitempty"`  // the resource afterwards
	Refused   *Refusal        `json:"refused,omitempty"` // if no mode accepts it
	Strict    *Refusal        `json:"strict,omitempty"`  // in the strict mode; nil if that accepts it
}

// Refusal is an error as the client sees it.
type Refusal struct {
	Status   int    `json:"status"`
	ScimType string `json:"scimType"`
	Detail   string `json:"detail"`
	Code     string `json:"code,omitempty"` // the deviation that caused it
}

// HTTP is a request whose transport is unusual.
type HTTP struct {
	Method string            `json:"method"`
	Path   string            `json:"path"` // below the root of the service; {user} and {group} are ids
	Header map[string]string `json:"header,omitempty"`
	Body   json.RawMessage   `json:"body,omitempty"`
	Status int               `json:"status"` // of the answer
}

// All returns the shapes, sorted by name. It panics when an embedded file is damaged.
func All() []Shape {
	entries, err := files.ReadDir("data")
	if err != nil {
		panic(fmt.Sprintf("shapes: reading the embedded files: %v", err))
	}
	out := make([]Shape, 0, len(entries))
	for _, e := range entries {
		text, err := files.ReadFile("data/" + e.Name())
		s := Shape{Name: strings.TrimSuffix(e.Name(), ".json")}
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			err = d.Decode(&s)
		}
		if err != nil {
			panic(fmt.Sprintf("shapes: reading %s: %v", e.Name(), err))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Shape) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ResourceType returns the type that the request is about.
func (s *Shape) ResourceType() *scim.ResourceType {
	if s.Type == scim.GroupType().Name {
		return scim.GroupType()
	}
	return scim.UserType()
}

// Body returns the body of a PATCH, POST or PUT, nil for other kinds.
func (s *Shape) Body() []byte {
	switch s.Kind {
	case KindPatch:
		return fmt.Appendf(nil, `{"schemas":[%q],"Operations":%s}`, scim.PatchURN, s.Wire)
	case KindPost, KindPut:
		return s.Wire
	}
	return nil
}

// Parsed is what the parser makes of a shape. The fields of other kinds are zero.
type Parsed struct {
	Raw        []scim.RawOp
	Ops        []scim.Op
	Resource   scim.Object
	Filter     scim.Filter
	Deviations []scim.Deviation // with an error too
}

// Parse runs the parser in the mode m. A shape of [KindHTTP] gives the zero Parsed.
func (s *Shape) Parse(m scim.Mode) (Parsed, *scim.Error) {
	var p Parsed
	var err *scim.Error
	t := s.ResourceType()
	switch s.Kind {
	case KindFilter:
		var text string
		if json.Unmarshal(s.Wire, &text) != nil {
			return p, scim.Errorf(400, scim.TypeInvalidFilter, "the filter is no string")
		}
		p.Filter, err = scim.ParseFilter(t, text, scim.DefaultLimits())
		return p, err
	case KindHTTP:
		return p, nil
	}
	body, err := scim.DecodeObject(s.Body(), scim.DefaultLimits())
	if err != nil {
		return p, err
	}
	if s.Kind != KindPatch {
		p.Resource, p.Deviations, err = scim.Normalize(t, body, m)
		return p, err
	}
	if p.Raw, err = scim.DecodePatch(body, scim.DefaultLimits()); err != nil {
		return p, err
	}
	p.Ops, p.Deviations, err = scim.Canonicalize(t, p.Raw, m)
	return p, err
}
