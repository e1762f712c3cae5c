package request

import "strings"

// CredentialSegment is the segment of a path template that holds the credential.
const CredentialSegment = "{credential}" //nolint:gosec // a placeholder, no secret

// pathPlace is a path template with one credential.
type pathPlace struct {
	name     string // the template as written
	segments []string
	at       int // index of the credential
	covers   Template
}

func newPathPlace(template string) pathPlace {
	p := pathPlace{name: template, segments: strings.Split(strings.Trim(template, "/"), "/")}
	for i, seg := range p.segments {
		if seg == CredentialSegment {
			p.at = i
		}
	}
	p.covers = NewTemplate(template)
	return p
}

func (s *Sources) fromPath(r *Request, path *Path, out *[]Credential) *Problem {
	for i := range s.templates {
		place := &s.templates[i]
		if place.covers.routed(path) {
			return problem(400, ReasonPath, "send the path "+place.name+" as the path, not in the query")
		}
		if !place.covers.Covers(path) {
			continue
		}
		v, ok := place.value(r.Path)
		for _, page := range pagesOf(r.Path) {
			if !ok {
				v, ok = place.value(page)
			}
		}
		if !ok {
			return problem(400, ReasonPath, "send the path "+place.name+" in its plain form")
		}
		if v == "" {
			continue
		}
		c, p := s.only(InPath, place.name, "the path", v)
		if p != nil {
			return p
		}
		// A router may cut a suffix such as ".json". A signature does not survive that.
		if strings.Contains(v, ".") && !s.all[c.Source].JWT {
			return problem(400, ReasonPath, "the credential in the path contains a dot, which some routers cut off")
		}
		*out = append(*out, *c)
	}
	return nil
}

// pagesOf returns the paths of the pages whose data may be at a path: "/t/7" for "/_next/data/BUILD/t/7.json" of
// Next.js, which has no BUILD with a deploymentId, and for "/page-data/t/7/page-data.json" of Gatsby. Links of such a
// site get it instead of the page. The site may be in a folder.
func pagesOf(path string) []string {
	if folder, data, found := strings.Cut(path, "/_next/data/"); found {
		data = strings.TrimSuffix(data, ".json")
		_, page, _ := strings.Cut(data, "/")
		return []string{folder + "/" + page, folder + "/" + data}
	}
	if folder, data, found := strings.Cut(path, "/page-data/"); found {
		if page, found := strings.CutSuffix(data, "/page-data.json"); found {
			return []string{folder + "/" + page}
		}
	}
	return nil
}

// value returns the credential of a raw path in its plain form, "" when its segment is empty. ok is
// false when the path, as sent, is not the template or below it.
func (p *pathPlace) value(raw string) (v string, ok bool) {
	segs := strings.Split(strings.TrimPrefix(raw, "/"), "/")
	if len(segs) < len(p.segments) {
		return "", false
	}
	for i, want := range p.segments {
		switch {
		case i == p.at:
			if segs[i] == "" && i == len(segs)-1 {
				return "", true
			}
			value, plain := plainEscaped(segs[i])
			if !plain || strings.ContainsAny(value, "/?#") {
				return "", false
			}
			v = value
		case want == "*" || strings.HasPrefix(want, "{") && strings.HasSuffix(want, "}"):
			if segs[i] == "" {
				return "", false
			}
		case segs[i] != want:
			return "", false
		}
	}
	return v, true
}
