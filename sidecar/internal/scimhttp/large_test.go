package scimhttp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// seed adds n users to the store, without SCIM requests.
func (s *service) seed(n int) []string {
	s.t.Helper()
	var ids []string
	for len(ids) < n {
		var part []string
		if _, err := s.store.Update(s.t.Context(), s.tenant, storetest.Cause("seed"), func(tx *store.Tx) error {
			part = nil
			for i := len(ids); i < min(len(ids)+500, n); i++ {
				u := &store.User{ID: fmt.Sprintf("0192-%032d", i), Resource: scim.Object{"userName": fmt.Sprint("u", i), "active": true}}
				if err := tx.CreateUser(u); err != nil {
					return err
				}
				part = append(part, u.ID)
			}
			return nil
		}); err != nil {
			s.t.Fatalf("adding users: %v", err)
		}
		ids = append(ids, part...)
	}
	return ids
}

// TestGroupCanBeWrittenBack: a group of any size that can be read can be written back, by POST, PUT and
// PATCH, and each change is whole.
func TestGroupCanBeWrittenBack(t *testing.T) {
	s := serve(t, base)
	n := 5_000
	ids := s.seed(n)
	began := time.Now()
	lap := func(what string) {
		t.Logf("%-24s %v", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	gid := s.do("POST", "/Groups", group("staff", ids[:n-1]...)).want(201).id()
	lap("POST")
	read := s.do("GET", "/Groups/"+gid, nil).want(200)
	lap("GET")
	version := read.header.Get("ETag")
	same := s.do("PUT", "/Groups/"+gid, string(read.raw)).want(200)
	lap("PUT of what was read")
	if same.header.Get("ETag") != version || !bytes.Equal(same.raw, read.raw) {
		t.Errorf("writing back what was read made version %s of %s", same.header.Get("ETag"), version)
	}
	s.unchanged(func() {
		s.do("PUT", "/Groups/"+gid, group("staff", append(slices.Clone(ids), "nobody")...)).wantError(400, "invalidValue")
		s.do("PUT", "/Groups/"+gid, group("staff", ids[n/2:]...), "If-Match", `W/"1"`).wantError(412, "")
	})
	lap("refusals")
	s.do("PUT", "/Groups/"+gid, group("renamed", ids[n/2:]...), "If-Match", version).want(200)
	lap("PUT of half")
	s.wantGroup(gid, ids[n/2:])
	s.do("PATCH", "/Groups/"+gid, ops(op("replace", "members", refs(ids...)))).want(204)
	lap("replace members")
	s.wantGroup(gid, ids)
	s.do("PATCH", "/Groups/"+gid, ops(op("replace", "members", refs(ids[:3]...)))).want(204)
	var each []obj
	for part := range slices.Chunk(ids[2:n-1], 50) {
		each = append(each, op("add", "members", refs(part...)))
	}
	s.do("PATCH", "/Groups/"+gid, ops(each...)).want(204)
	lap("add members")
	s.wantGroup(gid, ids[:n-1])
	records := s.records()
	if last := records[len(records)-1]; last.Action != "group.patch" || !slices.Contains(last.Attrs, "members") {
		t.Errorf("the last audit record is %+v, want the PATCH of members", last)
	}
}

// wantGroup compares the members of a group in the answer and in the store.
func (s *service) wantGroup(gid string, want []string) {
	s.t.Helper()
	if diff := cmp.Diff(sorted(slices.Clone(want)...), s.members(gid)); diff != "" {
		s.t.Errorf("members (-want +got):\n%s", diff)
	}
	if r, err := s.store.Verify(s.t.Context()); err != nil || !r.OK() {
		s.t.Errorf("Verify = %v, %v, want no findings", r.Findings, err)
	}
}

// upload sends a request whose body comes from a pipe, and returns the pipe and the answer to come.
func (s *service) upload(method, path string, length int64, token string) (*io.PipeWriter, <-chan *answer) {
	s.t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.server.URL+"/scim/v2"+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host, req.ContentLength = s.tenant+".test", length
	req.Header.Set("Content-Type", "application/scim+json")
	req.Header.Set("Authorization", "Bearer "+token)
	got := make(chan *answer, 1)
	go func() {
		defer close(got) // send may fail the test
		got <- s.send(req)
	}()
	return w, got
}

// TestLargeBodiesAreBounded: only a known client makes the service read a large body, only for a group, up
// to the limit, and all together take no more than one of the largest.
func TestLargeBodiesAreBounded(t *testing.T) {
	const limit = 1 << 20
	s := serve(t, base, func(o *scimhttp.Options) { o.MaxGroupBody = limit })
	gid := s.createGroup("staff")
	body := func(n int) string {
		g := `{"schemas":["` + scim.GroupURN + `"],"displayName":"large"`
		return g + strings.Repeat(" ", n-len(g)-1) + "}"
	}
	s.unchanged(func() {
		// A stranger has the answer before the body is complete.
		w, got := s.upload("PUT", "/Groups/"+gid, limit, "stolen")
		go func() { _, _ = io.WriteString(w, body(limit)[:300<<10]) }() // fails when the connection closes
		(<-got).wantError(401, "")
		_ = w.Close()
		s.do("PUT", "/Groups/"+gid, body(limit+1)).wantError(413, "")
		w, got = s.upload("PUT", "/Groups/"+gid, -1, s.token)
		go func() {
			_, _ = io.WriteString(w, body(limit+1)) // fails when the connection closes
			_ = w.Close()
		}()
		(<-got).wantError(413, "")
		s.do("POST", "/Users", body(300<<10)).wantError(413, "")
		s.do("PUT", "/Groups/"+gid, body(300<<10), "Content-Type", "text/plain").wantError(415, "")
	})
	var w *io.PipeWriter
	var first <-chan *answer
	s.eventually(func() bool {
		w, first = s.upload("PUT", "/Groups/"+gid, limit, s.token)
		if _, err := io.WriteString(w, body(limit)[:300<<10]); err != nil { // the service reads the rest now
			return false
		}
		for {
			select {
			case <-first: // it came while a request below had its bytes
				return false
			default:
			}
			if s.do("PUT", "/Groups/"+gid, body(300<<10)).status == 503 {
				return true
			}
		}
	})
	a := s.do("PUT", "/Groups/"+gid, body(300<<10)).wantError(503, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("503 has no Retry-After")
	}
	s.do("PUT", "/Groups/"+gid, group("small")).want(200)
	if _, err := io.WriteString(w, body(limit)[300<<10:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	(<-first).want(200)
	if got := s.do("PUT", "/Groups/"+gid, body(limit)).want(200).str("displayName"); got != "large" {
		t.Errorf("displayName %q, want large", got)
	}
}

// eventually waits until fn is true.
func (s *service) eventually(fn func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !fn(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("it did not become true in two minutes")
		}
	}
}

// laterDecider decides as for a transport without the body.
type laterDecider struct{ scimhttp.Decider }

func (d laterDecider) Decide(ctx context.Context, r request.Request) authz.Decision {
	r.Later, r.Partial = true, true
	return d.Decider.Decide(ctx, r)
}

// TestDecisionOnHeadersIsNoDecision: what the Check decides without the body changes nothing here.
func TestDecisionOnHeadersIsNoDecision(t *testing.T) {
	s := serve(t, base)
	gid := s.createGroup("staff")
	forged := newService(t, s.store).start(base, func(o *scimhttp.Options) { o.Decider = laterDecider{o.Decider} })
	s.unchanged(func() {
		forged.do("PUT", "/Groups/"+gid, group("changed")).wantError(503, "")
		forged.do("POST", "/Groups", group("new")).wantError(503, "")
	})
}
