package request

import (
	"bytes"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/store/scim"
)

// documentName is the name of a document in a GraphQL request. graphql-ruby takes a batch as "_json", which Rails makes
// of a list, so a document may be in any member, and its name may be "_json[][query]".
func documentName() *FieldSet { return newFieldSet([]string{"query"}, "") }

// requestNames are the members of a GraphQL request that decide what it does.
func requestNames() *FieldSet { return newFieldSet([]string{"query", "variables"}, "") }

// storedNames are the members by which servers find a document that they have stored.
func storedNames() *FieldSet {
	return newFieldSet([]string{
		"id", "key", "hash", "doc_id", "query_id", "document_id", "query_hash", "document_hash", "sha256_hash",
	}, "")
}

// graphQLQuery reports whether a query carries a GraphQL document or variables, which servers read
// on every method.
func graphQLQuery(query string) bool {
	if query == "" || queryHas(query, "query") || queryHas(query, "variables") {
		return query != ""
	}
	found, names := false, requestNames()
	eachParameter(query, func(name, text string) {
		one := textReader(name, text)
		found = found || one.bad != nil || slices.ContainsFunc(one.names, names.Has)
	})
	return found
}

// textReader reads the names in the text of a parameter.
func textReader(name, text string) *bodyReader {
	var b bodyReader
	b.readText(name, text, maxEmbedded)
	return &b
}

// namesStored reports whether a parameter may name a document that the server has stored.
func namesStored(name, text string) bool {
	if FoldField(name) == "variables" {
		return false
	}
	set := storedNames()
	return slices.ContainsFunc(append(textReader(name, text).names, name), func(n string) bool {
		return set.Has(n) || strings.Contains(FoldField(n), "persist")
	})
}

// variables returns the variable that a source names, of each request of a GraphQL body. The name of
// a variable is the client's choice; the name of an argument is the application's. So the document
// must not give the argument in another way: as a literal, as another variable, or as a default.
func (r *Request) variables(name string, path []string) ([]string, *Problem) {
	bad := problem(400, ReasonBody, "the body is not a GraphQL request in JSON that can be read in one way only")
	if mt := r.mediaType(); mt != "application/json" && mt != "application/graphql+json" {
		return nil, problem(415, ReasonContentType, "send the GraphQL request as JSON, in UTF-8")
	}
	body, batch := asBatch(r.Body)
	doc, se := scim.DecodeObject(body, scim.DefaultLimits())
	if se != nil {
		return nil, bad
	}
	requests := []any{doc}
	if batch {
		requests, _ = doc["batch"].([]any)
	}
	var out []string
	for _, one := range requests {
		request, ok := one.(scim.Object)
		if !ok {
			return nil, bad
		}
		v, p := variable(request, name, path)
		if p != nil {
			return nil, p
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return out, nil
}

// asBatch returns a body as one JSON object: a list of requests is its member "batch".
func asBatch(body []byte) (object []byte, batch bool) {
	if list := bytes.TrimLeft(body, " \t\r\n"); len(list) > 0 && list[0] == '[' {
		return slices.Concat([]byte(`{"batch":`), list, []byte("}")), true
	}
	return body, false
}

// variable reads one GraphQL request.
func variable(request scim.Object, name string, path []string) (string, *Problem) {
	fields, p := variableFields(request, name, path)
	if p != nil {
		return "", p
	}
	value, p := oneField(fields, name, path)
	if p != nil {
		return "", p
	}
	last := newFieldSet(path[len(path)-1:], "")
	for _, f := range fields {
		if !slices.Equal(f.path, path) && last.Has(f.name()) {
			return "", problem(400, ReasonBodySource, "send the variable "+name+" exactly once, as text, under this name")
		}
	}
	return value, nil
}

// variableFields returns the leaves of the variables of a request whose document gives the argument
// in no other way.
func variableFields(request scim.Object, name string, path []string) (fields []field, p *Problem) {
	last := path[len(path)-1]
	for member, value := range request {
		if value == nil {
			continue
		}
		switch FoldField(member) {
		case "query":
			document, ok := value.(string)
			if !ok || member != "query" || !givesOnlyAsVariable(document, last, len(path) == 1) {
				return nil, problem(400, ReasonBodySource, "send the argument "+last+" as the variable "+name+" only")
			}
		case "variables":
			variables, ok := value.(scim.Object)
			if !ok || member != "variables" {
				return nil, problem(400, ReasonBodySource, "send variables as one JSON object")
			}
			if fields, p = jsonFields(variables); p != nil {
				return nil, p
			}
		default:
			b := bodyReader{embedded: maxEmbedded}
			b.name(member, true)
			b.json([]string{member}, value)
			if b.bad != nil || slices.ContainsFunc(b.names, requestNames().Has) {
				return nil, problem(400, ReasonBodySource,
					"send the document of a GraphQL request as query only, not within "+member)
			}
		}
	}
	return fields, nil
}

// givesOnlyAsVariable reports whether a GraphQL document gives each argument and input field name
// only as the variable of the same name, without a default. When the variable has a path, it must not
// give it at all.
func givesOnlyAsVariable(document, name string, asVariable bool) bool {
	tokens, ok := graphQLTokens(document)
	if !ok {
		return false
	}
	for i := range arguments(tokens) {
		variable := asVariable && i+3 < len(tokens) && tokens[i+2] == "$" && tokens[i+3] == name
		defined := tokens[i-1] == "$" && !hasDefault(tokens[i+2:])
		if tokens[i] == name && !variable && !defined {
			return false
		}
	}
	return true
}

// argumentNames returns the names of the arguments and input fields that a GraphQL document gives. Of a text that
// is none, it returns every word.
func argumentNames(document string) []string {
	tokens, ok := graphQLTokens(document)
	if !ok {
		return everyWord(document)
	}
	var names []string
	for i := range arguments(tokens) {
		if tokens[i-1] != "$" {
			names = append(names, tokens[i])
		}
	}
	return names
}

// arguments yields where the tokens of a document have the name of an argument, an input field or, behind "$", a
// variable that is defined.
func arguments(tokens []string) iter.Seq[int] {
	return func(yield func(int) bool) {
		depth := 0
		for i, token := range tokens {
			switch {
			case token == "(":
				depth++
			case token == ")" && depth > 0:
				depth--
			case depth > 0 && nameByte(token[0]) && i+1 < len(tokens) && tokens[i+1] == ":" && !yield(i):
				return
			}
		}
	}
}

// everyWord returns the words of a text, and of a word that begins with a number also what may follow the number:
// some servers read "1email" and "0x1p0email" as a number and a name.
func everyWord(text string) []string {
	const longest = 64 // bytes of a name behind a number
	words := strings.FieldsFunc(text, func(r rune) bool { return r >= 0x80 || !nameByte(byte(r)) })
	for _, w := range words {
		if !digit(w[0]) {
			continue
		}
		for i := max(1, len(w)-longest); i < len(w); i++ {
			if !digit(w[i]) {
				words = append(words, w[i:])
			}
		}
	}
	return words
}

// documentWords returns all names in a GraphQL document, without the texts in it. Of a text that is none, it returns
// every word.
func documentWords(document string) []string {
	tokens, ok := graphQLTokens(document)
	if !ok {
		return everyWord(document)
	}
	return slices.DeleteFunc(tokens, func(t string) bool { return !nameByte(t[0]) })
}

// isGraphQL reports whether a body is one GraphQL request with its document, and without a member by which a server
// could find another one.
func isGraphQL(body scim.Object) bool {
	for member, value := range body {
		switch member {
		case "query", "operationName", "variables":
		case "extensions":
			if !plainExtensions(value) {
				return false
			}
		default:
			if value != nil { // Relay sends "id": null
				return false
			}
		}
	}
	document, _ := body["query"].(string)
	return len(documentWords(document)) > 0
}

// plainExtensions reports whether the extensions of a request name no stored document. Some servers take that
// whatever query says.
func plainExtensions(v any) bool {
	o, ok := v.(scim.Object)
	for name := range o {
		ok = ok && !strings.Contains(FoldField(name), "persist")
	}
	return ok || v == nil
}

// hasDefault reports whether a variable's type is followed by a default.
func hasDefault(tokens []string) bool {
	for _, token := range tokens {
		switch token {
		case "[", "]", "!":
		case "=":
			return true
		case "$", ")", "@":
			return false
		}
	}
	return false
}

// graphQLTokens splits a document into names and punctuators. A string is one token that no name is. ok is false for a
// document that not all servers split at the same places. Clients send texts as variables, so they seldom write one.
func graphQLTokens(document string) (tokens []string, ok bool) {
	if !sameLines(document) {
		return nil, false
	}
	for i := 0; i < len(document); {
		c, n := document[i], 1
		switch {
		case c == '#':
			if n = strings.IndexByte(document[i:], '\n'); n < 0 {
				return tokens, true
			}
		case c == '"':
			n = stringEnd(document[i:])
		case nameByte(c):
			n = nameEnd(document[i:])
		case !strings.ContainsRune(" \t\r\n,!$&()[]{}:=@|.+-", rune(c)):
			return nil, false
		}
		if n < 0 {
			return nil, false
		}
		if c > ' ' && c != ',' && c != '#' {
			tokens = append(tokens, document[i:i+n])
		}
		i += n
	}
	return tokens, true
}

// sameLines reports whether all servers see the same lines in a document, at whose ends comments end: graphql-ruby does
// not end a line at CR, and graphql-java ends one at further characters.
func sameLines(document string) bool {
	text := strings.NewReplacer("\r\n", "", "\n", "", "\t", "").Replace(document)
	return !hasControl(text) && utf8.ValidString(text)
}

// nameEnd returns the length of the name or number at the start of s, -1 for a number that letters follow.
func nameEnd(s string) int {
	n := 0
	for n < len(s) && nameByte(s[n]) {
		n++
	}
	if digit(s[0]) && !number(s[:n]) {
		return -1
	}
	return n
}

// number reports whether s consists of digits, and perhaps an exponent, whose sign and digits may follow.
func number(s string) bool {
	rest := strings.TrimLeft(s, "0123456789")
	return rest == "" || (rest[0] == 'e' || rest[0] == 'E') && strings.Trim(rest[1:], "0123456789") == ""
}

func nameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || digit(c)
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// stringEnd returns the length of the string at the start of s with its quotes, -1 when there is none that all servers
// end at the same place. A block string is read as the strings "", "text" and "", as servers do that know no block
// strings. In all others, some end it elsewhere.
func stringEnd(s string) int {
	if text, block := strings.CutPrefix(s, `"""`); block {
		n := strings.IndexAny(text, "\"\\\n")
		if n < 0 || !strings.HasPrefix(text[n:], `"""`) || strings.HasPrefix(text[n:], `""""`) {
			return -1
		}
		return n + len(`""""""`)
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i >= len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
				return -1
			}
			if s[i] == 'u' && !unicodeEscape.MatchString(s[i+1:]) { // some skip four characters
				return -1
			}
		case '"':
			return i + 1
		case '\n', '\r':
			return -1
		}
	}
	return -1
}

var unicodeEscape = regexp.MustCompile(`^(?:[0-9A-Fa-f]{4}|\{[0-9A-Fa-f]{1,8}\})`)
