package token

import (
	"net/url"
	"strings"
)

// normalURL returns an https URL in the normal form of RFC 3986 §6.2.2 and §6.2.3, as two URLs are compared
// (RFC 9449 §4.3). wrong says why it is no URL of a request without query and fragment.
func normalURL(s string) (normal, wrong string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "":
		return "", "is not a URL"
	case u.Scheme != "https":
		return "", "does not start with https://"
	case strings.ContainsAny(s, "?#"):
		return "", "has a query or a fragment; leave them out"
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(strings.TrimSuffix(host, ":443"), ":")
	return "https://" + host + normalPath(u.EscapedPath()), ""
}

// normalPath removes dot segments, decodes unreserved characters, and writes escapes in upper case.
func normalPath(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '%' || i+2 >= len(p) {
			b.WriteByte(p[i])
			continue
		}
		char, err := url.PathUnescape(p[i : i+3])
		if err == nil && strings.Contains(unreserved, char) {
			b.WriteString(char)
		} else {
			b.WriteString(strings.ToUpper(p[i : i+3]))
		}
		i += 2
	}
	var out []string
	segments := strings.Split(strings.TrimPrefix(b.String(), "/"), "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s != "." && s != "..":
			out = append(out, s)
			continue
		case s == ".." && len(out) > 0:
			out = out[:len(out)-1]
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
