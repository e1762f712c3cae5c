package request

import (
	"slices"
	"strings"
)

// ReadsQuery reports whether a source reads the query parameter with this folded name.
func (s *Sources) ReadsQuery(key string) bool {
	for _, name := range s.queries {
		if foldCase(name) == key {
			return true
		}
	}
	return false
}

func (s *Sources) fromQuery(r *Request, _ *Path, out *[]Credential) *Problem {
	if r.Query == "" {
		return nil
	}
	for _, name := range s.queries {
		v, p := queryValue(r.Query, name)
		if p != nil {
			return p
		}
		if v == "" {
			continue
		}
		c, p := s.only(InQuery, name, "the query parameter "+name, v)
		if p != nil {
			return p
		}
		*out = append(*out, *c)
	}
	return nil
}

// fromMerged reads the query parameters with the names of body places, where a request reaches them, with every method.
// Many frameworks hand an application one list of the fields of body and query, so the application may take either.
func (s *Sources) fromMerged(r *Request, path *Path, out *[]Credential) *Problem {
	if r.Query == "" {
		return nil
	}
	seen := slices.Clone(s.queries) // a source of their own reads them
	for i := range s.all {
		src := &s.all[i]
		if !src.merged() || slices.Contains(seen, src.Name) || !s.reaches(i, path) {
			continue
		}
		seen = append(seen, src.Name)
		members := fieldPath(src.Name)
		if len(members) > 1 {
			if queryBelow(r.Query, members) {
				return problem(400, ReasonQuery, "send "+src.Name+" in the body only")
			}
			continue
		}
		v, p := queryValue(r.Query, members[0])
		if p != nil {
			return p
		}
		if v == "" {
			continue
		}
		c := s.match(v, func(i int, other *Source) bool {
			return other.Name == src.Name && s.reaches(i, path)
		})
		if c == nil {
			return problem(401, ReasonUnknownScheme,
				"the query parameter "+src.Name+" contains no credential of this application")
		}
		c.Merged = true
		*out = append(*out, *c)
	}
	return nil
}

// merged reports whether a query parameter can have the name of the body field: not inside GraphQL.
func (s *Source) merged() bool { return s.In == InBody && s.Body.Format != GraphQL }

// queryBelow reports whether some framework might read a parameter as the member of another at a path: Rails reads
// "user[email]" as the JSON {"user":{"email":…}}.
func queryBelow(query string, path []string) bool {
	place, found := spell(bracketed(path), false), false
	eachParameter(query, func(name, _ string) {
		s := spell(name, false)
		found = found || s.below(&place)
	})
	return found
}

// queryValue returns the decoded value of a query parameter, "" when it is absent or empty. It
// finds whatever a lenient parser might take for the parameter, and accepts only the plain form,
// once.
func queryValue(raw, name string) (string, *Problem) {
	folded, value, seen := FoldField(name), "", false
	bad := problem(400, ReasonQuery, "send the query parameter "+name+" exactly once, in its plain form")
	for pair := range strings.SplitSeq(raw, "&") {
		if !mentionsKey(pair, folded) {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		decoded, plain := plainEscaped(v)
		if seen || !ok || k != name || strings.ContainsAny(v, "+;") || v != "" && !plain {
			return "", bad
		}
		seen, value = true, decoded
	}
	return value, nil
}

// mentionsKey reports whether a pair, or a part of it after a semicolon or a decoded ampersand,
// might be read as the parameter with the folded name.
func mentionsKey(pair, folded string) bool {
	full, ok := decodeFully(strings.ReplaceAll(pair, "+", " "))
	if !ok {
		full, _ = decodeOnce(pair, nil)
	}
	for part := range strings.FieldsFuncSeq(pair+"&"+full, func(r rune) bool { return r == '&' || r == ';' || r == '?' }) {
		k, _, _ := strings.Cut(part, "=")
		for reading := range (sentName{k, func() []string { return []string{folded} }}).readings {
			if foldsTo(reading, folded) {
				return true
			}
		}
	}
	return false
}

// plainEscaped decodes a value of a path or a query once. plain is false when another reader
// might get another value, or one that is no credential.
func plainEscaped(v string) (value string, plain bool) {
	value, bad := decodeOnce(v, nil)
	return value, !bad && plainEscapes(v) && plainValue(value, true)
}
