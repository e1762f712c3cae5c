package request

import (
	"bytes"
	"mime"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Bounds of a multipart body, whose size Envoy bounds.
const (
	maxParts      = 100
	maxPartHeader = 4 << 10
)

// readMultipart reads a multipart/form-data body (RFC 7578). Parsers disagree on much of its
// syntax, so only the form that browsers and libraries write is accepted: no preamble, lines that end
// with CRLF, one Content-Disposition with plain parameters. A file has a name but no text.
func (r *Request) readMultipart(b *bodyReader) *Problem {
	bad := problem(400, ReasonBody, "the body is not multipart/form-data that can be read in one way only")
	_, params, err := mime.ParseMediaType(r.Headers["content-type"][0])
	boundary := params["boundary"]
	if err != nil || boundary == "" || len(boundary) > 70 || !visible(boundary, 70) {
		return bad
	}
	rest, ok := bytes.CutPrefix(r.Body, []byte("--"+boundary+"\r\n"))
	if !ok {
		return bad
	}
	end := []byte("\r\n--" + boundary)
	for range maxParts {
		part, after, ok := bytes.Cut(rest, end)
		if !ok {
			return bad
		}
		name, f, ok := readPart(part, boundary)
		if !ok {
			return bad
		}
		b.name(name, true)
		b.leaf(f, name)
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

func readPart(part []byte, boundary string) (name string, f field, ok bool) {
	head, content, found := bytes.Cut(part, []byte("\r\n\r\n"))
	// A boundary at the start of a line that ends otherwise ends the part for some parsers.
	if !found || len(head) > maxPartHeader || bytes.Contains(content, []byte("\n--"+boundary)) ||
		bytes.Contains(content, []byte("\r--"+boundary)) {
		return "", f, false
	}
	disposed, typed, text := false, false, true
	for line := range strings.SplitSeq(string(head), "\r\n") {
		key, value, colon := strings.Cut(line, ":")
		if !colon || !headers.IsToken(key) || hasControl(value) {
			return "", f, false // also a folded line
		}
		switch strings.ToLower(key) {
		case "content-disposition":
			if disposed {
				return "", f, false
			}
			if name, f, disposed = readDisposition(strings.TrimSpace(value)); !disposed {
				return "", f, false
			}
		case "content-type":
			if typed || !oneCharset(value) {
				return "", f, false
			}
			typed = true
			text = strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), "text/plain")
		default: // Content-Transfer-Encoding changes the content
			return "", f, false
		}
	}
	f.text, f.value = f.text && text, string(content)
	return name, f, disposed
}

// oneCharset reports whether a Content-Type of a part leaves its text as it is. Some parsers decode what
// charset says, and know base64 as one.
func oneCharset(value string) bool {
	_, params, err := mime.ParseMediaType(value)
	charset, named := params["charset"]
	return err == nil && sameParameters(value, params) &&
		(!named || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii"))
}

// readDisposition reads form-data with a name and perhaps a filename, quoted or not, each once.
func readDisposition(value string) (name string, f field, ok bool) {
	kind, params, err := mime.ParseMediaType(value)
	name, named := params["name"]
	if err != nil || kind != "form-data" || !named || strings.ContainsAny(value, `\*`) || strings.Contains(value, "=?") {
		return "", f, false // escapes, extended parameters and encoded words (RFC 2047) have several readings
	}
	for param := range params {
		if param != "name" && param != "filename" {
			return "", f, false
		}
	}
	_, file := params["filename"]
	return name, field{path: []string{name}, text: !file}, true
}
