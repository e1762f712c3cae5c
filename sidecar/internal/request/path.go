package request

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPath bounds an application's path in bytes. It is the limit of the generated Envoy
// configuration for all headers together.
const maxPath = 60 << 10

// Path is an application path in every reading at once (ADR 11). Routers disagree on how
// often escapes are decoded, which characters separate segments, and what of a segment
// counts. So a Path is not one list of segments. It is a list of pieces, and of each piece
// it knows how it may be read. A [Template] is matched against all combinations.
type Path struct {
	pieces []piece
	routes []route // that parameters of the query name: see Path.Route; and what else the path is after fewer decodings
	room   int     // how many bytes of routes may follow
	dots   bool    // a piece may be read as a dot segment
	slash  bool    // an escape of a slash or backslash was sent
	query  string  // what follows a decoded question mark, decoded
}

// piece is the text between two characters that may separate segments.
type piece struct {
	name   string   // folded; "" when nothing is left
	more   []string // other names that a router may read in the segment
	text   string   // the whole text, where it is no word
	soft   bool     // the separator before it may also be a character of the segment
	open   bool     // a router may drop what follows the name, up to the end of the segment
	words  string   // letters and digits of the whole segment, for some routers its name; at its first piece only
	blank  bool     // a router may read nothing here
	preset bool     // the same, as the name is what the router puts in when there is none
	dots   bool     // a router may go up here, by a compatibility form of "..", or begin again (Astro)
	last   bool     // a router may end the path here, at a decoded question mark or number sign
}

// softSlash stands in decoded text for a character that only some routers read as a slash.
// No path contains it: control characters are refused.
const softSlash = '\x01'

// ReadPath reads a raw application path. It refuses what no application needs: control
// bytes, bad escapes, a number sign, dot segments.
func ReadPath(raw string) (Path, *Problem) {
	slash, ok := false, raw != "" && raw[0] == '/' && len(raw) <= maxPath
	if ok && !plainPath(raw) {
		slash, ok = checkPath(raw)
	}
	text := strings.ReplaceAll(raw, `\`, string(softSlash))
	read := []string{text}
	if strings.Contains(text, "%") {
		read = decodings(text)
	}
	if !ok || slices.ContainsFunc(read, hasDotSegment) {
		return Path{}, problem(400, ReasonPath,
			"the path contains characters, escapes or dot segments that are not allowed")
	}
	p := Path{slash: slash, room: maxRoutes}
	for i, text := range read {
		if _, query, found := strings.Cut(text, "?"); found {
			p.query += "&" + strings.ReplaceAll(query, string(softSlash), "/")
		}
		if i < len(read)-1 {
			r := route{after: root}
			r.split(text[1:])
			p.routes = append(p.routes, r)
		}
	}
	p.split(read[len(read)-1][1:])
	return p, nil
}

// plainPath reports whether a path has one reading only, apart from letter case and
// suffixes.
func plainPath(raw string) bool {
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '\\' || c == '#' {
			return false
		}
	}
	return true
}

// hasDotSegment reports whether a router would go up one segment.
func hasDotSegment(text string) bool {
	for rest := text; ; {
		i := strings.Index(rest, "..")
		if i < 0 {
			return false
		}
		start, end := strings.LastIndexFunc(rest[:i], separates), strings.IndexFunc(rest[i:], separates)
		if end < 0 {
			end = len(rest)
		} else {
			end += i
		}
		seg := rest[start+1 : end]
		if j := strings.IndexAny(seg, ";#?"); j >= 0 {
			seg = seg[:j]
		}
		if strings.TrimFunc(seg, blank) == ".." {
			return true
		}
		rest = rest[end:]
	}
}

// separates reports whether some router reads r, in decoded text, as a slash. ThinkPHP (Route.check) reads "|" so.
func separates(r rune) bool { return r == '/' || r == softSlash || r == '|' }

// split reads the pieces of decoded text. What is no text stands for a character.
func (p *Path) split(text string) {
	p.pieces = make([]piece, 0, 1+strings.Count(text, "/"))
	for segment := range strings.SplitSeq(text, "/") {
		p.addSegment(segment)
	}
	p.skipFronts()
	p.dots = slices.ContainsFunc(p.pieces, func(s piece) bool { return s.dots })
}

// addSegment appends the pieces of what is one segment for most routers. OData reads the key of an entity behind a
// bracket: Users(7) is Users/7. Shopware 5 and Zend Framework 1 keep the letters and digits of the segment.
func (p *Path) addSegment(text string) {
	first, soft := len(p.pieces), false
	for rest := foldForms(strings.ToValidUTF8(text, "\ufffd")); ; soft = true {
		i := strings.IndexFunc(rest, separates)
		key := strings.IndexByte(rest, '(')
		if opens := key > 0 && (i < 0 || key < i); opens {
			s := readPiece(rest[:key], soft)
			s.open = true
			p.pieces, rest = append(p.pieces, s), rest[key+1:]
			continue
		}
		if i < 0 {
			p.pieces = append(p.pieces, readPiece(rest, soft))
			break
		}
		p.pieces, rest = append(p.pieces, readPiece(rest[:i], soft)), rest[i+1:]
	}
	if soft || !ascii(text) || strings.ContainsAny(text, ";#?%") {
		p.pieces[first].words = onlyWords(text)
	}
}

// onlyWords keeps the letters and digits of ASCII, in lower case.
func onlyWords(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || between(byte(r)) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// skipFronts marks the pieces that a framework puts before the path that it runs, or behind it: it may read nothing
// there.
func (p *Path) skipFronts() {
	data := p.ends("page-data")
	for i := range p.pieces {
		to := 0
		switch p.pieces[i].name {
		case "_next": // Next.js: "/_next/data/BUILD/account.json" runs the page /account
			if next := p.after(i); next < len(p.pieces) && p.pieces[next].name == "data" {
				to = p.after(next) + 1
			}
		case "page-data": // Gatsby: "/page-data/account/page-data.json"
			if data {
				to = i + 1
			}
		}
		for ; i < min(to, len(p.pieces)); i++ {
			p.pieces[i].blank = true
		}
	}
}

// after returns the index of the first piece behind the one at i that has a name, len(p.pieces) when none has.
func (p *Path) after(i int) int {
	for i++; i < len(p.pieces) && p.pieces[i].name == ""; i++ {
	}
	return i
}

// ends reports whether the last piece with a name has this one.
func (p *Path) ends(name string) bool {
	i := len(p.pieces) - 1
	for i > 0 && p.pieces[i].name == "" {
		i--
	}
	return p.pieces[i].name == name
}

// readPiece reads the text of one piece. Most are words that have one reading.
func readPiece(text string, soft bool) piece {
	s := piece{name: text, soft: soft}
	if word(text) {
		s.preset = preset(text)
		s.dots = text == "_actions" // Astro routes what follows the last one
		return s
	}
	s.text = text
	if i := strings.IndexAny(text, ";#?"); i >= 0 {
		s.open, s.last = true, strings.ContainsAny(text[i:], "#?")
		text = text[:i]
	}
	text, layer := cutNamespace(text)
	text = strings.TrimFunc(text, blank)
	s.dots = text == ".."
	s.blank = layer || text == "" || text[0] == '.' || text == ")" || dropped(text)
	var suffixed bool
	s.name, suffixed = foldName(text)
	s.preset = preset(s.name)
	s.open = s.open || suffixed || text != "" && text[0] == '.'
	if strings.ContainsAny(text, ",:!)@") {
		s.more = names(text)
		s.open = true
	}
	if !ascii(s.name) {
		s.more = append(s.more, withoutMarks(s.name))
	}
	return s
}

// names returns what else some router takes for the name of a segment: each of a batch (tRPC, "a,b"), and what stands
// before a verb (Google, "users:batchUpdate"), a method (Struts, "profile!save") or behind a namespace of Zope.
func names(text string) (out []string) {
	for part := range strings.SplitSeq(text, ",") {
		part, _ = cutNamespace(strings.TrimFunc(part, blank))
		head, _ := cutAny(part, ":!)")
		for _, name := range [...]string{part, head} {
			if name, _ = foldName(name); name != "" {
				out = append(out, name)
			}
		}
	}
	return out
}

// cutNamespace cuts off the namespace in which Zope (zope.traversing) looks up a name: "@@profile" and
// "++view++profile" are both the view that "profile" means too. layer says that the segment may be no step of the path
// at all, like "++api++" and "++skin++name".
func cutNamespace(text string) (name string, layer bool) {
	if rest, found := strings.CutPrefix(text, "++"); found {
		if _, name, found := strings.Cut(rest, "++"); found {
			return name, true
		}
	}
	return strings.TrimPrefix(text, "@@"), false
}

// cutAny cuts s around the first of the signs.
func cutAny(s, signs string) (before, after string) {
	if i := strings.IndexAny(s, signs); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// dropped reports whether a server removes the segment before it routes: the script of a
// front controller (/index.php/account, /index.cfm/account), and the session of ASP.NET (/(S(x))/account).
func dropped(text string) bool {
	if text[0] == '(' {
		return strings.HasSuffix(text, ")")
	}
	ext := strings.ToLower(text[strings.LastIndexByte(text, '.')+1:])
	scripts := []string{"php", "cgi", "fcgi", "pl", "cfm", "dll", "exe", "py", "wsgi"}
	return len(ext) < len(text) && slices.Contains(scripts, ext)
}

// preset reports whether a segment is the name of a module, a controller or an action that routers take when the path
// has none (Zend Framework 1, ThinkPHP, Yii; "frontend" of Shopware 5), or the mapping that JSF has beside its suffix
// ("/faces/profile.xhtml").
func preset(name string) bool {
	return name == "index" || name == "default" || name == "frontend" || name == "faces"
}

func word(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// SCIM reports whether any reading is a path of a SCIM service: /scim, /scim/v2 and below.
func (p *Path) SCIM() bool {
	return Template{names: []string{"scim"}}.Matches(p) || Template{names: []string{"scim", version}}.Covers(p)
}

// EscapedSlash reports whether the path was sent with an escaped slash or backslash.
func (p *Path) EscapedSlash() bool { return p.slash }

// Query returns the raw query of the request, together with what an application that
// decodes the path first would take for the query.
func (p *Path) Query(raw string) string {
	if p.query == "" {
		return raw
	}
	return strings.Trim(raw+"&"+strings.ReplaceAll(strings.Trim(p.query, "&"), "%", "%25"), "&")
}
