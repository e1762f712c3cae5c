package request

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/store/scim"
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
)

// Source is one place where a credential of the application may be.
type Source struct {
	In     Place
	Name   string    // cookie name (exact), header name in any case, or body field
	Scheme string    // InHeader: authorization scheme before the value, any case; "" means the whole value
	Prefix string    // literal start of the value, such as "pat_"; "" fits every value
	Body   BodyRoute // InBody
	JWT    bool      // fits values of three parts only
	Typed  bool      // InBody: a person types the value, so it may hold any text
	// Escapes says that the application writes %-escapes into the cookie value, as Express
	// does ("s%3A…"). Escapes that no writer makes stay refused: of letters and digits, of
	// control characters and of the percent sign. Prefix is written with its escapes.
	Escapes bool
}

// BodyRoute is the route whose body holds a credential. Envoy must buffer its body.
type BodyRoute struct {
	Method string // "POST"
	Path   string // template, "/oauth/token"
	Format BodyFormat
}

// Credential is a value that a source reads.
type Credential struct {
	Source int // index in the list that NewSources got
	In     Place
	Name   string
	Value  string // with the prefix, without the scheme; a secret
}

// Where names the place of the credential: "cookie:session", "header:authorization".
func (c *Credential) Where() string { return string(c.In) + ":" + c.Name }

// Cookie is the name of the cookie that holds the credential, "" for another place.
func (c *Credential) Cookie() string {
	if c.In != InCookie {
		return ""
	}
	return c.Name
}

// Canonical is the value as the application reads it: a cookie's escapes can be written
// in several ways ("%3A", "%3a", ":").
func (c *Credential) Canonical() string {
	if c.In != InCookie {
		return c.Value
	}
	v, _ := decodeOnce(c.Value, nil)
	return v
}

// Sources are the compiled sources of one application.
type Sources struct {
	all     []Source
	paths   []Template // of all, InBody
	cookies []Source   // one a name
	headers []string   // every header that holds a credential; authorization always
	ignored map[string]bool
}

// NewSources compiles sources. The first source that fits a value reads it. ignored are
// authorization schemes that name no user, such as "basic" for client authentication.
func NewSources(sources []Source, ignored []string) *Sources {
	s := &Sources{headers: []string{"authorization"}, ignored: map[string]bool{}}
	for _, one := range sources {
		one.Scheme = strings.ToLower(one.Scheme)
		switch one.In {
		case InHeader:
			one.Name = strings.ToLower(one.Name)
			if !slices.Contains(s.headers, one.Name) {
				s.headers = append(s.headers, one.Name)
			}
		case InCookie:
			at := slices.IndexFunc(s.cookies, func(c Source) bool { return c.Name == one.Name })
			if at < 0 {
				s.cookies = append(s.cookies, one)
			} else if one.Escapes {
				s.cookies[at].Escapes = true
			}
		case InBody:
		}
		s.all, s.paths = append(s.all, one), append(s.paths, NewTemplate(one.Body.Path))
	}
	for _, scheme := range ignored {
		s.ignored[strings.ToLower(scheme)] = true
	}
	return s
}

// Find returns every credential of a request whose cookies passed CheckCookies. path is
// its folded path, l bounds a JSON body.
func (s *Sources) Find(r *Request, path Path, l scim.Limits) ([]Credential, *Problem) {
	var out []Credential
	for _, find := range []func() *Problem{
		func() *Problem { return s.fromCookies(r, &out) },
		func() *Problem { return s.fromHeaders(r, &out) },
		func() *Problem { return s.fromBody(r, path, l, &out) },
	} {
		if p := find(); p != nil {
			return nil, p
		}
	}
	if len(out) > maxCredentials {
		return nil, problem(400, ReasonCredentials, "the request carries too many credentials")
	}
	return out, nil
}

// match returns the credential that the first fitting source of a place reads, nil when
// none fits.
func (s *Sources) match(v string, at func(i int, one *Source) bool) *Credential {
	for i := range s.all {
		one := &s.all[i]
		if at(i, one) && strings.HasPrefix(v, one.Prefix) && (!one.JWT || strings.Count(v, ".") == 2) {
			return &Credential{Source: i, In: one.In, Name: one.Name, Value: v}
		}
	}
	return nil
}

func (s *Sources) fromCookies(r *Request, out *[]Credential) *Problem {
	for i := range s.cookies {
		name := s.cookies[i].Name
		v, p := r.Headers.plainCookie(name, s.cookies[i].Escapes)
		if p != nil {
			return p
		}
		if v == "" {
			continue
		}
		c := s.match(v, func(_ int, one *Source) bool { return one.In == InCookie && one.Name == name })
		if c == nil {
			p := problem(401, ReasonInvalid, "the cookie "+name+" holds no credential of this application")
			p.Cookie = name
			return p
		}
		*out = append(*out, *c)
	}
	return nil
}

func (s *Sources) inHeader(name, scheme, v string) *Credential {
	return s.match(v, func(_ int, one *Source) bool {
		return one.In == InHeader && one.Name == name && one.Scheme == scheme
	})
}

func (s *Sources) fromHeaders(r *Request, out *[]Credential) *Problem {
	for _, name := range s.headers {
		v, several := r.Headers.One(name)
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
		case !plainValue(v, true):
			return problem(400, ReasonCredential, "the header "+name+" holds characters that no credential has")
		}
		c := s.inHeader(name, "", v)
		if c == nil {
			return problem(401, ReasonUnknownScheme, "the header "+name+" holds no credential of this application")
		}
		*out = append(*out, *c)
	}
	return nil
}

// fromAuthorization reads the Authorization header. One that no source reads is refused:
// the application might take it, and nobody could say whose it is.
func (s *Sources) fromAuthorization(v string, out *[]Credential) *Problem {
	scheme, raw, blank := strings.Cut(v, " ")
	scheme = strings.ToLower(scheme)
	if blank && s.ignored[scheme] {
		return nil
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

func (s *Sources) fromBody(r *Request, path Path, l scim.Limits, out *[]Credential) *Problem {
	seen := map[string]bool{}
	at := func(i int, one *Source) bool {
		return one.In == InBody && one.Body.Method == r.Method && s.paths[i].Matches(path)
	}
	for i := range s.all {
		one := &s.all[i]
		if !at(i, one) || seen[one.Name] {
			continue
		}
		seen[one.Name] = true
		v, p := r.field(one, l)
		if p != nil {
			return p
		}
		if v == "" {
			continue
		}
		c := s.match(v, func(i int, other *Source) bool { return other.Name == one.Name && at(i, other) })
		if c == nil {
			return problem(401, ReasonUnknownScheme, "the field "+one.Name+" holds no credential of this application")
		}
		if !s.all[c.Source].Typed && !plainText(v) {
			return problem(400, ReasonBodySource, "the field "+one.Name+" holds characters that no credential has")
		}
		*out = append(*out, *c)
	}
	return nil
}
