package request

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/headers"
)

// Bounds of a multipart body, whose size Envoy bounds.
const (
	maxParts      = 100
	maxPartHeader = 4 << 10
)

// The values that encoders of multipart/form-data write. Parsers differ in the rest of the grammar, also in what is
// in quotes: PHP takes the first "boundary" of the whole value, Rack ends a boundary at ";", formidable looks for
// "name=" anywhere, and parse-multipart-data splits at each "=".
var (
	multipartType = regexp.MustCompile(`^multipart/form-data; ?(?:charset=[\w-]+; ?)?` +
		`boundary=("[\w.+-]{1,70}"|[\w.+-]{1,70})(?:; ?charset=[\w-]+)?$`)
	disposition = regexp.MustCompile(`^ ?form-data; ?name=("[^"\\*]+"|[\w.-]+)` +
		`(?:; ?filename=("[^"\\*]*"|[\w.-]+)(?:; ?filename\*=(?:utf|UTF)-8''([\w.%!#$&+^|~-]*))?)?$`)
	partType = regexp.MustCompile(`^ ?([\w.+-]+/[\w.+-]+)(?:; ?[\w-]+=(?:[\w.+-]+|"[\w.+, -]*"))*$`)

	typeName = regexp.MustCompile(`(?i)name="?([\w.+, -]*)`)            // in the Content-Type of a part
	lineName = regexp.MustCompile(`name="([^"]*)"[\n|\r]`)              // as snippets for PHP find it anywhere in a part
	xmlName  = regexp.MustCompile(`<([^\s<>/=!?]+)|([^\s<>/='"]+)\s*=`) // of an element or attribute
	encoding = regexp.MustCompile(`(?i)^\x{feff}?<\?xml[^>]*encoding\s*=\s*["']([^"']*)`)
)

// readMultipart reads a multipart/form-data body (RFC 7578). Parsers disagree on much of its
// syntax, so only the form that browsers and libraries write is accepted: no preamble, lines that end
// with CRLF, one Content-Disposition with plain parameters. A file has a name but no text.
func (r *Request) readMultipart(b *bodyReader) *Problem {
	bad := problem(400, ReasonBody, "the body is not multipart/form-data that can be read in one way only")
	typed := multipartType.FindStringSubmatch(r.Headers["content-type"][0])
	if typed == nil {
		return bad
	}
	delimiter := "--" + strings.Trim(typed[1], `"`)
	within := boundaryText(delimiter)
	rest, ok := bytes.CutPrefix(r.Body, []byte(delimiter+"\r\n"))
	if !ok {
		return bad
	}
	for range maxParts {
		text, after, ok := bytes.Cut(rest, []byte("\r\n"+delimiter))
		if !ok || bytes.Contains(text, within) {
			return bad
		}
		p, ok := readPart(text)
		if !ok {
			return bad
		}
		b.part(p)
		switch {
		case string(after) == "--" || string(after) == "--\r\n":
			return nil
		case !bytes.HasPrefix(after, []byte("\r\n")):
			return bad
		}
		rest = after[2:]
	}
	return problem(400, ReasonBody, "the body has too many parts")
}

// boundaryText returns the text that may be in delimiters only. Sanic splits a body at the boundary, without hyphens or
// the start of a line. Snippets for PHP take it for a regular expression, in which "." and "+" stand for other signs,
// and take quotation marks or a further parameter for a part of it. Every reading has the longest text between them.
func boundaryText(delimiter string) []byte {
	longest := ""
	for _, text := range strings.FieldsFunc(delimiter, func(r rune) bool { return r == '.' || r == '+' }) {
		if text = strings.Trim(text, "-"); len(text) > len(longest) {
			longest = text
		}
	}
	return []byte(longest) // "" is in every part
}

// part is one part of a multipart body.
type part struct {
	field
	quoted bool     // its Content-Disposition ends with a quotation mark
	others []string // names that only some parsers take for that of the field
	inner  []string // names within its content
}

// part adds the field of a part, and names that snippets for PHP take for that of the field: the last `name="…"` that
// ends a line of the header, which may be that of the file, or one within the text.
func (b *bodyReader) part(p part) {
	b.name(p.path[0], !staysWrite(p.path[0], p.value))
	b.leaf(p.field, p.path[0])
	if !p.quoted {
		for _, found := range lineName.FindAllStringSubmatch(p.value, -1) {
			p.others = append(p.others, found[1])
		}
	}
	for _, name := range p.others { // they refuse nothing, because files have any names and bytes
		name = strings.ToValidUTF8(name[:min(len(name), MaxFieldName)], "\ufffd")
		b.names = append(b.names, name)
		b.fields = append(b.fields, field{path: []string{name}})
	}
	b.nameAll(p.inner)
}

func readPart(text []byte) (p part, ok bool) {
	head, content, found := bytes.Cut(text, []byte("\r\n\r\n"))
	if !found || len(head) > maxPartHeader {
		return p, false
	}
	lines := map[string]string{}
	for line := range strings.SplitSeq(string(head), "\r\n") {
		key, value, colon := strings.Cut(line, ":")
		key = strings.ToLower(key)
		if _, twice := lines[key]; twice || !colon || !headers.IsToken(key) || hasControl(value) {
			return p, false // also a folded line
		}
		lines[key] = value
		switch key {
		case "content-disposition":
			ok = p.readDisposition(value)
		case "content-type":
			ok = plainPartType(value)
		case "content-length":
			ok = strings.TrimPrefix(value, " ") == strconv.Itoa(len(content))
		default: // Content-Transfer-Encoding changes the content
			return p, false
		}
		if !ok {
			return p, false
		}
	}
	typed := ""
	if value, named := lines["content-type"]; named {
		typed = strings.ToLower(partType.FindStringSubmatch(value)[1])
		for _, found := range typeName.FindAllStringSubmatch(value, -1) {
			p.other(found[1])
		}
	}
	p.text, p.value = p.text && (typed == "" || typed == "text/plain"), string(content)
	return p, p.path != nil && p.readable(typed, content)
}

// other notes a name that is not that of the field. The name of a file usually has a dot, that of a field has none.
func (p *part) other(name string) {
	if name != "" && !strings.Contains(name, ".") {
		p.others = append(p.others, name)
	}
}

// plainPartType reports whether all parsers find the same in the Content-Type of a part, and whether it leaves the text
// as it is. Some decode what charset says, and know base64 as one.
func plainPartType(value string) bool {
	if !partType.MatchString(value) {
		return false
	}
	value = strings.ToLower(value)
	_, charset, named := strings.Cut(value, "charset")
	return !named || slices.Contains([]string{"=utf-8", "=us-ascii"}, strings.ReplaceAll(charset, `"`, ""))
}

// readable reports whether a part has no names but those that are read here. Frameworks decode a part as its own type
// says (@RequestPart of Spring): JSON, XML, YAML, and parts within the part.
func (p *part) readable(mediaType string, content []byte) bool {
	if wideJSON(content) {
		return false
	}
	kind, sub, _ := strings.Cut(mediaType, "/")
	format := sub[strings.LastIndexByte(sub, '+')+1:]
	switch strings.TrimPrefix(format, "x-") {
	case "json":
		_, whole := readTree(content)
		return whole
	case "xml":
		return kind == "image" && p.readDrawing(content)
	case "yaml", "yml", "cbor", "smile", "jackson-smile", "msgpack", "protobuf", "www-form-urlencoded":
		return false
	}
	return kind != "multipart"
}

// wideJSON reports whether a content may be JSON in UTF-16 or UTF-32. Jackson finds these without a charset, in every
// type that some provider takes for JSON, such as application/javascript and application/x-ndjson.
func wideJSON(content []byte) bool {
	i := 0
	for i < len(content) && strings.IndexByte("\x00 \t\r\n\xfe\xff", content[i]) >= 0 {
		i++
	}
	return i < len(content) && (content[i] == '{' || content[i] == '[') &&
		(i > 0 && content[i-1] == 0 || i+1 < len(content) && content[i+1] == 0)
}

// readDrawing notes the names in SVG, which providers of Jackson and Jersey read as any other XML. It refuses what may
// hide some: an encoding, entities, and attributes that the DTD adds.
func (p *part) readDrawing(content []byte) bool {
	named := encoding.FindSubmatch(content)
	if named != nil && !strings.EqualFold(string(named[1]), "utf-8") || !utf8.Valid(content) {
		return false
	}
	for _, sign := range [...]string{"\x00", "<!ENTITY", "<!ATTLIST"} {
		if bytes.Contains(content, []byte(sign)) {
			return false
		}
	}
	seen := map[string]bool{}
	for _, found := range xmlName.FindAllStringSubmatch(string(content), -1) {
		if name := found[1] + found[2]; !seen[name] {
			seen[name] = true
			p.inner = append(p.inner, name)
		}
	}
	return true
}

// readDisposition reads form-data with a name and perhaps a file name.
func (p *part) readDisposition(value string) bool {
	found := disposition.FindStringSubmatch(value)
	if found == nil || strings.Contains(value, "=?") { // an encoded word (RFC 2047)
		return false
	}
	names, name, file := 1, strings.Trim(found[1], `"`), found[2] != ""
	if file {
		names = 2
	}
	decoded, bad := decodeOnce(found[3], nil)
	// A parser that looks for "name=" anywhere finds the same. Without a name, Rack takes the media type.
	if bad || hasControl(decoded) || strings.Contains(squeezed(decoded), "name=") ||
		strings.Count(squeezed(value), "name=") != names || strings.TrimSpace(name) == "" {
		return false
	}
	p.field, p.quoted = field{path: []string{name}, text: !file}, strings.HasSuffix(value, `"`)
	p.other(strings.Trim(found[2], `"`))
	p.other(decoded)
	return true
}

func squeezed(text string) string { return strings.Join(strings.Fields(strings.ToLower(text)), "") }
