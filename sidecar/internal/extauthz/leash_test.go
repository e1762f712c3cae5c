package extauthz_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/extauthz"
	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

func of(t *testing.T, name string) authz.Decision {
	t.Helper()
	return allowed(t, request.SurfaceApp, func(d *authz.Decision) {
		d.Caller = authz.Caller{Subject: subject.Subject{UserName: name}}
	})
}

func code(err error) codes.Code { return status.Code(err) }

// TestCutEndsStreamsOfTheLockedUser: when Cut returns, the locked user's streams have ended
// with an error, and no other stream has.
func TestCutEndsStreamsOfTheLockedUser(t *testing.T) {
	k := newKit(t)
	var alice []interface {
		Recv() (*extproc.ProcessingResponse, error)
	}
	for range 3 {
		s, err := k.open(t, of(t, "alice"))
		if err != nil {
			t.Fatal(err)
		}
		alice = append(alice, s)
	}
	bob, err := k.open(t, of(t, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	if k.Open() != 4 {
		t.Fatalf("%d streams are held", k.Open())
	}
	k.decider.lock("alice", true)
	if n := k.Cut(t.Context(), "other"); n != 0 {
		t.Errorf("cut %d streams of another tenant", n)
	}
	began := time.Now()
	if n := k.Cut(t.Context(), "acme"); n != 3 {
		t.Errorf("cut %d streams, want 3", n)
	}
	// Cut waits for the calls to end.
	if k.Open() != 1 {
		t.Errorf("%d streams are held after the cut", k.Open())
	}
	if took := time.Since(began); took > time.Minute { // CutWait is two minutes
		t.Errorf("the cut took %s", took)
	}
	for _, s := range alice {
		if _, err := s.Recv(); code(err) != codes.PermissionDenied {
			t.Errorf("ended with %v", err)
		}
	}
	trailers := &extproc.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extproc.HttpTrailers{}}
	if err := bob.Send(&extproc.ProcessingRequest{Request: trailers}); err != nil {
		t.Fatal(err)
	}
	if m, err := bob.Recv(); err != nil || m.GetResponseTrailers() == nil {
		t.Errorf("bob's stream: %v %v", m, err)
	}
	if n := k.Cut(t.Context(), "acme"); n != 0 {
		t.Errorf("a second cut ended %d streams", n)
	}
}

// TestLockBetweenCheckAndRegistration: a lock after the allow of Check and before or during
// the registration of the leash keeps the stream from opening.
func TestLockBetweenCheckAndRegistration(t *testing.T) {
	k := newKit(t)
	d := of(t, "alice")
	k.decider.lock("alice", true)
	if _, err := k.open(t, d); code(err) != codes.PermissionDenied {
		t.Errorf("lock before registration: %v", err)
	}
	k.decider.lock("alice", false)
	cut := 0
	k.decider.mu.Lock()
	k.decider.asking = func() { // registered, and about to ask again
		k.decider.lock("alice", true)
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // told, not waited for: the call is this one
		cut = k.Cut(ctx, "acme")
	}
	k.decider.mu.Unlock()
	if _, err := k.open(t, d); code(err) != codes.PermissionDenied {
		t.Errorf("lock during registration: %v", err)
	}
	if cut != 1 {
		t.Errorf("the cut saw %d streams, want the one being registered", cut)
	}
}

// TestCutDenied: the streams of a route that is denied from now on end, of every user, and no stream of it is opened
// that was allowed before.
func TestCutDenied(t *testing.T) {
	k := newKit(t)
	s, err := k.open(t, of(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	k.decider.deny("/other")
	if n := k.CutDenied(t.Context()); n != 0 || k.Open() != 1 {
		t.Errorf("cut %d streams for another route, and %d are open", n, k.Open())
	}
	k.decider.deny("/ws")
	if n := k.CutDenied(t.Context()); n != 1 || k.Open() != 0 {
		t.Errorf("cut %d streams, want 1, and %d are open", n, k.Open())
	}
	if _, err := s.Recv(); code(err) != codes.PermissionDenied {
		t.Errorf("ended with %v", err)
	}
	if _, err := k.open(t, of(t, "bob")); code(err) != codes.PermissionDenied {
		t.Errorf("opened after the cut: %v", err)
	}
}

// TestCutLocked: the streams of locked users end in every tenant that has some.
func TestCutLocked(t *testing.T) {
	k := newKit(t)
	for _, name := range []string{"alice", "bob"} {
		if _, err := k.open(t, of(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	k.decider.lock("alice", true)
	if n := k.CutLocked(t.Context()); n != 1 || k.Open() != 1 {
		t.Errorf("cut %d streams, and %d are open, want 1 and 1", n, k.Open())
	}
}

// TestRaceOfLocksAndStreams: in every interleaving of opening and locking, no stream is open
// after the lock and its cut.
func TestRaceOfLocksAndStreams(t *testing.T) {
	k := newKit(t)
	md := k.metadataOf(t, of(t, "alice"))
	var wg sync.WaitGroup
	ended := make(chan error, 40)
	for range 40 {
		wg.Go(func() {
			s, err := k.openWith(t, md)
			if err == nil {
				_, err = s.Recv() // held: until the cut
			}
			ended <- err
		})
	}
	k.decider.lock("alice", true)
	k.Cut(t.Context(), "acme")
	wg.Wait()
	close(ended)
	for err := range ended {
		if code(err) != codes.PermissionDenied {
			t.Errorf("a stream ended with %v", err)
		}
	}
	if k.Open() != 0 {
		t.Errorf("%d streams are held", k.Open())
	}
}

// metadataOf is what Envoy forwards to the leash after a Check.
func (k *kit) metadataOf(t *testing.T, d authz.Decision) *corev3.Metadata {
	t.Helper()
	k.decider.mu.Lock()
	k.decider.answer = d
	k.decider.mu.Unlock()
	data := k.check(t, checkRequest("app", "GET", "/ws")).GetDynamicMetadata()
	return &corev3.Metadata{FilterMetadata: map[string]*structOf{extauthz.MetadataNamespace: data}}
}

// TestLeashWithoutSubject: a request without a known caller goes on. One without our metadata
// is refused, because nothing could cut it.
func TestLeashWithoutSubject(t *testing.T) {
	k := newKit(t)
	s, err := k.open(t, allowed(t, request.SurfaceApp))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err == nil || code(err) != codes.Unknown && err.Error() != "EOF" {
		t.Errorf("a request of nobody is held, or ended with %v", err)
	}
	broken := k.metadataOf(t, of(t, "alice"))
	broken.FilterMetadata[extauthz.MetadataNamespace].Fields["scimward_issued"] = broken.FilterMetadata[extauthz.MetadataNamespace].Fields["scimward_tenant"]
	nameless := k.metadataOf(t, of(t, "alice"))
	delete(nameless.FilterMetadata[extauthz.MetadataNamespace].Fields, "scimward_user_name")
	elsewhere := k.metadataOf(t, of(t, "alice"))
	elsewhere.FilterMetadata["client.chosen"] = elsewhere.FilterMetadata[extauthz.MetadataNamespace]
	delete(elsewhere.FilterMetadata, extauthz.MetadataNamespace)
	for name, m := range map[string]*corev3.Metadata{"none": nil, "empty": {}, "broken age": broken, "no name": nameless, "other namespace": elsewhere} {
		if _, err := k.openWith(t, m); code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k.Open() != 0 {
		t.Errorf("%d streams are held", k.Open())
	}
}

// TestLeashCaps: the streams of one user and of all are bounded, and a stream that ends makes
// room for another.
func TestLeashCaps(t *testing.T) {
	k := newKit(t, func(o *extauthz.Options) { o.MaxStreams, o.MaxPerSubject = 3, 2 })
	first, err := k.open(t, of(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(t, of(t, "alice")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(t, of(t, "alice")); code(err) != codes.ResourceExhausted {
		t.Errorf("third stream of one user: %v", err)
	}
	if _, err := k.open(t, of(t, "bob")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.open(t, of(t, "carol")); code(err) != codes.ResourceExhausted {
		t.Errorf("fourth stream in all: %v", err)
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for { // the call ends when the server has seen the end of the request
		if _, err := first.Recv(); err != nil {
			break
		}
	}
	if _, err := k.open(t, of(t, "carol")); err != nil {
		t.Errorf("a place that was given back: %v", err)
	}
	if n := k.series(t, "scimward_leash_refusals_total"); n != 2 {
		t.Errorf("%d reasons counted", n)
	}
}

// TestDrainEndsLeashes: open streams end as unavailable, and no new one opens.
func TestDrainEndsLeashes(t *testing.T) {
	k := newKit(t)
	s, err := k.open(t, of(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); code(err) != codes.Unavailable {
		t.Errorf("ended with %v", err)
	}
	if _, err := k.open(t, of(t, "alice")); code(err) != codes.ResourceExhausted {
		t.Errorf("a stream opened while draining: %v", err)
	}
	if k.Open() != 0 {
		t.Errorf("%d streams are held", k.Open())
	}
	if err := k.Drain(t.Context()); err != nil {
		t.Errorf("a second drain: %v", err)
	}
}

// TestCutAll: a process that may not decide any more ends the streams of everybody and takes no new ones, and takes
// them again when it may.
func TestCutAll(t *testing.T) {
	var may atomic.Bool
	may.Store(true)
	k := newKit(t, func(o *extauthz.Options) {
		o.MayDecide = func(lease.Lease, string, string) bool { return may.Load() }
	})
	var streams []leashStream
	for _, name := range []string{"alice", "bob"} {
		s, err := k.open(t, of(t, name))
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	meta := k.metadataOf(t, of(t, "alice"))
	may.Store(false)
	if n := k.CutAll(t.Context()); n != 2 || k.Open() != 0 {
		t.Errorf("CutAll = %d, and %d streams are open, want 2 and none", n, k.Open())
	}
	for _, s := range streams {
		if _, err := s.Recv(); code(err) != codes.Unavailable {
			t.Errorf("ended with %v, want Unavailable", err)
		}
	}
	if _, err := k.openWith(t, meta); code(err) != codes.Unavailable {
		t.Errorf("a stream without the right to decide: %v, want Unavailable", err)
	}
	may.Store(true)
	if _, err := k.open(t, of(t, "alice")); err != nil {
		t.Errorf("a stream after the right came back: %v", err)
	}
}

// TestLeashAnswersEveryMessage: each kind of message gets an answer of its kind.
func TestLeashAnswersEveryMessage(t *testing.T) {
	k := newKit(t)
	s, err := k.open(t, of(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in *extproc.ProcessingRequest
		ok func(*extproc.ProcessingResponse) bool
	}{
		{&extproc.ProcessingRequest{Request: &extproc.ProcessingRequest_RequestBody{}}, func(r *extproc.ProcessingResponse) bool { return r.GetRequestBody() != nil }},
		{&extproc.ProcessingRequest{Request: &extproc.ProcessingRequest_RequestTrailers{}}, func(r *extproc.ProcessingResponse) bool { return r.GetRequestTrailers() != nil }},
		{&extproc.ProcessingRequest{Request: &extproc.ProcessingRequest_ResponseHeaders{}}, func(r *extproc.ProcessingResponse) bool { return r.GetResponseHeaders() != nil }},
		{&extproc.ProcessingRequest{Request: &extproc.ProcessingRequest_ResponseBody{}}, func(r *extproc.ProcessingResponse) bool { return r.GetResponseBody() != nil }},
		{&extproc.ProcessingRequest{Request: &extproc.ProcessingRequest_ResponseTrailers{}}, func(r *extproc.ProcessingResponse) bool { return r.GetResponseTrailers() != nil }},
	} {
		if err := s.Send(c.in); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Recv(); err != nil || !c.ok(m) {
			t.Errorf("%T: %v %v", c.in.GetRequest(), m, err)
		}
	}
}

// TestNamesCannotImitateEachOther: a name that contains the text of another name does not
// join two users' streams, so a cut ends the right ones.
func TestNamesCannotImitateEachOther(t *testing.T) {
	k := newKit(t)
	callers := []subject.Subject{
		{UserName: "alice", AppUserID: "42"}, {UserName: "alice\x00app_user_id=42"}, {UserName: `alice" app_user_id="42`},
	}
	for _, s := range callers {
		d := allowed(t, request.SurfaceApp, func(d *authz.Decision) { d.Caller = authz.Caller{Subject: s} })
		if _, err := k.open(t, d); err != nil {
			t.Fatalf("opening the stream of %q: %v", s.UserName, err)
		}
	}
	k.decider.lock("alice", true)
	if n := k.Cut(t.Context(), "acme"); n != 1 {
		t.Errorf("Cut ended %d streams, want the one of alice", n)
	}
	if n := k.Open(); n != len(callers)-1 {
		t.Errorf("%d streams are open after the cut, want %d", n, len(callers)-1)
	}
}
