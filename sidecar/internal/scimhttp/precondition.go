package scimhttp

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// preconditions are If-Match and If-None-Match of a request (RFC 7644 §3.14, RFC 9110 §13.1). The zero
// value is a request without them.
type preconditions struct {
	match, noneMatch *tagSet
}

// tagSet is the value of one of the two fields.
type tagSet struct {
	any  bool  // "*"
	tags []tag // without W/ and quotes
}

// readPreconditions reads both fields. A field that it cannot read is 400: ignoring it would run a write
// that the client made conditional.
func readPreconditions(h request.Headers) (preconditions, error) {
	match, err := readTags(h, "if-match")
	if err != nil {
		return preconditions{}, err
	}
	noneMatch, err := readTags(h, "if-none-match")
	return preconditions{match, noneMatch}, err
}

func readTags(h request.Headers, field string) (*tagSet, error) {
	if !h.Has(field) {
		return nil, nil //nolint:nilnil // no field means no precondition
	}
	set, ok := parseTags(strings.Join(h[field], ","))
	if !ok {
		return nil, badRequest("precondition", field+` must be "*" or a list of entity tags, such as W/"12"`)
	}
	return set, nil
}

// parseTags parses "*" or a list of entity tags (RFC 9110 §8.8.3). Empty elements are allowed.
func parseTags(s string) (*tagSet, bool) {
	if strings.Trim(s, " \t") == "*" {
		return &tagSet{any: true}, true
	}
	set := &tagSet{}
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return set, len(set.tags) > 0
		}
		opaque, found := strings.CutPrefix(strings.TrimPrefix(s, "W/"), `"`)
		text, rest, closed := strings.Cut(opaque, `"`)
		rest = strings.TrimLeft(rest, " \t")
		if !found || !closed || !validTag(text) || rest != "" && rest[0] != ',' {
			return nil, false
		}
		set.tags = append(set.tags, tag(text))
		s = rest
	}
}

func validTag(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// tag is the opaque tag of a resource's ETag: the version in the store and, after a point, a fingerprint
// of what the answer has and the version does not count.
type tag string

func tagOf(v store.Seq) tag { return tag(strconv.FormatUint(uint64(v), 10)) }

// with adds the fingerprint of derived, the groups of a user: they change without the user.
func (t tag) with(derived []any) tag {
	return t + "." + fingerprint(scim.Encode(scim.Object{"": derived}))
}

func fingerprint(b []byte) tag {
	sum := sha256.Sum256(b)
	return tag(hex.EncodeToString(sum[:8]))
}

// stored returns the version in the store.
func (t tag) stored() tag {
	v, _, _ := strings.Cut(string(t), ".")
	return tag(v)
}

// etag returns the ETag and meta.version. It is weak, because another selection of attributes has the
// same one.
func (t tag) etag() string { return `W/"` + string(t) + `"` }

// written judges the preconditions of a change of a resource with this version. Call it in the
// transaction that makes the change. Both fields compare weakly, although RFC 9110 §13.1.1 compares
// If-Match strongly, because RFC 7644 §3.14 sends weak tags in If-Match. What is derived does not count,
// because the change cannot overwrite it.
func (p preconditions) written(v store.Seq) error { return p.judge(tagOf(v)) }

func (p preconditions) judge(own tag) error {
	has := func(s *tagSet) bool {
		return s.any || slices.ContainsFunc(s.tags, func(t tag) bool { return t.stored() == own.stored() })
	}
	if p.match != nil && !has(p.match) || p.noneMatch != nil && has(p.noneMatch) {
		return &answerError{
			Status: http.StatusPreconditionFailed, Reason: "precondition",
			Detail: "the resource has another version than the request expects; read it again and send its ETag",
		}
	}
	return nil
}

// created judges the preconditions of a POST. A new resource has no version: no tag of If-Match is its
// own, and If-None-Match always holds.
func (p preconditions) created() error {
	if p.match == nil || p.match.any {
		return nil
	}
	return preconditions{match: &tagSet{}}.judge("")
}

// read judges the preconditions of GET and HEAD on an answer with this tag. It reports whether the client
// has the answer already.
func (p preconditions) read(t tag) (notModified bool, err error) {
	if err := (preconditions{match: p.match}).judge(t); err != nil || p.noneMatch == nil {
		return false, err
	}
	return p.noneMatch.any || slices.Contains(p.noneMatch.tags, t), nil
}
