package request

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

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
	disposition = regexp.MustCompile(`^ ?form-data; ?name=("[^"\\*]+"|[\w.-]+)(?:; ?(filename)=(?:"[^"\\*]*"|[\w.-]+))?$`)
	partType    = regexp.MustCompile(`^ ?([\w.+-]+/[\w.+-]+)(?:; ?[\w-]+=(?:[\w.+-]+|"[\w.+, -]*"))*$`)
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
	rest, ok := bytes.CutPrefix(r.Body, []byte(delimiter+"\r\n"))
	if !ok {
		return bad
	}
	for range maxParts {
		part, after, ok := bytes.Cut(rest, []byte("\r\n"+delimiter))
		// Some parsers look for the delimiter within a line, or behind other ends of lines.
		if !ok || bytes.Contains(part, []byte(delimiter)) {
			return bad
		}
		f, ok := readPart(part)
		if !ok {
			return bad
		}
		b.name(f.path[0], true)
		b.leaf(f, f.path[0])
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

func readPart(part []byte) (f field, ok bool) {
	head, content, found := bytes.Cut(part, []byte("\r\n\r\n"))
	if !found || len(head) > maxPartHeader {
		return f, false
	}
	typed := ""
	for line := range strings.SplitSeq(string(head), "\r\n") {
		key, value, colon := strings.Cut(line, ":")
		if !colon || !headers.IsToken(key) || hasControl(value) {
			return f, false // also a folded line
		}
		switch strings.ToLower(key) {
		case "content-disposition":
			twice := f.path != nil
			if f, ok = readDisposition(value); !ok || twice {
				return f, false
			}
		case "content-type":
			if typed != "" || !plainPartType(value) {
				return f, false
			}
			typed = strings.ToLower(partType.FindStringSubmatch(value)[1])
		default: // Content-Transfer-Encoding changes the content
			return f, false
		}
	}
	f.text, f.value = f.text && (typed == "" || typed == "text/plain"), string(content)
	return f, f.path != nil && readable(typed, content)
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
// says (@RequestPart of Spring): JSON also in UTF-16, XML, YAML, and parts within the part.
func readable(mediaType string, content []byte) bool {
	kind, sub, _ := strings.Cut(mediaType, "/")
	format := sub[strings.LastIndexByte(sub, '+')+1:]
	switch strings.TrimPrefix(format, "x-") {
	case "json":
		_, whole := readTree(content)
		return whole
	case "xml", "yaml", "yml", "cbor", "smile", "jackson-smile", "msgpack", "protobuf", "www-form-urlencoded":
		return kind == "image" // SVG
	}
	return kind != "multipart"
}

// readDisposition reads form-data with a name and perhaps a file name.
func readDisposition(value string) (f field, ok bool) {
	found := disposition.FindStringSubmatch(value)
	if found == nil || strings.Contains(value, "=?") { // an encoded word (RFC 2047)
		return f, false
	}
	names, name := 1, strings.Trim(found[1], `"`)
	file := found[2] != ""
	if file {
		names = 2
	}
	// A parser that looks for "name=" anywhere finds the same. Without a name, Rack takes the media type.
	text := strings.Join(strings.Fields(strings.ToLower(value)), "")
	if strings.Count(text, "name=") != names || strings.TrimSpace(name) == "" {
		return f, false
	}
	return field{path: []string{name}, text: !file}, true
}
