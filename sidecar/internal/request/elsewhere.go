package request

import (
	"slices"
	"strings"
)

// namedPlace is a place with a name that some framework also finds in other carriers.
type namedPlace struct {
	Source
	elsewhere carrier
	folded    string
	path      *spelled // of a name with members: "user[token]", "/auth/token"
}

// nameElsewhere notes the carriers in which a place is looked for beside its own. Places that need more than a name,
// such as a header or the variables of GraphQL, are in none.
func (s *Sources) nameElsewhere(src *Source) {
	place := namedPlace{Source: *src, folded: FoldField(src.Name)}
	switch {
	case src.In == InCookie && s.ReadsQuery(foldCase(src.Name)):
		place.elsewhere = ofMatrix
	case src.In == InCookie:
		place.elsewhere = ofQuery | ofMatrix
	case src.In == InQuery || src.merged():
		place.elsewhere = ofCookies | ofMatrix | ofSegments
	default:
		return
	}
	same := func(n namedPlace) bool { return n.In == src.In && n.Name == src.Name && n.Starts == src.Starts }
	if slices.ContainsFunc(s.named, same) {
		return
	}
	if members := fieldPath(src.Name); len(members) > 1 || strings.Contains(src.Name, "[") {
		path := spell(bracketed(members), false)
		place.path = &path
	}
	s.named, s.elsewhere = append(s.named, place), s.elsewhere|place.elsewhere
	s.foldedNames = appendNew(s.foldedNames, place.folded)
}

// maxOddNames is how many names that are not plain a request may have in cookies, query and path, as each has many
// readings.
const maxOddNames = 2048

// fromElsewhere reads the credentials that some framework takes for those of a cookie, a query parameter or a field of
// the body in another carrier. Most parameters of such a name have nothing to do with the place, so a value that the
// application does not know is none. The session in the path is one: servlet containers write it there.
func (s *Sources) fromElsewhere(r *Request, path *Path, out *[]Credential) *Problem {
	if len(s.cookies) > 0 && cookieless(r.Path) {
		return problem(400, ReasonPath, "send the session as a cookie, not in the path")
	}
	var bad *Problem
	odds := 0
	path.parameters(r, s.elsewhere, func(p parameter) {
		if p.value == "" || p.in == ofCookies && s.ownCookie(p.name) {
			return
		}
		var odd []string
		if bad == nil && !plainName(p.name) {
			if odds++; odds > maxOddNames {
				bad = problem(400, p.reason(), "the request has more names with signs than any application needs")
				return
			}
			odd = oddReadings(p.name, s.knownNames)
		}
		for i := range s.named {
			if place := &s.named[i]; bad == nil && place.elsewhere&p.in != 0 {
				bad = s.fromParameter(place, &p, odd, path, out)
			}
		}
	})
	return bad
}

// knownNames returns the names of all places that may be elsewhere.
func (s *Sources) knownNames() []string { return s.foldedNames }

// ownCookie reports whether a cookie is one of a cookie place, in its plain form.
func (s *Sources) ownCookie(name string) bool {
	return slices.ContainsFunc(s.cookies, func(c Source) bool { return c.names(name) })
}

// fromParameter reads a parameter that may be of a place. What it finds is a credential the application may know, and
// what no source fits is mostly something else with the same name:
//
//	place    carrier          value that no source fits   value that the application does not know
//	cookie   matrix           refused                     refused, as for a cookie
//	cookie   query, segments  passes                      passes
//	query    each             passes                      passes
//	body     each             passes                      passes; a typed name is looked up like that of the body
//
// The path parameter of Jetty and Tomcat stays "jsessionid" where the cookie has another name, so it counts for each
// cookie that its value fits; it passes when none does.
//
// odd are the readings of a name that is not plain.
func (s *Sources) fromParameter(place *namedPlace, p *parameter, odd []string, path *Path, out *[]Credential) *Problem {
	named := place.namedBy(p, odd)
	session := place.In == InCookie && p.in == ofMatrix && !strings.Contains(p.value, "/")
	if !named && !(session && p.isServletSession()) {
		return nil
	}
	asCookie := named && session
	if bad := place.rewritten(p); bad != nil {
		return bad
	}
	fits := false
	for _, v := range p.values() {
		c := s.ofPlace(place, v, path)
		if c == nil {
			continue
		}
		fits = true
		src := &s.all[c.Source]
		c.Merged = src.Typed
		c.Ordinary = !asCookie && (p.in == ofCookies || !src.Typed)
		switch {
		case src.Typed || plainValue(v, true) || src.words(v) || p.in == ofCookies && plainText(v):
			*out = appendNew(*out, *c)
		case p.in == ofCookies || p.in == ofSegments: // no credential has such characters, and most of these have none
		default:
			return place.problem(400, p.reason(), "has characters that no credential has")
		}
	}
	if asCookie && !fits {
		return place.problem(401, ReasonInvalid, "contains no credential of this application")
	}
	return nil
}

func (n *namedPlace) problem(status int, reason, what string) *Problem {
	return problem(status, reason, "the parameter "+n.Name+", which has the name of a place with a credential, "+what)
}

// rewritten refuses a value from which some framework makes one that cannot be foreseen.
func (n *namedPlace) rewritten(p *parameter) *Problem {
	switch {
	case n.In == InCookie && p.in == ofQuery && strings.Contains(decodeAgain(p.name), ":"):
		return n.problem(400, ReasonQuery, "has a converter of Zope, which may decode it")
	case p.in == ofSegments && strings.ContainsAny(p.value, "<>"):
		return n.problem(400, ReasonPath, "has a tag of HTML, which ThinkPHP drops")
	}
	return nil
}

// isServletSession reports whether the parameter has the name that the specification of
// Jakarta Servlet gives to the session in a path.
func (p *parameter) isServletSession() bool {
	for reading := range (sentName{p.name, servletSession}).readings {
		if reading == servletSession()[0] {
			return true
		}
	}
	return false
}

func servletSession() []string { return []string{"jsessionid"} }

// ofPlace returns the credential that a value is in a place, nil when no source fits it or the place is not reached.
func (s *Sources) ofPlace(place *namedPlace, value string, path *Path) *Credential {
	if value == "" {
		return nil
	}
	return s.match(value, func(i int, src *Source) bool {
		return src.In == place.In && src.Name == place.Name && src.Starts == place.Starts &&
			(src.In != InBody || src.merged() && s.reaches(i, path))
	})
}

// reason is that of a problem with the parameter.
func (p *parameter) reason() string {
	switch p.in {
	case ofCookies:
		return ReasonCookieForm
	case ofQuery:
		return ReasonQuery
	case ofMatrix, ofSegments:
	}
	return ReasonPath
}

// namedBy reports whether some framework takes the parameter for the one of the place. odd are the readings of a name
// that is not plain.
func (n *namedPlace) namedBy(p *parameter, odd []string) bool {
	if n.path != nil {
		name := spell(p.name, false)
		return name.below(n.path)
	}
	reads := func(name string) bool {
		return foldsTo(name, n.folded) || n.Starts && strings.HasPrefix(FoldField(name), n.folded)
	}
	if odd == nil {
		return reads(foldCase(p.name))
	}
	return slices.ContainsFunc(odd, reads)
}

// foldsTo is FoldField(name) == folded. It takes no memory for ASCII.
func foldsTo(name, folded string) bool {
	if !plainName(name) {
		return FoldField(name) == folded
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '-':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if folded == "" || folded[0] != c {
			return false
		}
		folded = folded[1:]
	}
	return folded == ""
}

// words reports whether a value may be words, which no place has: "Opening Keynote". The application is asked for them
// all the same, as decoders of base64 skip blanks.
func (s *Source) words(value string) bool {
	return s.Prefix == "" && !s.JWT && plainText(value) && plainValue(strings.ReplaceAll(value, " ", ""), true)
}

// cookieless reports whether ASP.NET finds a session or a ticket in a path: "/(S(id))", "/(X(1)F(ticket))".
func cookieless(raw string) (found bool) {
	if !strings.ContainsAny(raw, "(%") {
		return false
	}
	for _, text := range decodings(raw) {
		eachSegment(text, func(segment, _ string) {
			found = found || len(segment) > 3 && segment[0] == '(' && segment[2] == '(' && nameByte(segment[1])
		})
	}
	return found
}
