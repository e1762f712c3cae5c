package authz_test

import (
	"testing"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// batched is a kit whose app denies routes of frameworks that name a route in several ways.
func batched(t *testing.T) *kit {
	t.Helper()
	return newKit(t, func(o *authz.Options) {
		app := o.Tenants["acme"].Apps["app"]
		app.LocalWrites = []authz.LocalWrite{
			{Path: "/api/trpc/user.updateEmail"},
			{Path: "/odata/Users"},
			{Path: "/v1/users"},
			{Path: "/profile"},
			{Path: "/wp-json/wp/v2/users"},
			{Path: "/user/{id}/edit"},
			{Path: "/account/email"},
			{Path: "/api/method/set_email"},
			{Path: "/signup"},
			{Path: "/unsubscribe/mail", Methods: []string{"GET"}},
			{Path: "/_actions/updateEmail"},
			{Path: "/folder/@@personal-information"},
			{Path: "/actions/users/save-user"},
			{Path: "/api/customers"},
			{Path: "/graphql"},
			{Path: "/groups/{id}"},
			{Path: "/jsonapi/users", Fields: []string{"roles", "email"}},
		}
		o.Tenants["acme"].Apps["app"] = app
	})
}

// TestSeveralNamesOfARoute: a segment may name several things, and the query may name the route. A denied route is
// denied by each of its names.
func TestSeveralNamesOfARoute(t *testing.T) {
	t.Parallel()
	k := batched(t)
	for target, denied := range map[string]bool{
		"/api/trpc/a.b,user.updateEmail?batch=1":   true, // tRPC
		"/api/trpc/a.b%2Cuser.updateEmail?batch=1": true,
		"/api/trpc/a.b,users.list?batch=1":         false,
		"/odata/Users(1)":                          true, // OData
		"/odata/Users('ada')/email":                true,
		"/odata/Users()":                           true,
		"/odata/Products(1)/Users":                 false,
		"/odata/People('ada')/Trips(0)":            false,
		"/v1/users:batchUpdate":                    true, // Google
		"/v1/users%3AbatchUpdate":                  true,
		"/v1/groups:users":                         false,
		"/profile!save":                            true, // Struts
		"/profile!save.action":                     true,
		"/theme!profile":                           false,
		"/@@profile":                               true, // Zope
		"/++view++profile":                         true,
		"/++api++/account/email":                   true,
		"/++skin++x/account/++attribute++email":    true,
		"/account/++view++theme":                   false,
		"/folder/personal-information":             true,
		"/folder/++view++personal-information":     true,
		"/folder/@@theme":                          false,
		"/account|email":                           true, // ThinkPHP
		"/account%7Cemail":                         true,
		"/user|7|edit":                             true,
		"/user/auth0%7C7/edit":                     true,
		"/user/auth0%7C7/view":                     false,
		"/posts/account%7Cemail":                   false,
		"/_actions/updateEmail":                    true, // Astro
		"/_actions/x/_actions/updateEmail":         true,
		"/_actions/x/y/_actions/updateEmail":       true,
		"/_actions/x/updateEmail":                  false,
		"/index.cfm/account/email":                 true, // Lucee
		"/app.wsgi/account/email":                  true,
		"/notes.txt/account/email":                 false,

		"/?rest_route=/wp/v2/users/1":                true, // WordPress
		"/blog/index.php?rest_route=%2Fwp/v2/users":  true,
		"/?rest.route=/wp/v2/users":                  true, // PHP reads rest_route
		"/?rest_route=/wp/v2/posts":                  false,
		"/?pagename=signup":                          true,
		"/?q=user/1/edit":                            true, // Drupal 7
		"/site/index.php?a=1&q=user%2F1%2Fedit":      true,
		"/?q=user/1/view":                            false,
		"/api/search?q=signup":                       true, // a search is a read
		"/api/search?q=100%25":                       false,
		"/?s=/account/email":                         true, // ThinkPHP
		"/?s=account|email":                          true,
		"/x?s=account%7Cemail":                       true,
		"/?s=account|theme":                          false,
		"/?q=profile":                                true, // routes of one segment
		"/index.php?r=profile":                       true,
		"/?s=profile":                                true,
		"/index.php?it=profile":                      true,
		"/webservice/dispatcher.php?url=customers":   true,
		"/index.php?profile":                         true,
		"/?profile=1":                                false,
		"/?graphql":                                  true, // WPGraphQL
		"/any?graphql=true":                          true,
		"/users?r=profiles":                          false,
		"/groups?p=2":                                false, // behind /groups is any segment
		"/?_url=/signup":                             true,  // Phalcon
		"/x?q=user/1/edit":                           true,  // the rewriting of Drupal 6 adds the query behind its own
		"/?_action=updateEmail":                      true,  // Astro
		"/blog?_astroAction=updateEmail":             true,
		"/?_action=like":                             false,
		"/?action=users/save-user":                   true, // Craft
		"/?action=users/save-theme":                  false,
		"/webservice/dispatcher.php?url=customers/1": true, // PrestaShop
		"/preview?url=https://x/customers/1":         false,
		"/index.php?it=/account/email":               true, // ProcessWire
		"/?__elgg_uri=signup":                        true, // Elgg
		"/index.php?r=account/email":                 true, // Yii
		"/index.php?route=account/email":             true, // OpenCart
		"/?cmd=set_email":                            true, // Frappe
		"/?cmd=set_theme":                            false,
		"/?/account/email":                           true, // CodeIgniter
		"/index.php?/account/email?x=1":              true,
		"/index.php?account/email&x=1":               true, // XenForo
		"/account?email:method=Go":                   true, // Zope
		"/account?:method=email":                     true,
		"/account?theme:method=Go":                   false,
		"/account?email:method:string=Go":            true,
		"/account?email:method.x=1":                  true,
		"/account?email:utf8:action:int=1":           true,
		"/account?:default_method:string=email":      true,
		"/account?theme:method:string=Go":            false,
		"/account?email:string=x":                    false,
		"/theme.action?action:profile=x":             true, // Struts
		"/account/show?_action_email=x":              true, // Grails
		"/signin?next=/account/email":                false,
		"/signin?redirect_to=%2Faccount%2Femail":     false,
		"/signin?return_url=https://x/account/email": false,
		"/theme?page=2&s=blue&p=3":                   false,
	} {
		d := k.Decide(t.Context(), appReq("POST", target))
		if d.Allowed() == denied || denied && d.Reason != authz.ReasonLocal {
			t.Errorf("POST %s: %d %s (%s), want it denied: %t", target, d.Status, d.Reason, d.Detail, denied)
		}
	}
	for _, target := range []string{"/?q=unsubscribe", "/search?q=scim", "/?profile", "/search?q=account/email", "/?rest_route=/wp/v2/users"} {
		if d := k.Decide(t.Context(), appReq("GET", target)); !d.Allowed() {
			t.Errorf("GET %s: %d %s (%s), want it allowed", target, d.Status, d.Reason, d.Detail)
		}
	}
}

// TestFieldsInThePath: JSON:API and OData change one field at a path of its own.
func TestFieldsInThePath(t *testing.T) {
	t.Parallel()
	k := batched(t)
	value := jsonBody(`{"value":"x","data":[{"type":"role","id":"admin"}]}`)
	for target, denied := range map[string]bool{
		"/jsonapi/users/1/relationships/roles":      true,
		"/jsonapi/users/1/relationships/Roles.json": true,
		"/jsonapi/users/1/email":                    true,
		"/jsonapi/users/1/email/$value":             true,
		"/jsonapi/users(1)/email":                   true,
		"/jsonapi/users:email":                      true,
		"/jsonapi/users/1;email=x":                  true,
		"/jsonapi;email=x/users/1":                  true,
		"/jsonapi/users/1%2Femail":                  true,
		"/?q=jsonapi/users/1/email":                 true,
		"/jsonapi/users/1":                          false,
		"/jsonapi/users/1/relationships/posts":      false,
		"/jsonapi/users/carl@email.example":         false,
		"/jsonapi/users/ada.roles":                  false,
		"/jsonapi/users/1/email-digest":             false,
		"/jsonapi/users/1;theme=email":              false,
	} {
		d := k.Decide(t.Context(), appReq("PATCH", target, value))
		if d.Allowed() == denied || denied && d.Reason != authz.ReasonLocal {
			t.Errorf("PATCH %s: %d %s (%s), want it denied: %t", target, d.Status, d.Reason, d.Detail, denied)
		}
	}
}

// TestReadWithBody: a handler may read a body whatever the method is, so a read with a body is denied where a write is.
func TestReadWithBody(t *testing.T) {
	t.Parallel()
	run(t, []row{
		{"GET with a body", appReq("GET", "/api/users", jsonBody(`{}`)), 403, authz.ReasonLocal},
		{"HEAD with a body", appReq("HEAD", "/api/users/1", jsonBody(`{}`)), 403, authz.ReasonLocal},
		{"where other methods are denied", appReq("GET", "/admin/people/7", jsonBody(`{}`)), 403, authz.ReasonLocal},
		{"GET that announces one", appReq("GET", "/api/users", header("content-length", "2")), 403, authz.ReasonLocal},
		{"elsewhere", appReq("GET", "/api/search", jsonBody(`{}`)), 0, authz.ReasonAllowed},
		{"without a body", appReq("GET", "/api/users", header("content-length", "0")), 0, authz.ReasonAllowed},
		{"script name", appReq("POST", "/x/account/email", header("x-script-name", "/x")), 400, authz.ReasonOverride},
	})
}
