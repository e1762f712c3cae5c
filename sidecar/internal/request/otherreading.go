package request

import (
	"slices"
	"strings"
)

// otherReading refuses a body in which an application that ignores the content type finds more fields of the place than
// the content type names: Yii reads every PUT as a form, and a decoder of JSON asks for no content type.
func (r *Request) otherReading(s *Source, path []string) *Problem {
	set := newFieldSet(path[len(path)-1:], "")
	one := *r
	if s.Body.Format == GraphQL {
		set = requestNames()
		one.Body, _ = asBatch(r.Body)
	}
	bad := problem(400, ReasonBodySource,
		"the body may hold "+s.Name+" in another form: send it by "+s.Body.Method+" to "+s.Body.Path)
	if r.upload() {
		if r.hides(set) {
			return bad
		}
		return nil
	}
	var plain bodyReader
	if p := one.readBody("", &plain); p != nil {
		return p
	}
	all, p := one.BodyNames()
	if p != nil {
		return p
	}
	count := func(names []string) (n int) {
		for _, name := range names {
			if set.Has(name) {
				n++
			}
		}
		return n
	}
	if count(all.names) > count(plain.names) {
		return bad
	}
	return nil
}

// upload reports whether the content type is one in which no field of a form or of JSON is sent. Some parsers look for
// "multipart" anywhere in it, so a type with that word is none.
func (r *Request) upload() bool {
	mt := r.mediaType()
	if mt == "" || strings.Contains(strings.ToLower(r.Headers["content-type"][0]), "multipart") {
		return false
	}
	kind, sub, _ := strings.Cut(mt, "/")
	switch kind {
	case "image", "audio", "video":
		return true
	case "text":
		return sub == "csv" || sub == "calendar"
	case "application":
		return sub == "octet-stream" || sub == "csp-report" || strings.HasPrefix(sub, "grpc")
	}
	return false
}

// hides reports whether an application that ignores the content type of an upload might find a field of the set in it,
// as JSON or as a form.
func (r *Request) hides(set *FieldSet) bool {
	var b bodyReader
	text := string(r.Body)
	b.readText("", text, maxEmbedded)
	for _, form := range [...]string{text, strings.ReplaceAll(text, ";", "&")} { // Bottle splits at both
		b.asQuery("&" + form)
	}
	return b.bad != nil || wideJSON(r.Body) || slices.ContainsFunc(b.names, set.Has)
}
