package request_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// covers reports whether any reading of a path is covered by a template. A refused path
// counts as covered.
func covers(template, path string) bool {
	p, bad := request.ReadPath(path)
	return bad != nil || request.NewTemplate(template).Covers(&p)
}

// TestEveryReading: a template covers a path when a router could read the path as one of
// the template's.
func TestEveryReading(t *testing.T) {
	for _, c := range []struct{ name, template, path string }{
		{"blank as a segment", "/{lang}/account/profile", "/%20/account/profile"},
		{"parameters as a segment", "/{lang}/account/profile", "/;x/account/profile"},
		{"slash in a segment, escaped twice", "/{lang}/account/profile", "/a%252Fb/account/profile"},
		{"slash in a segment", "/{lang}/account/profile", "/a%2Fb/account/profile"},
		{"slashes in a segment", "/{lang}/account/profile", "/a%2F%2fb%5Cc/account/profile"},
		{"no-break space as a segment", "/{lang}/account/profile", "/%C2%A0/account/profile"},
		{"dot as a segment", "/{lang}/account/profile", "/.x/account/profile"},
		{"parameters after a slash", "/users/{id}/email", "/users/;7/email"},
		{"slash within parameters", "/users/{id}/email", "/users/7;a%2Fb/email"},
		{"slash within parameters of a name", "/users/{id}/email", "/users;a%2Fb/7/email"},
		{"slash within a suffix", "/users/{id}/email", "/users.a%2Fb/7/email"},
		{"placeholder that is a name of the template", "/users/{id}/email", "/users/users/email"},
		{"segments between that are nothing", "/users/{id}/email", "/%20/users/;x/7/./%20/email"},
		{"no segment but an escaped slash", "/users/{id}/email", "/users%2F7%2Femail"},
		{"empty placeholder", "/users/{id}/email", "/users//email"},
		{"empty placeholder, escaped", "/users/{id}/email", "/users/%2F/email"},
		{"path that ends in the middle", "/users/{id}/email", "/users/7/email%3Fx/y"},
		{"path that ends at a number sign", "/users/{id}/email", "/users/7/email%2523x"},
		{"below", "/users/{id}/email", "/users/7/email/x/y%2Fz"},
		{"escaped often", "/account/email", "/account/%2525252525252565mail"},
		{"fullwidth letters", "/account/email", "/%EF%BD%81ccount/email"},
		{"fullwidth capitals", "/account/email", "/%EF%BC%A1ccount/email"},
		{"fullwidth slash", "/account/email", "/account%EF%BC%8Femail"},
		{"division slash", "/account/email", "/account%E2%88%95email"},
		{"fraction slash", "/account/email", "/account%E2%81%84email"},
		{"big solidus", "/account/email", "/account%E2%A7%B8email"},
		{"set minus", "/account/email", "/account%E2%88%96email"},
		{"yen sign", "/account/email", "/account%C2%A5email"},
		{"soft hyphen", "/account/email", "/acc%C2%ADount/email"},
		{"zero-width joiner", "/account/email", "/acc%E2%80%8Dount/email"},
		{"variation selector", "/account/email", "/account%EF%B8%8F/email"},
		{"only a soft hyphen", "/account/email", "/%C2%AD/account/email"},
		{"soft hyphen, escaped twice", "/account/email", "/acc%25C2%25ADount/email"},
		{"one-dot leader", "/account/email", "/account/email%E2%80%A4json"},
		{"fullwidth full stop", "/account/email", "/account/email%EF%BC%8E"},
		{"two-dot leader goes up", "/account/email", "/account/x/%E2%80%A5/email"},
		{"fullwidth dots go up", "/account/email", "/x/%EF%BC%8E%EF%BC%8E/account/email"},
		{"ligature", "/{lang}/account/profile", "/en/account/pro%EF%AC%81le"},
		{"dotless i", "/account/email", "/account/ema%C4%B1l"},
		{"dotted capital I", "/account/email", "/account/ema%C4%B0l"},
		{"long s and Kelvin sign", "/tasks", "/ta%C5%BF%E2%84%AAs"},
		{"sharp s", "/password", "/pa%C3%9Fword"},
		{"fullwidth percent sign", "/account/email", "/account/%EF%BC%8565mail"},
		{"fullwidth semicolon", "/account/email", "/account%EF%BC%9Bx/email"},
		{"plus sign as a blank", "/account/email", "/account+/email"},
		{"view in the template", "/account/@@email", "/account/++view++email"},
		{"namespace that is no step", "/account/email", "/++skin++x/account/email"},
		{"namespaces with blanks escaped", "/account/email", "/account/%2B%2Bview%2B%2Bemail"},
		{"fullwidth bar", "/account/email", "/account%EF%BD%9Cemail"},
		{"template with a bar", "/account|email", "/account|email"},
		{"the last of several actions", "/_actions/user.email", "/_actions/x/_actions/user.email"},
		{"front controller", "/account/email", "/index.php/account/email"},
		{"front controller in other case", "/account/email", "/App.PHP/account/email"},
		{"front controller with a placeholder", "/{lang}/account/profile", "/index.php/en/account/profile"},
		{"session of ASP.NET", "/account/email", "/(S(x))/account/email"},
		{"session of ASP.NET, escaped", "/account/email", "/account/%28A(b)F(c)%29/email"},
		{"template with escapes", "/caf%C3%A9/email", "/CAF%C3%89/email"},
		{"template with a suffix", "/account/email.php", "/account/email.php"},
		{"template of everything", "/", "/x"},
		{"asterisk", "/users/*/email", "/users/%20/email"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !covers(c.template, c.path) {
				t.Errorf("%s does not cover %s", c.template, c.path)
			}
		})
	}
}

// TestReadingsHaveLimits: paths that no router takes for the template's.
func TestReadingsHaveLimits(t *testing.T) {
	for _, c := range []struct{ template, path string }{
		{"/{lang}/account/profile", "/account/profile"},
		{"/{lang}/account/profile", "/en/account/profiles"},
		{"/{lang}/account/profile", "/en/x/account/profile"},
		{"/{lang}/account/profile", "/en/account"},
		{"/users/{id}/email", "/users/7/emails"},
		{"/users/{id}/email", "/users/email"},
		{"/users/{id}/email", "/proxy/https%3A%2F%2Fusers.example%2F7%2Femail"},
		{"/account/email", "/wiki/Account%2FEmail"},
		{"/account/email", "/accounts/email"},
		{"/account/email", "/account/++view++emails"},
		{"/account/email", "/account|emails"},
		{"/account/email", "/account/e|mail|s"},
		{"/_actions/email", "/_actions/x/email"},
		{"/account/email", "/account/em%C3%A4l"},
		{"/account/email", "/notes.txt/account/email"},
		{"/account/email", "/account/x%3Femail"},
		{"/account/email", "/%E3%82%A2/%EF%BC%9F/100%25"},
	} {
		if covers(c.template, c.path) {
			t.Errorf("%s covers %s", c.template, c.path)
		}
	}
}

// TestExactReadings: a template of a body route matches in any reading, but not what lies
// below.
func TestExactReadings(t *testing.T) {
	login := request.NewTemplate("/login/{realm}")
	for path, want := range map[string]bool{
		"/login/x": true, "/login/x/": true, "/Login/%20": true, "/login/a%2Fb": true, "/login%2Fx": true, "/login/x;y/": true,
		"/%20/login/x": true, "/login/x%3Fy/z": true, "/login": false, "/login/x/y": false, "/logins/x": false,
	} {
		p, bad := request.ReadPath(path)
		if bad != nil || login.Matches(&p) != want {
			t.Errorf("%s: %v, matches %t, want %t", path, bad, !want, want)
		}
	}
}

// TestManyReadings: a path of the largest size with a choice at each byte or two. With a
// list of readings the test would not end.
func TestManyReadings(t *testing.T) {
	template := strings.Repeat("/{x}/a", request.MaxTemplate/2)
	for _, part := range []string{"%2F", "%2F;", "/;b", "/a%2F", "/%20", "/;%C3%A4", "%2F.", "%E2%88%95", "a,", "b(", "b(,", ",:/", "/a|", "_actions/", "/++b++"} {
		path := "/" + strings.Repeat(part, 59_000/len(part))
		if p, bad := request.ReadPath(path); bad != nil {
			t.Errorf("%q often: %v", part, bad)
		} else if request.NewTemplate(template + "/no/such").Matches(&p) {
			t.Errorf("%q often matches a template that it does not contain", part)
		}
	}
	if !covers(template, strings.Repeat("/%20/%2F/a", 5000)) {
		t.Error("the reading in the middle of a long path is not found")
	}
}

// TestRequestQuery: what follows a decoded question mark counts as query too.
func TestRequestQuery(t *testing.T) {
	for path, want := range map[string]string{
		"/a": "q=1", "/a%3Fb=2/c": "q=1&b=2/c", "/a%253Fb%252Fc%2526d": "q=1&b/c&d", "/a%3F": "q=1",
		"/a%253Fb%2526c": "q=1&b&c", "/a%3F%2525": "q=1&%2525&%25",
	} {
		p, bad := request.ReadPath(path)
		if bad != nil {
			t.Errorf("%s: %v", path, bad)
			continue
		}
		if got := p.Query("q=1"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// FuzzReadings: matching never panics, and a covered path stays covered when a letter of
// its names is escaped, or a segment that folds to nothing is added.
func FuzzReadings(f *testing.F) {
	for _, path := range []string{
		"/en/account/profile", "/%20/account/profile", "/a%252Fb/account/profile", "/users/;7/email", "/users%2F7%2Femail",
		"/account%E2%88%95email", "/acc%C2%ADount/email", "/x/%E2%80%A5/account/email", "/account/email%3Fx", "/%EF%BC%85%32F",
		"/acc%C2%ADountemail",
		"/proxy/https%3A%2F%2Fhost%2F", "/100%25/a", "/a;b/c.d/", "/%ff", "//", "/.",
	} {
		f.Add(path, uint8(3))
	}
	templates := []string{"/{lang}/account/profile", "/users/{id}/email", "/account/email"}
	f.Fuzz(func(t *testing.T, path string, at uint8) {
		p, bad := request.ReadPath(path)
		p.SCIM()
		p.Query("")
		for _, text := range templates {
			template := request.NewTemplate(text)
			if bad != nil || !template.Covers(&p) {
				template.Matches(&p)
				continue
			}
			once := escapeOne(path, int(at))
			for _, more := range []string{"/%20" + path, path + "/x", once, escapeOne(once, int(at))} {
				if !covers(text, more) {
					t.Errorf("%s covers %q, but not %q", text, path, more)
				}
			}
		}
	})
}

// escapeOne escapes the character at or after position at that has one meaning only.
func escapeOne(path string, at int) string {
	for i := range len(path) {
		j := (i + at) % len(path)
		if c := path[j]; (c|0x20 >= 'a' && c|0x20 <= 'z' || c == '%') && !inEscape(path, j) {
			const digits = "0123456789ABCDEF"
			return path[:j] + "%" + string(digits[c>>4]) + string(digits[c&15]) + path[j+1:]
		}
	}
	return path
}

func inEscape(path string, j int) bool {
	return j > 0 && path[j-1] == '%' || j > 1 && path[j-2] == '%'
}
