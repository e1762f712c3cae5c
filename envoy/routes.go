package envoy

import (
	"regexp"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	procv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/passes"
)

// route is one route of a virtual host before it becomes a message.
type route struct {
	name    string
	match   *routev3.RouteMatch
	cluster string
	authz   *authzv3.ExtAuthzPerRoute
	leash   bool
	upgrade bool
	timeout time.Duration // of the response; zero means no limit, for responses that stay open
	retry   *routev3.RetryPolicy
	whole   time.Duration // of request and response together; zero means no limit
}

// exchangeLimit ends requests of an application without a leash. The timeout of a route begins when the
// request has ended, so without this limit a leaver could prepare requests, keep their bodies unfinished,
// and finish them after the lock. It is a little longer than the timeout, whose answer is 504.
const exchangeLimit = time.Minute + 5*time.Second

func (b *builder) route(r route) *routev3.Route {
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: r.cluster},
		Timeout:          durationpb.New(r.timeout),
		RetryPolicy:      r.retry,
	}
	if r.whole > 0 {
		action.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(r.whole)}
	}
	if r.upgrade {
		action.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: "websocket"}}
	}
	out := &routev3.Route{
		Name:                 r.name,
		Match:                r.match,
		Action:               &routev3.Route_Route{Route: action},
		TypedPerFilterConfig: map[string]*anypb.Any{filterAuthz: b.any(r.authz)},
	}
	if r.cluster != ClusterSCIM {
		out.RequestHeadersToRemove = []string{"x-forwarded-client-cert"} // is for the SCIM service
	}
	if r.leash {
		out.TypedPerFilterConfig[filterLeash] = b.any(&procv3.ExtProcPerRoute{
			Override: &procv3.ExtProcPerRoute_Overrides{Overrides: &procv3.ExtProcOverrides{}},
		})
	}
	return out
}

func under(path string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: path}}
}

// templated matches a path template. {name} and * stand for one segment.
func templated(path string) *routev3.RouteMatch {
	if !strings.ContainsAny(path, "{*") {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}}
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if s == "*" || strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
			segments[i] = "[^/]+"
		} else {
			segments[i] = regexp.QuoteMeta(s)
		}
	}
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(segments, "/")},
	}}
}

// below matches what lies below a path template, and for one such as "/graphql*" all that starts so.
func below(path string) *routev3.RouteMatch {
	start := startBelow(path)
	m := templated(start)
	if expression := m.GetSafeRegex(); expression != nil {
		expression.Regex += ".*"
		return m
	}
	return startingWith(start)
}

// startBelow returns how all paths below a template start.
func startBelow(path string) string {
	if start, open := openEnd(path); open {
		return start
	}
	return strings.TrimSuffix(path, "/") + "/"
}

// openEnd cuts the star of a template such as "/graphql*". The star of "/users/*" stands for a segment.
func openEnd(path string) (start string, open bool) {
	start, open = strings.CutSuffix(path, "*")
	return start, open && !strings.HasSuffix(start, "/")
}

// belowWithin matches what lies below a path template and has the prefix, nil for nothing.
func belowWithin(path, prefix string) *routev3.RouteMatch {
	switch start := startBelow(path); {
	case path == "/":
		return nil
	case strings.HasPrefix(start, prefix):
		return below(path)
	case strings.HasPrefix(prefix, start):
		return startingWith(prefix)
	}
	return nil
}

func startingWith(path string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: path}}
}

// method limits a match to requests with a method that matches the expression.
func method(m *routev3.RouteMatch, expression string) *routev3.RouteMatch {
	m.Headers = append(m.Headers, matching(":method", expression))
	return m
}

// matching matches a header whose whole value matches the expression.
func matching(name, expression string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name: name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: expression}},
		}},
	}
}

// containing limits a match to requests with a header that contains the text, in any case. It compares bytes: an
// expression never matches a value that is not UTF-8.
func containing(m *routev3.RouteMatch, name, text string) *routev3.RouteMatch {
	m.Headers = append(m.Headers, &routev3.HeaderMatcher{
		Name: name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Contains{Contains: text}, IgnoreCase: true,
		}},
	})
	return m
}

func present(m *routev3.RouteMatch, name string) *routev3.RouteMatch {
	m.Headers = append(m.Headers, &routev3.HeaderMatcher{
		Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
	})
	return m
}

const writeMethods = "^(POST|PUT|PATCH)$"

// scimRoutes returns the routes of a tenant that end at scimward. Envoy buffers the start of a body, for
// the writing methods only. It waits longer for an answer than scimward does for the other cores.
func (b *builder) scimRoutes(cfg *config.Config, t *config.Tenant) []*routev3.Route {
	to := func(
		name, surface string, limit time.Duration, m *routev3.RouteMatch, buf *authzv3.BufferSettings,
	) *routev3.Route {
		r := route{
			name: t.Name + name, match: m, cluster: ClusterSCIM, timeout: cfg.Cluster.Outlasting(limit),
			authz: perRoute(surface, t.Name, "", buf),
		}
		if len(cfg.Envoy.Connect.Cores) > 0 {
			r.retry = b.unreceived()
			r.authz.GetCheckSettings().ServiceOverride = &authzv3.CheckSettings_GrpcService{GrpcService: askCores(cfg)}
		}
		return b.route(r)
	}
	scim := func(name string, m *routev3.RouteMatch, buffer *authzv3.BufferSettings) *routev3.Route {
		return to("/"+name, "scim", 30*time.Second, m, buffer)
	}
	oauth := func(path string) *routev3.Route { return to(path, "oauth", 15*time.Second, under(path), nil) }
	return []*routev3.Route{
		scim("scim-write", method(under("/scim/v2"), writeMethods), bufferedStart(cfg)),
		scim("scim", under("/scim/v2"), nil),
		oauth("/oauth"),
		oauth("/.well-known"),
	}
}

// reads limits a match to the methods that clients send without a body: all but POST, PUT and PATCH.
func reads(m *routev3.RouteMatch) *routev3.RouteMatch {
	m = method(m, writeMethods)
	m.Headers[len(m.Headers)-1].InvertMatch = true
	return m
}

// appRoutes returns the routes of an application. Routes with a checked body come first. Routes
// that may stay open, with a leash, come next. Then comes the rest.
//
// Over HTTP/2 a body need not be announced in the headers (RFC 9113 §8.1.1), and a handler may take a read with a body
// for a write. So Envoy buffers the body of every read that has one. Frameworks serve what lies below the path of a
// handler too, so the bodies of writes there are buffered, and their responses may stay open as elsewhere.
func (b *builder) appRoutes(cfg *config.Config, t *config.Tenant, a *config.App) []*routev3.Route {
	cluster := appCluster(t.Name, a.Name)
	authz := func(buffer *authzv3.BufferSettings) *authzv3.ExtAuthzPerRoute {
		per := perRoute("app", t.Name, a.Name, buffer)
		declared := append(a.Passes(), passes.Hosts(cfg.Hosts()))
		if cfg.PassesEveryHeader(time.Now()) && !slices.Contains(declared, passes.AllHeaders) {
			declared = append(declared, passes.AllHeaders)
		}
		per.GetCheckSettings().ContextExtensions[passes.Extension] = declared.String()
		return per
	}
	var out []*routev3.Route
	for _, path := range append(a.BodyPaths(), a.IndexFolders()...) {
		if _, open := openEnd(path); open {
			continue // it has no path of its own
		}
		out = append(out, b.route(route{
			name: t.Name + "/" + a.Name + path, match: method(templated(path), "^(POST|PUT|PATCH|DELETE)$"),
			cluster: cluster, authz: authz(buffered(cfg)), timeout: time.Minute, whole: exchangeLimit,
		}))
	}
	all := func(name, prefix string, narrow func(*routev3.RouteMatch) *routev3.RouteMatch, r route) {
		add := func(suffix string, m *routev3.RouteMatch, buffer *authzv3.BufferSettings) {
			r := r
			r.name, r.cluster, r.match, r.authz = t.Name+"/"+a.Name+name+suffix, cluster, narrow(m), authz(buffer)
			out = append(out, b.route(r))
		}
		for _, path := range a.BodyPaths() {
			if m := belowWithin(path, prefix); m != nil {
				add("#below"+path, method(m, writeMethods), buffered(cfg))
			}
		}
		add("#read", reads(startingWith(prefix)), buffered(cfg))
		add("", startingWith(prefix), nil)
	}
	unchanged := func(m *routev3.RouteMatch) *routev3.RouteMatch { return m }
	stays := route{leash: true}
	out = append(out, b.route(route{ // HTTP/1.1 only, which announces each body
		name: t.Name + "/" + a.Name + "/upgrade", match: present(startingWith("/"), "upgrade"), cluster: cluster,
		authz: authz(nil), leash: true, upgrade: true,
	}))
	all("/events", "/", func(m *routev3.RouteMatch) *routev3.RouteMatch {
		return containing(m, "accept", "text/event-stream")
	}, stays)
	for _, s := range a.Streams {
		all("/stream"+s, s, unchanged, stays)
	}
	all("", "/", unchanged, route{timeout: time.Minute, whole: exchangeLimit})
	return out
}
