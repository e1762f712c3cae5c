package plugins

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/scimward/scimward/plugins/abi"
)

// maxRoutes bounds the route templates of one need.
const maxRoutes = 64

// A path may contain a live credential, such as a session id or a name that works as a token. So texts of
// a guest show the route of a request in place of its path.

// checkRoutes checks the route templates of a need, such as "/admin/users/{user}/tokens/{id}".
func (n *HTTPNeed) checkRoutes(f *faults, at string) {
	if len(n.Routes) > maxRoutes {
		f.add(at+".routes", "has %d templates, at most %d", len(n.Routes), maxRoutes)
		return
	}
	for i, t := range n.Routes {
		here := fmt.Sprintf("%s.routes[%d]", at, i)
		if err := checkTemplate(t); err != nil {
			f.add(here, "%q: %v", t, err)
			continue
		}
		if len(n.PathPrefix) > 0 && !underAny(strings.TrimSuffix(t, "/"), n.cleanPrefixes()) {
			f.add(here, "%q is below none of path_prefix", t)
		}
	}
}

func (n *HTTPNeed) cleanPrefixes() []string {
	var out []string
	for _, p := range n.PathPrefix {
		out = append(out, strings.TrimSuffix(p, "/"))
	}
	return out
}

func checkTemplate(t string) error {
	if _, err := cleanPath(t); err != nil {
		return err
	}
	for _, seg := range strings.Split(t, "/")[1:] {
		if strings.ContainsAny(seg, "{}") && !placeholder(seg) {
			return errors.New("a placeholder is a whole segment, such as {id}")
		}
	}
	return nil
}

func placeholder(seg string) bool {
	return len(seg) > 2 && seg[0] == '{' && seg[len(seg)-1] == '}' && !strings.ContainsAny(seg[1:len(seg)-1], "{}")
}

// route returns the template of a path, or the granted prefix and "…" without one. It drops query and
// fragment.
func (p permit) route(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	segs := strings.Split(path, "/")
	prefix := ""
	for i := range p.rules {
		for _, t := range p.rules[i].routes {
			if matchTemplate(strings.Split(t, "/"), segs) {
				return t
			}
		}
		for _, have := range p.rules[i].prefixes {
			if len(have) > len(prefix) && underAny(path, []string{have}) {
				prefix = have
			}
		}
	}
	if prefix != "" && strings.TrimSuffix(path, "/") == prefix {
		return prefix
	}
	return prefix + "/…"
}

func matchTemplate(template, segs []string) bool {
	return slices.EqualFunc(template, segs, func(t, s string) bool { return placeholder(t) && s != "" || t == s })
}

// shape replaces the paths and URLs in a text of the guest by their routes. Another word with a slash
// keeps only what is before the slash.
func (p permit) shape(text string) string {
	if !strings.Contains(text, "/") {
		return text
	}
	words := strings.Split(text, " ")
	for i, w := range words {
		words[i] = p.shapeWord(w)
	}
	return strings.Join(words, " ")
}

func (p permit) shapeWord(w string) string {
	at := strings.IndexByte(w, '/')
	if at < 0 {
		return w
	}
	if scheme := strings.Index(w, "://"); scheme >= 0 && scheme < at {
		host := w[scheme+3:]
		at = strings.IndexByte(host, '/')
		if at < 0 {
			return w[:scheme+3] + "…" // the host may hold a user and a password
		}
		return p.shapeWord(host[at:])
	}
	opening := w[:at]
	if strings.Trim(opening, `("'[<{=:`) != "" {
		return opening + "/…"
	}
	path := strings.TrimRight(w[at:], `.,:;)"'>]`)
	return opening + p.route(path) + w[at+len(path):]
}

// shapeResult shapes the texts of an outcome.
func (p permit) shapeResult(r abi.Result) abi.Result {
	for i := range r.Kinds {
		k := &r.Kinds[i]
		k.Message = cut(p.shape(k.Message), abi.MessageBytes)
		for j := range k.Evidence {
			k.Evidence[j].Action = cut(p.shape(k.Evidence[j].Action), maxAction)
		}
	}
	return r
}

// shapeLiveness shapes the texts of an answer of verify.
func (p permit) shapeLiveness(r abi.VerifyResult) abi.VerifyResult {
	for i := range r.Kinds {
		r.Kinds[i].Probe = cut(p.shape(r.Kinds[i].Probe), maxID)
	}
	return r
}

// shapeError shapes the message of a guest's own error.
func (p permit) shapeError(err error) error {
	var fault *Error
	if errors.As(err, &fault) {
		return &Error{Code: fault.Code, Message: cut(p.shape(fault.Message), abi.MessageBytes)}
	}
	return err
}
