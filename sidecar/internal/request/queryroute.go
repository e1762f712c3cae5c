package request

import (
	"slices"
	"strings"
)

// routeKey is a parameter of the query whose value some router takes for the path, whatever the path is.
type routeKey struct {
	name  string
	under string // where the route is in paths
	only  bool   // the parameter has no other use, so a value without a slash is a route too
}

// routeKeys are the parameters of routers that many applications share. Some have other uses, such as a search: a value
// is a route only with a slash then. Parameters for an address to return to, such as "next", are none.
func routeKeys() []routeKey {
	return []routeKey{
		{"rest_route", "wp-json", true}, // WordPress, wp-includes/rest-api.php: rest_api_loaded
		{"pagename", "", true},          // WordPress, wp-includes/class-wp.php: parse_request
		{"q", "", false},                // Drupal 7, includes/bootstrap.inc: request_path; MODX: request_param_alias
		{"s", "", false},                // ThinkPHP: var_pathinfo
		{"r", "", false},                // Yii 1 and 2: routeVar, routeParam
		{"p", "", false},                // Vanilla Forums: Gdn_Request
		{"route", "", false},            // OpenCart: startup/router
		{"_route_", "", true},           // OpenCart: startup/seo_url
		{"_url", "", true},              // Phalcon: Router.getRewriteUri
		{"routestring", "", true},       // vBulletin 5
		{"kohana_uri", "", true},        // Kohana: Request::detect_uri
		{"cmd", "api/method", true},     // Frappe, frappe/app.py: application
	}
}

// routeOf returns the route that a parameter names, and where it is in paths; "" when it names none.
func routeOf(name, value string) (route, under string) {
	folded, colon := strings.ToLower(name), max(0, strings.LastIndexByte(name, ':'))
	switch head, kind := name[:colon], strings.TrimPrefix(name[colon:], ":"); {
	case strings.Contains(name, "/"): // the query is the path: CodeIgniter 3 and 4 ("?/account/email"), XenForo
		return name, ""
	case name != kind && zopeRoute(kind):
		if head == "" {
			head = value
		}
		return head, ""
	case strings.HasPrefix(folded, "action:"): // Struts 2: DefaultActionMapper
		return name[len("action:"):], ""
	case strings.HasPrefix(folded, "_action_"): // Grails: UrlMappingInfo
		return name[len("_action_"):], ""
	}
	folded = foldCase(phpName(folded))
	for _, k := range routeKeys() {
		if k.name == folded && (k.only || strings.Contains(value, "/")) {
			return value, k.under
		}
	}
	return "", ""
}

// zopeRoute reports whether a converter of Zope (ZPublisher) appends a name or value of the query to the path.
func zopeRoute(converter string) bool {
	return slices.Contains([]string{"method", "action", "default_method", "default_action"}, converter)
}

// Route adds the routes that the query names. They count for [Template.Reaches] and [Template.Names], and for
// credentials in a body: not for requests that only read, whose query may be a search.
func (p *Path) Route(query string) {
	if query == "" {
		return
	}
	eachParameter(query, func(name, value string) {
		route, under := routeOf(name, value)
		if route == "" {
			return
		}
		text, ok := collapse(strings.ReplaceAll(route, `\`, string(softSlash)))
		if !ok {
			text = route
		}
		if under != "" {
			text = under + "/" + strings.TrimLeft(text, "/")
		}
		var r Path
		r.split(strings.TrimLeft(foldForms(text), "/"))
		p.routes = append(p.routes, r)
	})
}
