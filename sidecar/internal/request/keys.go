package request

import (
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Keys are the names of parameters that mean something to a framework whatever the application is, and those of the
// query that mean something to a rule.
type Keys struct {
	// Override is where a parameter replaces the method in every framework that knows it ("cookies"), "" for nowhere.
	Override string
	// MayOverride also counts names that replace the method in some frameworks and mean something else in others.
	MayOverride string
	// Tokens are the parameters that some framework takes for an access token without configuration: access_token
	// (RFC 6750 §2.3), and bearer_token of Doorkeeper.
	Tokens []string
	query  []queryKey
}

// queryKey is one key of the query: the folded name of a parameter, and the whole text that frameworks read members
// from ("user[email]", "user.email").
type queryKey struct{ name, text string }

// QueryKeys returns the keys of a raw query alone.
func QueryKeys(raw string) (Keys, *Problem) {
	r := Request{Query: raw}
	return r.keysOf(ofQuery)
}

// Keys returns the keys of the request. A cookie is no access token: an application reads one there under a name of its
// own only.
func (r *Request) Keys() (Keys, *Problem) { return r.keysOf(ofCookies | ofQuery | ofMatrix) }

func (r *Request) keysOf(in carrier) (ks Keys, bad *Problem) {
	r.parameters(in, func(p parameter) {
		if p.name == "" {
			return
		}
		for name := range (sentName{p.name, frameworkNames}).readings {
			ks.note(p.in, name)
		}
		if p.in != ofQuery {
			return
		}
		text, decoded := decodeFully(strings.ReplaceAll(p.name, "+", " "))
		if !decoded {
			bad = problem(400, ReasonQuery, "a query key contains bad escapes or control characters")
		}
		ks.query = append(ks.query, queryKey{foldCase(strings.TrimSpace(firstName(text))), text})
	})
	return ks, bad
}

// note notes what a reading of the name of a parameter means.
func (ks *Keys) note(in carrier, name string) {
	switch {
	case replacesMethod(name):
		ks.Override, ks.MayOverride = in.String(), in.String()
	case in != ofCookies && slices.Contains(mayReplaceMethod(), name):
		ks.MayOverride = in.String()
	case in != ofCookies && slices.Contains(accessTokens(), name):
		ks.Tokens = appendNew(ks.Tokens, name)
	}
}

func mayReplaceMethod() []string { return []string{"method", "httpmethod", "http_method"} }

func accessTokens() []string { return []string{"access_token", "bearer_token"} }

// frameworkNames returns the names that note knows.
func frameworkNames() []string {
	return slices.Concat(headers.OverrideQuery(), mayReplaceMethod(), accessTokens())
}

// replacesMethod reports whether a parameter with this name, in lower case, replaces the method.
func replacesMethod(name string) bool { return slices.Contains(headers.OverrideQuery(), name) }

// overrides reports whether some framework takes a field of the body with this name for the method.
func overrides(name string) bool {
	for reading := range (sentName{name, frameworkNames}).readings {
		if replacesMethod(reading) {
			return true
		}
	}
	return false
}

// firstName is the variable that Rack and qs make of a name: what stands before and between its first brackets
// ("user[email]", "[access_token]", "_method]").
func firstName(name string) string {
	name, _ = cutAny(strings.TrimLeft(name, "[]"), "[]")
	return name
}

// Has reports whether a folded key is in the query.
func (ks *Keys) Has(key string) bool {
	return slices.ContainsFunc(ks.query, func(k queryKey) bool { return k.name == key })
}

// Mention reports whether a key of the query might be read as a field of a set. It refuses keys longer than
// MaxFieldName.
func (ks *Keys) Mention(set *FieldSet) (bool, *Problem) {
	for _, k := range ks.query {
		if len(k.text) > MaxFieldName {
			return false, problem(400, ReasonQuery, longName("a key of the query"))
		}
		if set.Has(k.text) {
			return true, nil
		}
	}
	return false, nil
}
