package request

import (
	"slices"
	"strings"
)

// route is a path that a parameter of the query names.
type route struct {
	Path
	after follows
}

// follows says which parts of the path a route may follow.
type follows uint8

const (
	anyFolder   follows = iota // each, as an application may be in a folder
	anyObject                  // each, as a step from an object of the path (Zope)
	rootOrFront                // the root, or the folder of a front controller: the value may be a word of a search
	onlyFront                  // the folder of a front controller
)

// routeKey is a parameter of the query whose value some router takes for the path, whatever the path is.
type routeKey struct {
	name  string
	under string // where the route is in paths
	only  bool   // the parameter is no search: a value without a slash is as good a route as one with it
}

// routeKeys are the parameters of routers that many applications share. Some have other uses, such as a search. They
// count whatever the path is: the usual rewriting to a front controller keeps the query, whose parameter then replaces
// the path ("index.php?q=$1" with QSA). Parameters for an address to return to, such as "next", are none.
func routeKeys() []routeKey {
	return []routeKey{
		{"rest_route", "wp-json", true},    // WordPress, wp-includes/rest-api.php: rest_api_loaded
		{"pagename", "", true},             // WordPress, wp-includes/class-wp.php: parse_request
		{"q", "", false},                   // Drupal 7, includes/bootstrap.inc: request_path; MODX: request_param_alias
		{"s", "", false},                   // ThinkPHP: var_pathinfo; "|" stands for a slash
		{"r", "", true},                    // Yii 1 and 2: routeVar, routeParam
		{"p", "", false},                   // Vanilla Forums: Gdn_Request
		{"route", "", true},                // OpenCart: startup/router
		{"_route_", "", true},              // OpenCart: startup/seo_url
		{"_url", "", true},                 // Phalcon: Router.getRewriteUri
		{"routestring", "", true},          // vBulletin 5
		{"kohana_uri", "", true},           // Kohana: Request::detect_uri
		{"cmd", "api/method", true},        // Frappe, frappe/app.py: application
		{"_action", "_actions", true},      // Astro 5: ACTION_QUERY_PARAMS
		{"_astroaction", "_actions", true}, // Astro 4
		{"action", "actions", false},       // Craft: Request, actionTrigger
		{"url", "api", false},              // PrestaShop: webservice/dispatcher.php
		{"controller", "", true},           // PrestaShop: Dispatcher::getController
		{"it", "", true},                   // ProcessWire: index.php?it=$1
		{"__elgg_uri", "", true},           // Elgg: Application::GET_PATH_KEY
	}
}

// stepOf returns the step that a parameter of Zope adds to the path, "" for another parameter.
func stepOf(name, value string) string {
	head, zope := zopeRoute(name)
	if zope && head == "" {
		return value
	}
	return head
}

// routeOf returns the route that a parameter names, and where it is in paths; "" when it names none.
func routeOf(name, value string) (route, under string, after follows) {
	if text := stepOf(name, value); text != "" {
		return text, "", anyObject
	}
	folded := strings.ToLower(name)
	switch {
	case strings.HasPrefix(folded, "action:"): // Struts 2: DefaultActionMapper, whatever the value is
		return name[len("action:"):], "", anyFolder
	case strings.HasPrefix(folded, "action_") && value != "": // XWiki: ActionFilter
		return name[len("action_"):], "", anyFolder
	case strings.HasPrefix(folded, "_action_"): // Grails: UrlMappingInfo, whatever the value is
		return name[len("_action_"):], "", anyFolder
	case strings.Contains(name, "/"): // the query is the path: CodeIgniter 3 and 4 ("?/account/email"), XenForo
		return name, "", anyFolder
	}
	folded = foldCase(phpName(folded))
	switch {
	case folded == "graphql": // WPGraphQL: Router::is_graphql_http_request
		return folded, "", anyFolder
	case value == "": // CodeIgniter again ("?account")
		return name, "", onlyFront
	}
	return knownRoute(folded, value)
}

// knownRoute is routeOf for the parameters of routers. name is folded.
func knownRoute(name, value string) (route, under string, after follows) {
	if value == "" {
		return "", "", anyFolder
	}
	for _, k := range routeKeys() {
		switch {
		case k.name != name:
		case k.only || strings.ContainsAny(value, "/|"):
			return value, k.under, anyFolder
		default:
			return value, k.under, rootOrFront
		}
	}
	return "", "", anyFolder
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
	}, strings.ReplaceAll(name, "_", ""))
}

// Route adds the routes that the query names. They count for [Template.Reaches] and [Template.Names], and for
// credentials. named are the folded parameters that the application takes its route from. In a write, each parameter
// may be one when its value has a slash, apart from return addresses.
func (p *Path) Route(query string, write bool, named []string) {
	if query == "" {
		return
	}
	p.addErrorPage(query)
	eachParameter(query, func(name, value string) {
		folded := FoldParameter(name)
		if slices.Contains(named, folded) {
			p.addNamed(value)
			return
		}
		p.addUnder(routeOf(name, value))
		if write && strings.ContainsAny(value, `/\`) && !returnAddress(folded) {
			p.addRoute(value, anyFolder)
		}
	})
}

// RouteCookies adds the routes that cookies name, under the names of routers and those of named: MODX and vBulletin
// read theirs from $_REQUEST.
func (p *Path) RouteCookies(h Headers, named []string) {
	h.eachCookie(func(name, value string) {
		folded := FoldParameter(cookieText(name))
		if slices.Contains(named, folded) {
			p.addNamed(bareValue(decodeAgain(value)))
			return
		}
		p.addUnder(knownRoute(folded, bareValue(decodeAgain(value))))
	})
}

// FoldParameter folds the name of a query parameter as PHP and case-insensitive frameworks do.
func FoldParameter(name string) string { return foldCase(phpName(name)) }

// addErrorPage adds the path in the query of an error page of IIS, "404;http://HOST/PATH". Bitrix reads it on every
// server (modules/main/include/urlrewrite.php).
func (p *Path) addErrorPage(query string) {
	_, rest, found := strings.Cut(unescapeForm(query), "404;http")
	if !found {
		return
	}
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "s"), "://")
	if _, path, found := strings.Cut(rest, "/"); found {
		path, _ = cutAny(path, "?#")
		p.addRoute(path, anyFolder)
	}
}

// addNamed adds the value of a parameter that the application takes its route from.
func (p *Path) addNamed(value string) {
	p.addRoute(value, anyFolder)
	p.addRoute(strings.ReplaceAll(value, ".", "/"), anyFolder)
}

// addUnder adds what routeOf and knownRoute return.
func (p *Path) addUnder(text, under string, after follows) {
	switch {
	case text == "":
	case under != "":
		p.addRoute(under+"/"+strings.TrimLeft(text, `/\`), after)
	default:
		p.addRoute(text, after)
	}
}

func (p *Path) addRoute(text string, after follows) {
	r := route{after: after}
	if decoded, ok := collapse(strings.ReplaceAll(text, `\`, string(softSlash))); ok {
		text = decoded
	}
	r.split(strings.TrimLeft(foldForms(text), "/"))
	p.routes = append(p.routes, r)
}
