package scimhttp

import "github.com/scimward/scimward/sidecar/internal/authz"

// AnswerError is an answer of the error mapping.
type AnswerError = answerError

// AnswerFor maps an error to its answer.
func AnswerFor(err error) *AnswerError { return answerFor(err) }

// Refused is the error of a denied request.
func Refused(d authz.Decision) error { return answerForDecision(d) }

// RouteOf names the route of a request.
func RouteOf(method, path string) string { return routeOf(method, path) }

// Bounds limit the work of one request.
type Bounds = bounds

// SetBounds changes the bounds. It must run before the first request.
func SetBounds(h *Handler, change func(*Bounds)) { change(&h.bounds) }

// ParseTags parses a list of entity tags and writes each again.
func ParseTags(s string) ([]string, bool) {
	set, ok := parseTags(s)
	if !ok {
		return nil, false
	}
	var out []string
	if set.any {
		out = append(out, "*")
	}
	for _, t := range set.tags {
		out = append(out, t.etag())
	}
	return out, true
}
