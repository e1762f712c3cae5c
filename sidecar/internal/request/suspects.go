package request

import (
	"math"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/headers"
)

// Suspect is the name of a header, cookie or query parameter that looks like a credential and that
// no source reads. It never holds the value.
type Suspect struct {
	In   Place
	Name string // as sent, at most 64 bytes
	Why  string // "name", "value" or "name and value"
}

const maxSuspectName = 64

// Suspects calls found for each suspect of a request. It looks at headers only with everyHeader, when Envoy
// passes on all of them: the others are read or harmless.
func (s *Sources) Suspects(r *Request, everyHeader bool, found func(Suspect)) {
	// The cheap question comes first: most names look like no credential.
	try := func(in Place, name, value string, read func() bool) {
		if why := suspicious(name, value); why != "" && headers.IsToken(name) && !read() {
			found(Suspect{in, name[:min(len(name), maxSuspectName)], why})
		}
	}
	for _, line := range r.Headers["cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			try(InCookie, name, value, func() bool {
				return slices.ContainsFunc(s.cookies, func(c Source) bool { return isCookie(name, foldCookie(c.Name), c.Starts) })
			})
		}
	}
	for pair := range strings.SplitSeq(r.Query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		try(InQuery, name, value, func() bool {
			return slices.ContainsFunc(s.queries, func(q string) bool { return FoldField(q) == FoldField(name) })
		})
	}
	if !everyHeader {
		return
	}
	for name, values := range r.Headers {
		for _, v := range values {
			try(InHeader, name, v, func() bool { return slices.Contains(s.headers, name) || harmless(name) })
		}
	}
}

// harmless are the headers whose long values are no credentials.
func harmless(name string) bool {
	for _, start := range []string{"accept", "content-", "sec-", "if-", "x-forwarded-", "x-envoy-", "x-b3-"} {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return unasked(name)
}

func suspicious(name, value string) string {
	n := FoldField(name)
	if value == "" || strings.Contains(n, "csrf") || strings.Contains(n, "xsrf") {
		return "" // a token against forged requests names nobody
	}
	byName, byValue := secretName(n), secretValue(value)
	switch {
	case byName && byValue:
		return "name and value"
	case byName:
		return "name"
	case byValue:
		return "value"
	}
	return ""
}

// secretName reports whether a folded name is one that credentials have.
func secretName(n string) bool {
	for _, word := range []string{
		"auth", "token", "apikey", "secret", "session", "jwt", "bearer", "credential", "passw", "ticket", "saml",
	} {
		if strings.Contains(n, word) {
			return true
		}
	}
	return n == "sid" || n == "sso" || n == "key" || strings.HasSuffix(n, "sid") || strings.HasSuffix(n, "key") ||
		strings.HasPrefix(n, "sess") || strings.HasPrefix(n, "sso")
}

// secretValue reports whether a value is a JWT, or a long random text.
func secretValue(v string) bool {
	if len(v) > 4096 {
		v = v[:4096]
	}
	if looksLikeJWT(v) {
		return true
	}
	return len(v) >= 20 && strings.IndexFunc(v, notOfToken) < 0 && strings.ContainsAny(v, "0123456789") &&
		strings.ContainsAny(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") && entropy(v) >= 3.4
}

func notOfToken(r rune) bool {
	return r >= 0x80 || !unreserved(byte(r)) && !strings.ContainsRune("+/=%:", r)
}

// entropy is in bits per byte. Random hex has almost 4, words have less.
func entropy(v string) float64 {
	var counts [256]int
	for i := range len(v) {
		counts[v[i]]++
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(v))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
