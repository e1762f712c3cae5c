package request

import (
	"slices"
	"strings"
)

// reaches reports whether a request may be one for a body place: at its path or below it, where frameworks mount the
// handler (Express, Starlette) and scripts of PHP run too, or by a route that the query names. Nothing lies below "/".
func (s *Sources) reaches(i int, path *Path) bool {
	if s.all[i].In != InBody {
		return false
	}
	return s.paths[i].Matches(path) || len(s.paths[i].names) > 0 && s.paths[i].Reaches(path)
}

// own reports whether a request that reaches a body place is one that the place describes.
func (s *Sources) own(i int, r *Request, path *Path) bool {
	return s.all[i].Body.Method == r.Method && s.paths[i].Matches(path)
}

// exact reports whether the path of a body place has no placeholder and is the path of the request as sent. In any
// other reading, a handler above may get the request first: "/graphql/login" fits "/{tenant}/login", and PHP runs the
// script of "/login.php/oauth/token".
func (s *Sources) exact(i int, r *Request) bool {
	path := s.all[i].Body.Path
	return path == r.Path && !strings.ContainsAny(path, "{*")
}

// describes reports whether a request can only be one for the handler of a body place: nothing in it names another
// path or method.
func (s *Sources) describes(i int, r *Request, path *Path) bool {
	if !s.own(i, r, path) || !s.exact(i, r) || len(path.routes) > 0 {
		return false
	}
	names, bad := r.BodyNames()
	return bad == nil && !slices.ContainsFunc(names.names, overrides)
}

// bodyPlaces returns the indices of the sources that the application may read in the body, the described ones first. A
// handler may read the body whatever the method is. But where a place describes a request exactly, it is for its
// handler, and not for that of a place above.
func (s *Sources) bodyPlaces(r *Request, path *Path) []int {
	var own, others []int
	for i := range s.all {
		switch {
		case !s.reaches(i, path):
		case s.own(i, r, path):
			own = append(own, i)
		case r.MayHaveBody():
			others = append(others, i)
		}
	}
	if slices.ContainsFunc(own, func(i int) bool { return s.exact(i, r) }) {
		others = slices.DeleteFunc(others, func(i int) bool { return !s.paths[i].Matches(path) && !s.paths[i].routed(path) })
	}
	return append(own, others...)
}

// avoided refuses a GraphQL request for a body place that the application may read elsewhere.
func (s *Sources) avoided(r *Request, path *Path) *Problem {
	if r.Query == "" {
		return nil
	}
	for i := range s.all {
		if s.all[i].Body.Format == GraphQL && s.reaches(i, path) && graphQLQuery(r.Query) {
			return problem(400, ReasonBodySource, "send the GraphQL request in the body, not in the query")
		}
	}
	return nil
}

func (s *Sources) fromBody(r *Request, path *Path, out *[]Credential) *Problem {
	if p := s.avoided(r, path); p != nil {
		return p
	}
	type reading struct {
		name   string
		format BodyFormat
	}
	var seen []reading
	places := s.bodyPlaces(r, path)
	for _, i := range places {
		src := &s.all[i]
		one := reading{src.Name, src.Body.Format}
		if slices.Contains(seen, one) {
			continue
		}
		seen = append(seen, one)
		values, p := r.sourceFields(src, s.own(i, r, path))
		if p != nil {
			return p
		}
		for _, v := range values {
			c := s.match(v, func(i int, other *Source) bool { return other.Name == src.Name && slices.Contains(places, i) })
			if c == nil {
				return problem(401, ReasonUnknownScheme, "the field "+src.Name+" contains no credential of this application")
			}
			if !s.all[c.Source].Typed && !plainText(v) {
				return problem(400, ReasonBodySource, "the field "+src.Name+" contains characters that no credential has")
			}
			c.Merged = s.all[c.Source].Typed && !s.describes(i, r, path)
			if !slices.Contains(*out, *c) { // places of one name may find it in several formats
				*out = append(*out, *c)
			}
		}
	}
	return nil
}
