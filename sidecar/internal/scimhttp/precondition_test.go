package scimhttp_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store/scim"
)

// TestPreconditions: If-Match and If-None-Match decide as RFC 9110 §13 says, with weak comparison. A
// refused write changes nothing.
func TestPreconditions(t *testing.T) {
	s := serve(t, base)
	uid, gid := s.createUser("ada"), s.createGroup("staff")
	update := map[string]obj{"/Users/" + uid: person("ada"), "/Groups/" + gid: group("staff")}
	for path, body := range update {
		own := s.do("GET", path, nil).want(200).header.Get("ETag")
		if meta := s.do("GET", path, nil).meta("version"); own == "" || meta != own {
			t.Fatalf("%s: ETag %q, meta.version %q, want the same", path, own, meta)
		}
		strong := strings.TrimPrefix(own, "W/")
		for _, tt := range []struct {
			field, value string
			read, write  int
		}{
			{"If-Match", own, 200, 200},
			{"If-Match", strong, 200, 200},
			{"If-Match", "*", 200, 200},
			{"If-Match", `W/"none", "x,y" , ` + own, 200, 200},
			{"If-Match", `W/"1000000"`, 412, 412},
			{"If-Match", `"", W/"x"`, 412, 412},
			{"If-None-Match", own, 304, 412},
			{"If-None-Match", strong, 304, 412},
			{"If-None-Match", "*", 304, 412},
			{"If-None-Match", `"x" ,,` + own, 304, 412},
			{"If-None-Match", `W/"1000000"`, 200, 200},
			{"If-Match", `12`, 400, 400},
			{"If-Match", `w/"12"`, 400, 400},
			{"If-Match", `"12`, 400, 400},
			{"If-Match", `*, "12"`, 400, 400},
			{"If-Match", `,`, 400, 400},
			{"If-Match", `"a" "b"`, 400, 400},
			{"If-None-Match", `W/12`, 400, 400},
		} {
			t.Run(path[:6]+" "+tt.field+" "+tt.value, func(t *testing.T) {
				for _, method := range []string{"GET", "HEAD"} {
					a := s.do(method, path, nil, tt.field, tt.value).want(tt.read)
					if tt.read < 400 && a.header.Get("ETag") != own || tt.read == 304 && len(a.raw) > 0 {
						t.Errorf("%s: ETag %q, want %q; body %q", method, a.header.Get("ETag"), own, a.raw)
					}
				}
				s.unchanged(func() {
					if a := s.do("PUT", path, body, tt.field, tt.value).want(tt.write); tt.write == 412 {
						a.wantError(412, "")
					}
					if tt.write != 200 {
						s.do("DELETE", path, nil, tt.field, tt.value).want(tt.write)
						s.do("PATCH", path, ops(op("replace", "displayName", "x")), tt.field, tt.value).want(tt.write)
					}
				})
			})
		}
		next := s.do("PATCH", path+"?attributes=displayName", ops(op("replace", "displayName", "new")), "If-Match", own).want(200)
		if tag := next.header.Get("ETag"); tag == own || tag != s.do("GET", path, nil).header.Get("ETag") {
			t.Errorf("%s: ETag %q after the change, %q before", path, tag, own)
		}
		s.do("DELETE", path, nil, "If-Match", own).wantError(412, "")
		s.do("DELETE", path, nil, "If-Match", next.header.Get("ETag")).want(204)
		s.do("DELETE", path, nil, "If-Match", "*").wantError(404, "")
	}
}

// TestPreconditionsOfCreation: If-None-Match is harmless, and no tag is the one of a new resource.
func TestPreconditionsOfCreation(t *testing.T) {
	s := serve(t, base)
	a := s.do("POST", "/Users", person("ada"), "If-None-Match", "*").want(201)
	if a.header.Get("ETag") != a.meta("version") {
		t.Errorf("ETag %q, meta.version %q", a.header.Get("ETag"), a.meta("version"))
	}
	s.unchanged(func() { s.do("POST", "/Users", person("bob"), "If-Match", `W/"1"`).wantError(412, "") })
	s.do("POST", "/Groups", group("staff"), "If-Match", "*").want(201)
}

// TestVersionCountsMembers: a change of members is another version of the group and, since the answer has
// the groups, another ETag of the user. It is no reason to refuse a change of the user.
func TestVersionCountsMembers(t *testing.T) {
	s := serve(t, base)
	uid, gid := s.createUser("ada"), s.createGroup("staff")
	user, group := s.do("GET", "/Users/"+uid, nil), s.do("GET", "/Groups/"+gid, nil)
	joined := s.do("PATCH", "/Groups/"+gid, ops(op("add", "members", refs(uid)))).want(204)
	if tag := joined.header.Get("ETag"); tag == group.header.Get("ETag") {
		t.Errorf("the ETag of the group is still %s", tag)
	}
	s.do("GET", "/Groups/"+gid, nil, "If-None-Match", joined.header.Get("ETag")).want(304)
	s.do("DELETE", "/Groups/"+gid, nil, "If-Match", group.header.Get("ETag")).wantError(412, "")
	now := s.do("GET", "/Users/"+uid, nil, "If-None-Match", user.header.Get("ETag")).want(200)
	if now.meta("version") != now.header.Get("ETag") {
		t.Errorf("meta.version %s, ETag %s", now.meta("version"), now.header.Get("ETag"))
	}
	s.do("GET", "/Users/"+uid, nil, "If-None-Match", now.header.Get("ETag")).want(304)
	s.do("PATCH", "/Groups/"+gid, ops(op("replace", "displayName", "renamed"))).want(204)
	s.do("GET", "/Users/"+uid, nil, "If-None-Match", now.header.Get("ETag")).want(200)
	s.do("PATCH", "/Users/"+uid, ops(op("replace", "title", "x")), "If-Match", user.header.Get("ETag")).want(200)
	s.do("PATCH", "/Users/"+uid, ops(op("replace", "title", "y")), "If-Match", now.header.Get("ETag")).wantError(412, "")
}

// TestPreconditionsAreAtomic: of many changes that expect one version, exactly one succeeds.
func TestPreconditionsAreAtomic(t *testing.T) {
	s := serve(t, base)
	var users []string
	for i := range 12 {
		users = append(users, s.createUser(fmt.Sprint("u", i)))
	}
	gid := s.createGroup("staff")
	for path, change := range map[string]func(i int) obj{
		"/Users/" + users[0]: func(i int) obj { return ops(op("replace", "title", fmt.Sprint("t", i))) },
		"/Groups/" + gid:     func(i int) obj { return ops(op("add", "members", refs(users[i]))) },
	} {
		own := s.do("GET", path, nil).header.Get("ETag")
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() {
				switch a := s.do("PATCH", path, change(i), "If-Match", own); a.status {
				case 200, 204:
					won.Add(1)
				case 412:
					lost.Add(1)
				default:
					t.Errorf("%s: status %d: %s", path, a.status, a.raw)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != int64(len(users)-1) {
			t.Errorf("%s: %d changes won and %d lost, want 1 and %d", path, won.Load(), lost.Load(), len(users)-1)
		}
	}
}

// TestDiscoveryHasETags: discovery says that ETags are supported, and its documents have some.
func TestDiscoveryHasETags(t *testing.T) {
	s := serve(t, il1)
	a := s.do("GET", "/ServiceProviderConfig", nil).want(200)
	if got := fmt.Sprint(a.body["etag"]); got != "map[supported:true]" {
		t.Errorf("etag: %s, want it supported", got)
	}
	for _, path := range []string{"/ServiceProviderConfig", "/Schemas", "/Schemas/" + scim.UserURN, "/ResourceTypes"} {
		own := s.do("GET", path, nil).want(200).header.Get("ETag")
		s.do("GET", path, nil, "If-None-Match", own).want(304)
		s.do("GET", path, nil, "If-Match", own).want(200)
		s.do("GET", path, nil, "If-Match", `W/"x"`).wantError(412, "")
		s.do("GET", path, nil, "If-None-Match", `W/"x"`).want(200)
	}
}

// FuzzEntityTags: the parser accepts only what it can write again, and no value makes it panic.
func FuzzEntityTags(f *testing.F) {
	for _, s := range []string{`*`, `W/"1"`, `"a","b"`, `, ,"" ,W/"x.y"`, `"a`, `W/W/"a"`, "\"\xff\"", `**`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, ok := scimhttp.ParseTags(s)
		if !ok {
			return
		}
		again, ok := scimhttp.ParseTags(strings.Join(tags, ", "))
		if !ok || strings.Join(again, ",") != strings.Join(tags, ",") {
			t.Errorf("%q parses as %q, and that as %q (%t)", s, tags, again, ok)
		}
	})
}
