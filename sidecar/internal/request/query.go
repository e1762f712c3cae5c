package request

import "strings"

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
		for range maxDecodes {
			k, _ = decodeOnce(k, nil)
		}
		whole := FoldField(k)
		k, _, _ = strings.Cut(k, "[")
		if whole == folded || FoldField(k) == folded {
			return true
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
