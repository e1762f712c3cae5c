package request

import (
	"slices"
	"strings"
)

// maxCredentials bounds how many credentials one request may carry.
const maxCredentials = 8

// Place is where on a request a source looks.
type Place string

// The places.
const (
	InHeader Place = "header"
	InCookie Place = "cookie"
	InBody   Place = "body" // only on the route that Source.Body names
	InQuery  Place = "query"
	InPath   Place = "path"
	// InProtocol is a member of the Sec-WebSocket-Protocol list.
	InProtocol Place = "websocket_protocol"
	InBasic    Place = "basic" // one half of Basic authentication (RFC 7617)
)

// The halves of Basic authentication, as names of sources.
const (
	BasicUser     = "user"
	BasicPassword = "password"
)

// Source is one place where a credential of the application may be.
type Source struct {
	In Place
	// Name is the cookie name (exact), the header name in any case, the field of a body, the
	// query parameter, the template of the path with one {credential}, the start of the protocol,
	// or the half of Basic authentication. A field of a JSON body may be a JSON pointer.
	Name   string
	Scheme string    // InHeader: authorization scheme before the value, any case; "" means the whole value
	Prefix string    // literal start of the value, such as "pat_"; "" fits every value
	Body   BodyRoute // InBody
	JWT    bool      // fits values of three parts only
	Typed  bool      // InBody, InBasic: a person types the value, so it may be any text
	// GatewayName says that a gateway sets the value of the header: the name of a person, in UTF-8 or as
	// RFC 8187 writes it.
	GatewayName bool
	Starts      bool // InCookie: Name is the start of the names of several cookies
	// Chunked says, for InCookie, that the application splits a long value over the cookies
	// Name.0, Name.1 and so on.
	Chunked bool
	// Apart names, for Chunked, cookies whose names start with Name and that hold no part of the value.
	Apart []string
	// Escapes says that the application writes %-escapes into the cookie value, as Express
	// does ("s%3A…"). Escapes that no writer makes stay refused: of letters and digits, of
	// control characters and of the percent sign. Prefix is written with its escapes.
	Escapes bool
}

// BodyRoute is a route with a credential in its body. Envoy must buffer the body.
type BodyRoute struct {
	Method string // "POST"
	Path   string // template, "/oauth/token"
	Format BodyFormat
}

// Credential is a value that a source reads.
type Credential struct {
	Source  int // index in the list that NewSources got
	In      Place
	Name    string // as the source says
	Value   string // with the prefix, without the scheme; a secret
	cookies string // names of the cookies, separated by blanks
	// Merged says that the application may take another value, or run another handler, than that of the body place: a
	// parameter of the query has its name, or a typed name is in a request that the place does not describe exactly.
	Merged bool
	// Ordinary says that the value is in another place than the source's, where it may also be no credential at all:
	// a parameter of the query with the name of a cookie, the session of a servlet container in the path for a cookie
	// of another name, a cookie with the name of a field, a token behind an ignored scheme.
	Ordinary bool
}

// Where names the place of the credential: "cookie:session", "header:authorization".
func (c *Credential) Where() string { return string(c.In) + ":" + c.Name }

// Cookie is the name of the cookie with the credential, several names separated by blanks when
// it is split, "" for another place.
func (c *Credential) Cookie() string { return c.cookies }

// Canonical is the value as the application reads it: a cookie's escapes can be written
// in several ways ("%3A", "%3a", ":").
func (c *Credential) Canonical() string {
	if c.In != InCookie {
		return c.Value
	}
	v, _ := decodeOnce(c.Value, nil)
	return v
}

// Remembered reports whether a cookie has the name of a place where a person types a name. Browsers keep the one that
// was typed last, which may be somebody else's.
func (c *Credential) Remembered() bool { return c.Merged && c.Ordinary }

// Sources are the compiled sources of one application.
type Sources struct {
	all         []Source
	paths       []Template  // of all, InBody
	cookies     []Source    // one a name
	headers     []string    // every header with a credential; authorization always
	queries     []string    // parameters, one a name
	templates   []pathPlace // one a template
	protocols   []string    // starts, one a start
	basic       bool        // a source reads Basic authentication
	named       []namedPlace
	elsewhere   carrier  // where some of named are looked for
	foldedNames []string // of named
	ignored     map[string]bool
}

// NewSources compiles sources. The first source that fits a value reads it. ignored are
// authorization schemes that name no user, such as "basic" for client authentication.
func NewSources(sources []Source, ignored []string) *Sources {
	s := &Sources{headers: []string{"authorization"}, ignored: map[string]bool{}}
	for _, src := range sources {
		src.Scheme = strings.ToLower(src.Scheme)
		switch src.In {
		case InHeader:
			src.Name = strings.ToLower(src.Name)
			s.headers = appendNew(s.headers, src.Name)
		case InCookie:
			at := slices.IndexFunc(s.cookies, func(c Source) bool { return c.Name == src.Name && c.Starts == src.Starts })
			if at < 0 {
				s.cookies = append(s.cookies, src)
				break
			}
			s.cookies[at].Escapes = s.cookies[at].Escapes || src.Escapes
			s.cookies[at].Chunked = s.cookies[at].Chunked || src.Chunked
		case InQuery:
			s.queries = appendNew(s.queries, src.Name)
		case InPath:
			if !slices.ContainsFunc(s.templates, func(p pathPlace) bool { return p.name == src.Name }) {
				s.templates = append(s.templates, newPathPlace(src.Name))
			}
		case InProtocol:
			s.protocols = appendNew(s.protocols, src.Name)
		case InBasic:
			s.basic = true
		case InBody: // s.all has it
		}
		s.all, s.paths = append(s.all, src), append(s.paths, NewTemplate(src.Body.Path))
	}
	for i := range s.all {
		s.nameElsewhere(&s.all[i])
	}
	for _, scheme := range ignored {
		s.ignored[strings.ToLower(scheme)] = true
	}
	return s
}

func appendNew[T comparable](list []T, name T) []T {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// Find returns every credential of a request. CheckCookies comes first. path is the folded
// path of the request.
func (s *Sources) Find(r *Request, path *Path) ([]Credential, *Problem) {
	var out []Credential
	for _, find := range [...]func(*Sources, *Request, *Path, *[]Credential) *Problem{
		(*Sources).fromCookies, (*Sources).fromElsewhere, (*Sources).fromHeaders, (*Sources).fromQuery,
		(*Sources).fromPath, (*Sources).fromProtocols, (*Sources).fromBody, (*Sources).fromMerged,
	} {
		if p := find(s, r, path, &out); p != nil {
			return nil, p
		}
	}
	if len(out) > maxCredentials {
		return nil, problem(400, ReasonCredentials, "the request carries too many credentials")
	}
	return out, nil
}

// fits reports whether a value has the form of the source's credentials.
func (s *Source) fits(v string) bool {
	return strings.HasPrefix(v, s.Prefix) && (!s.JWT || strings.Count(v, ".") == 2)
}

// match returns the credential that the first fitting source of a place reads, nil when
// none fits.
func (s *Sources) match(v string, at func(i int, src *Source) bool) *Credential {
	for i := range s.all {
		src := &s.all[i]
		if at(i, src) && src.fits(v) {
			return &Credential{Source: i, In: src.In, Name: src.Name, Value: v}
		}
	}
	return nil
}

// only returns the credential of a place that a source names, and a refusal when no source reads
// it: the application might.
func (s *Sources) only(in Place, name, what, v string) (*Credential, *Problem) {
	c := s.match(v, func(_ int, src *Source) bool { return src.In == in && src.Name == name })
	if c == nil {
		return nil, problem(401, ReasonUnknownScheme, what+" contains no credential of this application")
	}
	return c, nil
}

func (s *Sources) fromCookies(r *Request, _ *Path, out *[]Credential) *Problem {
	for i := range s.cookies {
		place := &s.cookies[i]
		found, p := r.Headers.credentialCookies(place)
		if p != nil {
			return p
		}
		for _, f := range found {
			c := s.inCookie(place, f.value)
			if c == nil {
				p := problem(401, ReasonInvalid, "the cookie "+f.names+" contains no credential of this application")
				p.Cookie = f.names
				return p
			}
			c.cookies = f.names
			*out = append(*out, *c)
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

func (s *Sources) inHeader(name, scheme, v string) *Credential {
	return s.match(v, func(_ int, src *Source) bool {
		return src.In == InHeader && src.Name == name && src.Scheme == scheme
	})
}

func (s *Sources) fromHeaders(r *Request, _ *Path, out *[]Credential) *Problem {
	for _, name := range s.headers {
		v, several := r.Headers.Single(name)
		switch {
		case several:
			return problem(400, ReasonCredential, "send exactly one "+name+" header with one value")
		case v == "":
			continue
		case name == "authorization":
			if p := s.fromAuthorization(v, out); p != nil {
				return p
			}
			continue
		}
		c := s.inHeader(name, "", v)
		text, plain := v, plainValue(v, true)
		if c != nil && s.all[c.Source].GatewayName {
			text, plain = headerName(v)
		}
		switch {
		case !plain:
			return problem(400, ReasonCredential, "the header "+name+" contains characters that no credential has")
		case c == nil:
			return problem(401, ReasonUnknownScheme, "the header "+name+" contains no credential of this application")
		}
		c.Value = text
		*out = append(*out, *c)
	}
	return nil
}

// fromAuthorization reads the Authorization header. It refuses a header that no source
// reads: the application might accept it, and its owner would be unknown.
func (s *Sources) fromAuthorization(v string, out *[]Credential) *Problem {
	scheme, raw, blank := strings.Cut(v, " ")
	scheme = strings.ToLower(scheme)
	if blank && s.ignored[scheme] {
		return s.ignore(scheme, raw, out)
	}
	if blank && scheme == "basic" && s.basic {
		return s.fromBasic(raw, out)
	}
	var c *Credential
	if !blank {
		c = s.inHeader("authorization", "", v)
	}
	if c == nil {
		if !blank || !plainValue(raw, true) { // applications put more than token68 into tokens
			return problem(400, ReasonCredential, "the Authorization header is not a scheme, one space, and a credential")
		}
		if c = s.inHeader("authorization", scheme, raw); c == nil {
			return problem(401, ReasonUnknownScheme,
				"no source of this application reads this kind of Authorization header")
		}
	}
	*out = append(*out, *c)
	return nil
}
