package request

import "strings"

// fromParameters reads what an application may take for a cookie of a place in the path or the query.
//
// A servlet container takes the session from the path where no cookie has it ("/account;jsessionid=ID"), and writes
// such links. Zope and ColdFusion take a cookie from the query first.
func (s *Sources) fromParameters(r *Request, _ *Path, out *[]Credential) *Problem {
	if len(s.cookies) == 0 {
		return nil
	}
	if strings.ContainsAny(r.Path, ";%") || strings.Contains(r.Path, "/(") {
		if p := s.fromPathParameters(r.Path, out); p != nil {
			return p
		}
	}
	var bad *Problem
	if r.Query != "" {
		eachParameter(r.Query, func(name, value string) {
			if bad == nil {
				bad = s.fromCookieKey(name, value, out)
			}
		})
	}
	return bad
}

func (s *Sources) fromPathParameters(raw string, out *[]Credential) *Problem {
	text, _ := collapse(raw)
	for segment := range strings.FieldsFuncSeq(text, separates) {
		if cookieless(segment) {
			return problem(400, ReasonPath, "send the session as a cookie, not in the path")
		}
		_, parameters, _ := strings.Cut(segment, ";")
		for parameter := range strings.SplitSeq(parameters, ";") {
			if p := s.fromPathParameter(raw, parameter, out); p != nil {
				return p
			}
		}
	}
	return nil
}

// fromPathParameter reads one parameter of a segment. The path parameter of Jetty and Tomcat stays "jsessionid" where
// the cookie has another name, so it counts for each cookie that its value fits.
func (s *Sources) fromPathParameter(raw, parameter string, out *[]Credential) *Problem {
	name, value, _ := strings.Cut(parameter, "=")
	if value == "" {
		return nil
	}
	named, session := s.cookieNamed(name), foldCookie(name) == "jsessionid"
	for i := range s.cookies {
		place := &s.cookies[i]
		if place != named && !session {
			continue
		}
		what := "the path parameter " + place.Name
		if session {
			what = "the path parameter jsessionid"
		}
		c := s.inCookie(place, value)
		switch {
		case c == nil && place != named:
			continue
		case !plainValue(value, false) || !strings.Contains(raw, "="+value):
			return problem(400, ReasonPath, "send "+what+" in its plain form")
		case c == nil:
			return problem(401, ReasonInvalid, what+" contains no credential of this application")
		}
		c.Ordinary = place != named
		*out = append(*out, *c)
	}
	return nil
}

// cookieless reports whether ASP.NET finds a session or a ticket in a segment: "(S(id))", "(X(1)F(ticket))".
func cookieless(segment string) bool {
	return len(segment) > 3 && segment[0] == '(' && segment[2] == '(' && nameByte(segment[1])
}

// fromCookieKey reads a parameter of the query with the name of a cookie. Most applications have other parameters under
// such names, so a value that fits no source is none.
func (s *Sources) fromCookieKey(name, value string, out *[]Credential) *Problem {
	place := s.cookieNamed(name)
	if place == nil || value == "" || s.ReadsQuery(foldCase(name)) {
		return nil
	}
	c := s.inCookie(place, value)
	if c == nil {
		return nil
	}
	if strings.Contains(name, ":") {
		return problem(400, ReasonQuery, "the query parameter "+place.Name+
			" has the name of a cookie with a credential, and a converter of Zope")
	}
	c.Ordinary = true
	*out = append(*out, *c)
	switch {
	case plainValue(value, place.Escapes):
		return nil
	case !s.all[c.Source].words(value):
		return problem(400, ReasonQuery, "the query parameter "+place.Name+
			" has the name of a cookie with a credential, and characters that no credential has")
	}
	c.Value = strings.ReplaceAll(value, " ", "+") // as readers have it that leave the sign
	*out = append(*out, *c)
	return nil
}

// words reports whether a value may be words, which no cookie has: "Opening Keynote". The application is asked for them
// all the same, as decoders of base64 skip blanks.
func (s *Source) words(value string) bool {
	return s.Prefix == "" && !s.JWT && !s.Typed && plainText(value) &&
		plainValue(strings.ReplaceAll(value, " ", ""), s.Escapes)
}

// cookieNamed returns the place of the cookie that may have the name of a parameter, nil when none has. Zope cuts
// converters off the name ("__ac:string"), some of which decode the value ("__ac:utf-7:ustring").
func (s *Sources) cookieNamed(name string) *Source {
	name, _, _ = strings.Cut(name, ":")
	folded := foldCookie(name)
	for i := range s.cookies {
		place := &s.cookies[i]
		if own := foldCookie(place.Name); folded == own || place.Starts && strings.HasPrefix(folded, own) {
			return place
		}
	}
	return nil
}

// inCookie returns the credential that a value is in a cookie of a place, nil when no source fits it.
func (s *Sources) inCookie(place *Source, value string) *Credential {
	return s.match(value, func(_ int, src *Source) bool {
		return src.In == InCookie && src.Name == place.Name && src.Starts == place.Starts
	})
}
