package request

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// route is a path that a parameter of the query names.
type route struct {
	Path
	after follows
	text  string // decoded once
}

// follows says which parts of the path a route may follow.
type follows uint8

const (
	anyFolder   follows = iota // each, as an application may be in a folder
	anyObject                  // each, as a step from an object of the path (Zope)
	rootOrFront                // the root, or the folder of a front controller: the value may be a word of a search
	onlyFront                  // the folder of a front controller
	root                       // the root: it is the path itself
)

// routeKey says how some router takes the value of a parameter for the path, whatever the path is.
type routeKey struct {
	under string // where the route is in paths
	only  bool   // the parameter is no search: a value without a slash is as good a route as one with it
	own   bool   // the application said so itself
}

// Routers are the parameters that some router takes the path from, by their folded names.
type Routers struct {
	keys  map[string]routeKey
	known func() []string // the keys
}

// NewRouters returns the parameters of routers that many applications share, and those that one application names.
// Some of the former have other uses, such as a search. They count whatever the path is: the usual rewriting to a front
// controller keeps the query, whose parameter then replaces the path ("index.php?q=$1" with QSA). Parameters for an
// address to return to, such as "next", are none.
func NewRouters(own []string) *Routers {
	if len(own) == 0 {
		return commonRouters // there may be a thousand applications
	}
	return newRouters(own)
}

//nolint:gochecknoglobals // never changes
var commonRouters = newRouters(nil)

func newRouters(own []string) *Routers {
	whole := routeKey{only: true}
	rs := &Routers{keys: map[string]routeKey{
		"rest_route":   {under: "wp-json", only: true}, // WordPress, wp-includes/rest-api.php: rest_api_loaded
		"pagename":     whole,                          // WordPress, wp-includes/class-wp.php: parse_request
		"r":            whole,                          // Yii 1 and 2: routeVar, routeParam
		"route":        whole,                          // OpenCart: startup/router, startup/seo_url
		"_route_":      whole,
		"_url":         whole,                              // Phalcon: Router.getRewriteUri
		"routestring":  whole,                              // vBulletin 5
		"kohana_uri":   whole,                              // Kohana: Request::detect_uri
		"controller":   whole,                              // PrestaShop: Dispatcher::getController
		"it":           whole,                              // ProcessWire: index.php?it=$1
		"__elgg_uri":   whole,                              // Elgg: Application::GET_PATH_KEY
		"q":            {},                                 // Drupal 7: request_path; MODX: request_param_alias
		"s":            {},                                 // ThinkPHP: var_pathinfo; "|" stands for a slash
		"p":            {},                                 // Vanilla Forums: Gdn_Request
		"cmd":          {under: "api/method", only: true},  // Frappe, frappe/app.py: application
		"_action":      {under: "_actions", only: true},    // Astro 5: ACTION_QUERY_PARAMS
		"_astroaction": {under: "_actions", only: true},    // Astro 4
		"/remote":      {under: "_app/remote", only: true}, // SvelteKit: get_remote_action
		"action":       {under: "actions"},                 // Craft: Request, actionTrigger
		"url":          {under: "api"},                     // PrestaShop: webservice/dispatcher.php
		// Bitrix, modules/main/include/urlrewrite.php
		"sef_application_cur_page_url": whole,
	}}
	for _, name := range own {
		rs.keys[FoldParameter(name)] = routeKey{own: true}
	}
	names := slices.Collect(maps.Keys(rs.keys))
	rs.known = func() []string { return names }
	return rs
}

// stepOf returns the step that a parameter of Zope adds to the path, "" for another parameter.
func stepOf(name, value string) string {
	head, zope := zopeRoute(name)
	if zope && head == "" {
		return value
	}
	return head
}

// routeInName returns the route that is in the name of a parameter, "" when none is.
func routeInName(name, value string) (route string, after follows) {
	if text := stepOf(name, value); text != "" {
		return text, anyObject
	}
	folded := strings.ToLower(name)
	switch {
	case strings.HasPrefix(folded, "action:"): // Struts 2: DefaultActionMapper, whatever the value is
		return name[len("action:"):], anyFolder
	case strings.HasPrefix(folded, "action_") && value != "": // XWiki: ActionFilter
		return name[len("action_"):], anyFolder
	case strings.HasPrefix(folded, "_action_"): // Grails: UrlMappingInfo, whatever the value is
		return name[len("_action_"):], anyFolder
	case strings.Contains(name, "/"): // the query is the path: CodeIgniter 3 and 4 ("?/account/email"), XenForo
		return name, anyFolder
	case FoldParameter(name) == "graphql": // WPGraphQL: Router::is_graphql_http_request
		return "graphql", anyFolder
	case value == "": // CodeIgniter again ("?account")
		return name, onlyFront
	}
	return "", anyFolder
}

// zopeRoute returns what stands before the first converter that makes ZPublisher append a name or value of the query to
// the path. Other converters, and the ".x" of a picture, may follow it: "save:method:string", "save:method.x".
func zopeRoute(name string) (head string, found bool) {
	for at := range len(name) {
		if name[at] != ':' {
			continue
		}
		converter, _ := cutAny(name[at+1:], ":.")
		if slices.Contains([]string{"method", "action", "default_method", "default_action"}, converter) {
			return name[:at], true
		}
	}
	return "", false
}

// returnAddress reports whether a folded parameter is an address to go to afterwards, in applications of all kinds.
func returnAddress(name string) bool {
	return slices.Contains([]string{
		"next", "continue", "goto", "rurl", "return", "returnto", "returnurl", "returnpath", "redirect", "redirectto",
		"redirecturl", "redirecturi", "referer", "referrer", "ref", "back", "backurl", "callback", "callbackurl",
		"camefrom", "from", "destination", "target", "targetpath", "successurl", "cancelurl", "relaystate",
		"osdestination", // Atlassian
	}, strings.ReplaceAll(name, "_", ""))
}

// Route adds the routes that the query and the cookies of a request name. They count for [Template.Reaches] and
// [Template.Names], and for credentials. In a write, each parameter of the query may be one when its value has a slash,
// apart from return addresses. MODX and vBulletin read theirs from $_REQUEST, so cookies with the names of routers
// count too. It refuses a request whose routes are longer than any that an application needs.
func (p *Path) Route(r *Request, write bool, routers *Routers) *Problem {
	p.addErrorPage(r.Query)
	image := p.nextImage()
	r.parameters(ofCookies|ofQuery, func(q parameter) {
		if p.room < 0 {
			return
		}
		own := false
		for name := range (sentName{q.name, routers.known}).readings {
			if key, known := routers.keys[name]; known {
				p.addKnown(key, q.values())
				own = own || key.own
			}
		}
		if own || q.in != ofQuery {
			return
		}
		name, value := unescapeForm(q.name), decodeWide(unescapeForm(q.value), '/')
		if text, after := routeInName(name, value); text != "" {
			p.addRoute(text, after)
		}
		if (write || image) && strings.ContainsAny(value, `/\`) && !returnAddress(FoldParameter(name)) {
			p.addRoute(value, anyFolder)
		}
	})
	if p.room < 0 {
		return problem(400, ReasonQuery, "query and cookies name more paths than any application needs")
	}
	return nil
}

// nextImage reports whether Next.js may get the path in the parameter url itself: at "/_next/image", and up to 13.4 at
// each path that starts so.
func (p *Path) nextImage() bool {
	for i := range p.pieces {
		if p.pieces[i].name == "_next" {
			next := p.after(i)
			return next < len(p.pieces) && strings.HasPrefix(p.pieces[next].name, "image")
		}
	}
	return false
}

// FoldParameter folds the name of a query parameter as PHP and case-insensitive frameworks do.
func FoldParameter(name string) string { return foldCase(phpName(name)) }

// addErrorPage adds the paths in the query of an error page of IIS, "404;http://HOST/PATH". Bitrix reads one on every
// server (modules/main/include/urlrewrite.php): the first with http, and otherwise the first with https, behind the
// first slash that is no escape. A path may be as long as the query, so only the first of each form counts.
func (p *Path) addErrorPage(query string) {
	if !strings.Contains(query, "http") {
		return
	}
	for _, text := range [...]string{query, unescapeForm(query)} {
		for _, mark := range [...]string{"404;http://", "404;https://", ";http://", ";https://"} {
			_, address, _ := strings.Cut(text, mark)
			if _, path, inPath := strings.Cut(address, "/"); inPath {
				path, _ = cutAny(path, "?#")
				p.addRoute(path, anyFolder)
			}
		}
	}
}

// addKnown adds the values that frameworks make of a parameter of a router, and what is left of each for a router that
// keeps letters, digits and slashes only (OpenCart). Dots are slashes for some that an application names.
func (p *Path) addKnown(key routeKey, values []string) {
	var texts []string
	for _, value := range values {
		for _, text := range decodings(strings.ReplaceAll(value, `\`, string(softSlash))) {
			texts = appendNew(appendNew(texts, text), strings.Map(routeRune, text))
			if key.own {
				texts = appendNew(texts, strings.ReplaceAll(text, ".", "/"))
			}
		}
	}
	for _, text := range texts {
		after := rootOrFront
		if key.own || key.only || strings.ContainsFunc(text, separates) {
			after = anyFolder
		}
		switch {
		case text == "":
		case key.under != "":
			p.add(key.under+"/"+strings.TrimLeft(text, "/"+string(softSlash)), after)
		default:
			p.add(text, after)
		}
	}
}

// maxRoutes bounds the routes of a request in bytes, as matching one costs its length for each template. The longest
// query names less.
const maxRoutes = 8 * maxPath

// addRoute adds a route in each decoding.
func (p *Path) addRoute(text string, after follows) {
	for _, text := range decodings(strings.ReplaceAll(decodeWide(text, '/'), `\`, string(softSlash))) {
		p.add(text, after)
	}
}

func (p *Path) add(text string, after follows) {
	if p.room -= len(text); p.room >= 0 {
		r := route{after: after, text: text}
		r.split(strings.TrimLeft(text, "/"))
		p.routes = append(p.routes, r)
	}
}

// routeRune drops what OpenCart drops from a route.
func routeRune(r rune) rune {
	if separates(r) && r != '|' || r < utf8.RuneSelf && nameByte(byte(r)) {
		return r
	}
	return -1
}
