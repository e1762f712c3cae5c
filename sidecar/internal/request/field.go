package request

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/scimward/scimward/store/scim"
)

// field is one leaf of a body.
type field struct {
	path  []string // its names from the outside in; "" is an element of a list
	value string   // of a text, or the content of a file
	text  bool
}

// name is the path as a form would write it: "user[email]".
func (f *field) name() string { return bracketed(f.path) }

func bracketed(path []string) string {
	if len(path) == 1 {
		return path[0]
	}
	var b strings.Builder
	for _, member := range path {
		switch {
		case member == "":
		case b.Len() == 0:
			b.WriteString(member)
		default:
			b.WriteString("[" + member + "]")
		}
	}
	return b.String()
}

// BodyNames are the names of all fields of a body, at any depth, for a rule that denies some of them. Text that
// is JSON has names too, also in the query, and a GraphQL document has those of its arguments and input fields.
type BodyNames struct {
	names    []string
	leaves   []field
	override bool
	words    []string
	document bool // and nothing names a stored one
}

// BodyNames reads a complete body as its content type says, and as applications do that ignore it.
func (r *Request) BodyNames() (*BodyNames, *Problem) {
	b := bodyReader{embedded: maxEmbedded}
	if p := r.readBody("", &b); p != nil {
		return nil, p
	}
	switch r.mediaType() {
	case typeForm:
		b.encoded(r.Body)
	case typeMultipart: // its files have any bytes
		if r.Method != http.MethodPost {
			b.asQuery(string(r.Body))
		}
	default:
		b.asForm(string(r.Body))
	}
	b.query(r.Query)
	return &BodyNames{b.names, b.fields, b.override, b.words, b.document && !b.stored}, b.bad
}

// encoded refuses a form with characters that no encoder of forms writes. Without them it is no JSON, XML or YAML,
// which many applications read whatever the content type says.
func (b *bodyReader) encoded(body []byte) {
	if bytes.ContainsAny(bytes.TrimRight(body, "\r\n"), "\"<>{}\\`\r\n\t") {
		b.bad = problem(400, ReasonBody, "the form has characters that a form does not contain: encode them with %")
	}
}

// asForm adds the names that a parser of forms finds in a body that is none. Bottle reads every body as a form, and
// PHP's parse_str any text.
func (b *bodyReader) asForm(body string) {
	for i, pair := range strings.Split(body, "&") {
		for j, part := range strings.Split(pair, ";") {
			name, _, assigned := strings.Cut(part, "=")
			switch {
			case i+j == 0 || !assigned && j > 0:
			case strings.Contains(name, `"`): // the text of JSON ends there, or goes on behind "\""
				b.names = append(b.names, formNames(name)...)
			default:
				b.name(unescapeForm(name), true)
			}
		}
	}
}

// asQuery adds the names that PHP's parse_str finds in a body of several parts. Applications read PUT and PATCH so,
// from php://input, which is empty for a POST of this type. It refuses nothing, because files have any bytes.
func (b *bodyReader) asQuery(body string) {
	_, rest, _ := strings.Cut(body, "&")
	for pair := range strings.SplitSeq(rest, "&") {
		name, _, _ := strings.Cut(pair, "=")
		b.names = append(b.names, formNames(name)...)
	}
}

// formNames returns the names that PHP finds in the name of a pair, as sent: the variable, and the path to its member.
// It returns none for what only prose has. Behind an index there may be any signs.
func formNames(sent string) []string {
	name, _, _ := strings.Cut(strings.TrimLeft(unescapeForm(sent), " "), "\x00")
	head, members, _ := strings.Cut(strings.ToValidUTF8(name, "\ufffd"), "[")
	if !nameLike(head) {
		return nil
	}
	names := []string{phpName(head)}
	name = names[0]
	for open := members; open != ""; { // a member is an index with any signs, and behind the last one is any text
		member, after, closed := strings.Cut(open, "]")
		switch {
		case nameLike(member) && closed:
			name += "[" + member + "]"
		case nameLike(member):
			name += "[" + member
		}
		open, _ = strings.CutPrefix(after, "[")
		if open == after {
			break
		}
	}
	if members != "" {
		names = append(names, name)
	}
	return names
}

// nameLike reports whether a text has no signs that only prose and addresses have, and the length of a name.
func nameLike(text string) bool {
	return len(text) <= MaxFieldName && !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) && !strings.ContainsRune("_-.[] \ufffd", r)
	})
}

// query adds the names in the texts of a query, which some frameworks merge with the body.
func (b *bodyReader) query(query string) {
	eachParameter(query, func(name, text string) {
		b.readText(name, text, maxEmbedded)
		b.stored = b.stored || namesStored(name, text)
	})
}

// DocumentNames are the names that a GraphQL request in the query may give: of the arguments and input fields of its
// document and of its variables, which servers find as JSON, in brackets and in lists. So next to a document every name
// of the query counts. Some servers run a mutation that comes with GET. It refuses variables that cannot be read.
func (r *Request) DocumentNames() ([]string, *Problem) {
	if r.Query == "" {
		return nil, nil
	}
	var b bodyReader
	document, documents, variables := len(r.DocumentWords()) > 0, documentName(), newFieldSet([]string{"variables"}, "")
	eachParameter(r.Query, func(name, text string) {
		if !document && !variables.Has(name) {
			return
		}
		var one bodyReader
		if runs(text) || !documents.Has(name) {
			one.readText(name, text, maxEmbedded)
		}
		b.names = append(append(b.names, name), one.names...)
		b.bad = cmp.Or(b.bad, one.bad)
	})
	return b.names, b.bad
}

// DocumentWords are all names in a GraphQL document in the query.
func (r *Request) DocumentWords() (words []string) {
	if r.Query != "" {
		eachParameter(r.Query, func(name, text string) {
			if runs(text) {
				words = append(words, textReader(name, text).words...)
			}
		})
	}
	return words
}

// runs reports whether a text may have a GraphQL document that does something: a search for words has no braces.
func runs(text string) bool { return strings.Contains(decodeAgain(text), "{") }

// unescapeForm decodes a name or value of a form as lenient parsers do, which keep bad escapes.
func unescapeForm(s string) string {
	out, _ := decodeOnce(strings.ReplaceAll(s, "+", " "), nil)
	return out
}

// Mention reports whether a name might be read as a field of a set.
func (b *BodyNames) Mention(set *FieldSet) bool {
	return slices.ContainsFunc(b.names, set.Has) ||
		set.across() && slices.ContainsFunc(b.leaves, func(f field) bool { return set.Has(f.name()) })
}

// Runs reports whether a GraphQL document of the body names one of the operations, in any place: a field of a
// mutation, of a fragment, or an alias.
func (b *BodyNames) Runs(operations map[string]bool) bool {
	return slices.ContainsFunc(b.words, func(w string) bool { return operations[w] })
}

// HasDocument reports whether the body is one GraphQL request with its document, and the query names no other.
// Otherwise the server may know what it runs by a hash or an id.
func (b *BodyNames) HasDocument() bool { return b.document }

// Override reports whether a field at the top replaces the method.
func (b *BodyNames) Override() bool { return b.override }

// fields reads a complete body as f, or as its own content type says when f is "".
func (r *Request) fields(f BodyFormat) ([]field, *Problem) {
	var b bodyReader
	if p := r.readBody(f, &b); p != nil {
		return nil, p
	}
	return b.fields, b.bad
}

// Media types of forms.
const (
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// maxEmbedded is how deep texts are within texts: the variables within the operations of GraphQL.
const maxEmbedded = 2

// bodyReader collects the fields of a body, and reads each name once. It refuses names that some parsers cut or
// that cost too much.
type bodyReader struct {
	fields    []field
	names     []string
	override  bool
	words     []string  // all names in GraphQL documents
	document  bool      // the body is a GraphQL request with its document
	stored    bool      // the query may name a stored document
	documents *FieldSet // made once
	embedded  int       // how deep it reads names in texts
	bad       *Problem
}

func (r *Request) readBody(f BodyFormat, b *bodyReader) *Problem {
	if p := r.NeedBody(); p != nil {
		return p
	}
	eachParameter(r.Query, b.charset)
	var is BodyFormat
	switch mt := r.mediaType(); {
	case mt == typeForm:
		is = Form
	case mt == typeMultipart && (f == "" || f == Multipart):
		return r.readMultipart(b)
	case mt == "application/json" || strings.HasPrefix(mt, "application/") && strings.HasSuffix(mt, "+json"):
		is = JSON
	}
	if is == "" || f != "" && f != is {
		return problem(415, ReasonContentType, "send the body of this route as a form or as JSON, in UTF-8")
	}
	if is == Form {
		return b.form(string(r.Body))
	}
	o, se := scim.DecodeObject(r.Body, scim.DefaultLimits())
	if se != nil {
		return problem(400, ReasonBody, "the body is not a JSON object that can be read in one way only")
	}
	b.json(nil, o)
	b.document = isGraphQL(o)
	return nil
}

func (b *bodyReader) form(body string) *Problem {
	values, err := url.ParseQuery(body)
	if err != nil || hasControl(strings.NewReplacer("\r", "", "\n", "", "\t", "").Replace(body)) {
		return problem(400, ReasonBody, "the body is not a form")
	}
	for name, vs := range values {
		b.name(name, slices.ContainsFunc(vs, func(v string) bool { return !staysWrite(name, v) }))
		for _, v := range vs {
			b.leaf(field{path: []string{name}, value: v, text: true}, name)
		}
	}
	return nil
}

// staysWrite reports whether a field of a form replaces the method by another one with which fields are judged: forms
// of Rails, Laravel and Symfony change with _method=patch or put.
func staysWrite(name, value string) bool {
	return name == "_method" && (strings.EqualFold(value, http.MethodPatch) || strings.EqualFold(value, http.MethodPut))
}

// phpName is the variable that PHP makes of a name: it cuts at the first bracket that is closed, and writes "_"
// for blanks and dots within, and for a bracket that nothing closes.
func phpName(name string) string {
	if !strings.ContainsAny(name, " .[") {
		return name
	}
	name = strings.TrimLeft(name, " ")
	if head, index, _ := strings.Cut(name, "["); strings.Contains(index, "]") {
		name = head
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '.' || r == '[' {
			return '_'
		}
		return r
	}, name)
}

// name notes a name of the body, which has to be text that no parser cuts or shortens, such as at NUL.
func (b *bodyReader) name(name string, top bool) {
	switch {
	case len(name) > MaxFieldName:
		b.bad = problem(400, ReasonBody, longName("a field of the body"))
	case hasControl(name) || !utf8.ValidString(name):
		b.bad = problem(400, ReasonBody, "a field of the body has a name with control characters or bad UTF-8")
	default:
		b.names = append(b.names, name)
		b.override = b.override || top && overrides(name)
	}
}

func (b *bodyReader) leaf(f field, name string) {
	b.fields = append(b.fields, f)
	b.charset(name, f.value)
	b.readText(name, f.value, b.embedded) // a file may be JSON
}

// charset refuses the field that changes the charset of a form (RFC 7578 §4.6), as Sling reads it.
func (b *bodyReader) charset(name, value string) {
	if strings.EqualFold(name, "_charset_") && !utf8Name(value) {
		b.bad = problem(400, ReasonBody, "send the form in UTF-8")
	}
}

// json adds the leaves below v. The decoder bounds depth and size.
func (b *bodyReader) json(path []string, v any) {
	n := len(path)
	f := field{path: path[:n:n]}
	under := func(name string, v any) { b.json(append(f.path, name), v) }
	switch v := v.(type) {
	case scim.Object:
		for name, e := range v {
			b.name(name, n == 0)
			under(name, e)
		}
		if len(v) > 0 || n == 0 {
			return
		}
	case []any:
		for _, e := range v {
			under("", e)
		}
		if len(v) > 0 {
			return
		}
	case string:
		f.value, f.text = v, true
	}
	name := ""
	for _, member := range f.path {
		if member != "" { // an element of a list has the name of the list
			name = member
		}
	}
	b.leaf(f, name)
}

// jsonFields returns the leaves of an object.
func jsonFields(o scim.Object) ([]field, *Problem) {
	var b bodyReader
	b.json(nil, o)
	return b.fields, b.bad
}

// readText adds the names in a text: those of a JSON text, and those of a GraphQL document.
func (b *bodyReader) readText(name, text string, depth int) {
	if depth == 0 {
		return
	}
	if b.documents == nil {
		b.documents = documentName()
	}
	document := b.documents.Has(name)
	if document {
		b.nameAll(argumentNames(text))
		b.words = append(b.words, documentWords(text)...)
	}
	text = jsonStart(text)
	if text == "" || !strings.Contains("{[\"", text[:1]) {
		return
	}
	if doc, whole := readTree([]byte(text)); whole {
		b.tree(doc, name, depth-1)
		return
	}
	if document || text[0] == '"' {
		return
	}
	b.lenient(text)
}

// jsonStart returns a text from where some decoder of JSON begins: behind blanks, comments, and the guard ")]}'"
// that Gson skips.
func jsonStart(text string) string {
	for {
		text = strings.TrimLeftFunc(text, func(r rune) bool {
			return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\ufeff'
		})
		switch {
		case strings.HasPrefix(text, ")]}'"):
			text = text[4:]
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		case strings.HasPrefix(text, "//"), strings.HasPrefix(text, "#"):
			end := strings.IndexAny(text, "\r\n")
			if end < 0 {
				return ""
			}
			text = text[end:]
		default:
			return text
		}
	}
}

// lenient adds the names in a text that begins as JSON and is none for this decoder: every word before a colon, or
// "=" in Gson, as other decoders take more (NaN, depth, names without quotes), and every word if there may be comments.
func (b *bodyReader) lenient(text string) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '=' })
	if len(parts) > 1 && strings.Contains(text, `\`) {
		b.bad = problem(400, ReasonBody, "a text of the request begins as JSON, has escapes, and is no JSON")
	}
	_, hash, _ := strings.Cut(text, "#") // a comment of Gson, up to the end of the line
	line := strings.Contains(text, "//") || strings.ContainsAny(hash, "\r\n")
	comments := strings.Contains(text, "/*") || line && strings.Contains(text, "{")
	for _, part := range parts[:max(0, len(parts)-1)] {
		words := strings.FieldsFunc(part, func(r rune) bool { return strings.ContainsRune(" \t\r\n\ufeff{}[]\"',/*;#>", r) })
		if n := len(words); n > 0 && !comments {
			words = words[n-1:]
			if strings.ContainsAny(words[0], "?&") { // a parameter in an address
				continue
			}
		}
		b.nameAll(words)
	}
}

// tree adds the names in a JSON text.
func (b *bodyReader) tree(t *tree, name string, depth int) {
	if t.kind == 's' {
		b.readText(name, t.text, depth)
	}
	for i, kid := range t.kids {
		if t.kind == 'o' {
			name = t.keys[i]
			b.name(name, false)
		}
		b.tree(kid, name, depth)
	}
}

func (b *bodyReader) nameAll(names []string) {
	for _, name := range names {
		b.name(name, false)
	}
}

// FoldField folds a field name: case, compatibility forms, the separators in which spellings differ, and the mark
// of a default in Spring ("!email").
func FoldField(name string) string {
	return foldCase(strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-[]!", r) || blankOrDot(r) {
			return -1
		}
		return r
	}, foldForms(name)))
}
