package extauthz

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A leash is one open request of one user. Envoy's ext_proc filter waits on its gRPC stream
// for the response trailers, so the stream lives exactly as long as the request. When the
// stream ends with an error, Envoy closes both sides of the request.
//
//	Check answers with the caller -> Envoy opens Process -> the leash is registered ->
//	the lock is checked again -> the request goes on until trailers, Cut or Drain
//
// The second check closes the race with a lock that arrives between the answer of Check and
// the registration. The locker publishes the lock before it scans the leashes. A new leash
// registers before it checks the lock. A route that is denied from now on is the same.
//
// The application's side and the bytes end at once. Envoy closes the client's connection
// after delayed_close_timeout of the connection manager, which defaults to one second. With
// 0s the client sees the end within a millisecond.
type leash struct {
	stream
	key string // tells callers apart

	end  chan struct{} // closed once, when the stream has to end
	why  *status.Status
	once sync.Once
	gone chan struct{} // closed when the call returns
}

// cut signals the call to end and reports whether it is the first to do so. It does not
// wait.
func (l *leash) cut(why *status.Status) bool {
	first := false
	l.once.Do(func() {
		l.why, first = why, true
		close(l.end)
	})
	return first
}

// processStream is the gRPC stream between Envoy's ext_proc filter and a leash.
type processStream = grpc.BidiStreamingServer[extproc.ProcessingRequest, extproc.ProcessingResponse]

// leashes are the open leashes, by tenant.
type leashes struct {
	max, perSubject int

	mu       sync.Mutex
	open     map[string]map[*leash]struct{}
	count    int
	subjects map[string]int // open streams by tenant and subject
	draining bool
	empty    chan struct{} // closed when draining and the last leash is removed
}

func newLeashes(limit, perSubject int) *leashes {
	return &leashes{
		max: limit, perSubject: perSubject, open: map[string]map[*leash]struct{}{},
		subjects: map[string]int{}, empty: make(chan struct{}),
	}
}

// keyOf tells callers apart. Two spellings of one user have two keys, and so two caps on
// open streams, which only costs memory.
func (s *stream) keyOf() string {
	var b strings.Builder
	b.WriteString(s.tenant)
	for kind, value := range s.caller.Names() {
		b.WriteString(" " + string(kind) + "=" + strconv.Quote(value)) // a value cannot imitate the next name
	}
	return b.String()
}

// add registers a leash. Without one it returns the reason.
func (ls *leashes) add(s *stream) (*leash, string) {
	l := &leash{stream: *s, key: s.keyOf(), end: make(chan struct{}), gone: make(chan struct{})}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch {
	case ls.draining:
		return nil, "draining"
	case ls.count >= ls.max:
		return nil, "streams"
	case ls.subjects[l.key] >= ls.perSubject:
		return nil, "streams_of_user"
	}
	of := ls.open[s.tenant]
	if of == nil {
		of = map[*leash]struct{}{}
		ls.open[s.tenant] = of
	}
	of[l] = struct{}{}
	ls.count++
	ls.subjects[l.key]++
	return l, ""
}

func (ls *leashes) remove(l *leash) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.open[l.tenant], l)
	if len(ls.open[l.tenant]) == 0 {
		delete(ls.open, l.tenant)
	}
	ls.count--
	if ls.subjects[l.key]--; ls.subjects[l.key] == 0 {
		delete(ls.subjects, l.key)
	}
	close(l.gone)
	if ls.draining && ls.count == 0 {
		close(ls.empty)
	}
}

// of returns the leashes of a tenant by caller, application and age: after a reactivation, a lock may
// refuse one session of a user and not the other.
func (ls *leashes) of(tenant string) map[string][]*leash {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := make(map[string][]*leash, len(ls.open[tenant]))
	for l := range ls.open[tenant] {
		age := l.key + " app=" + l.app + " issued=" + l.caller.IssuedAt.UTC().Format(time.RFC3339Nano)
		out[age] = append(out[age], l)
	}
	return out
}

// all returns the leashes by tenant.
func (ls *leashes) all() map[string][]*leash {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := make(map[string][]*leash, len(ls.open))
	for tenant, of := range ls.open {
		out[tenant] = slices.Collect(maps.Keys(of))
	}
	return out
}

// Cut ends the leashed streams of tenant that the decider denies now, and returns how
// many. Call it when the lock is in force and before the change is answered,
// without holding a lock of the lock table. It returns when the calls have ended, after
// CutWait, or when ctx is done, whichever is first; the streams have the signal to end in
// any case. It asks the decider once for each caller with an open stream in the tenant.
func (s *Server) Cut(ctx context.Context, tenant string) int {
	var ending []*leash
	for _, same := range s.leashes.of(tenant) {
		if !s.o.Decider.DecideSubject(ctx, tenant, same[0].app, &same[0].caller) {
			ending = append(ending, same...)
		}
	}
	return s.end(ctx, tenant, ending, status.New(codes.PermissionDenied, "the account is locked"))
}

// CutLocked is Cut for every tenant that has leashed streams, also for one that is not in the configuration any more.
func (s *Server) CutLocked(ctx context.Context) (n int) {
	for tenant := range s.leashes.all() {
		n += s.Cut(ctx, tenant)
	}
	return n
}

// routeDenied is why a stream ends that was allowed before.
const routeDenied = "the application does not take this request any more"

// CutDenied ends the leashed streams of all tenants whose routes the decider denies now, and returns how many. Call it
// when routes are denied that were allowed before, and after they are. It waits like Cut.
func (s *Server) CutDenied(ctx context.Context) (n int) {
	why := status.New(codes.PermissionDenied, routeDenied)
	for tenant, all := range s.leashes.all() {
		denied := slices.DeleteFunc(all, func(l *leash) bool { return s.o.Decider.DecideRoute(l.request, &l.caller) })
		n += s.end(ctx, tenant, denied, why)
	}
	return n
}

// CutAll ends every leashed stream, and returns how many. Call it when this process may not decide any more: it would
// not hear of a lock. It waits like Cut.
func (s *Server) CutAll(ctx context.Context) (n int) {
	why := status.New(codes.Unavailable, "the proxy's authorizer may not decide")
	for tenant, all := range s.leashes.all() {
		n += s.end(ctx, tenant, all, why)
	}
	return n
}

// end ends the streams that have no signal to end yet, and returns how many.
func (s *Server) end(ctx context.Context, tenant string, streams []*leash, why *status.Status) int {
	var ending []*leash
	for _, l := range streams {
		if l.cut(why) {
			ending = append(ending, l)
		}
	}
	if len(ending) == 0 {
		return 0
	}
	s.metrics.cuts.WithLabelValues(s.metrics.tenant(tenant)).Add(float64(len(ending)))
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "cut open streams", slog.String("tenant", tenant),
		slog.Int("streams", len(ending)), slog.String("why", why.Message()))
	ctx, cancel := context.WithTimeout(ctx, s.o.CutWait)
	defer cancel()
	for _, l := range ending {
		select {
		case <-l.gone:
		case <-ctx.Done():
			return len(ending)
		}
	}
	return len(ending)
}

// Drain refuses new leashes and ends the open ones, because no later call could cut them.
// It returns when they have ended, or the error of ctx. Checks go on until the
// gRPC server stops.
func (s *Server) Drain(ctx context.Context) error {
	ls := s.leashes
	ls.mu.Lock()
	already := ls.draining
	ls.draining = true
	if ls.count == 0 && !already {
		close(ls.empty)
	}
	ls.mu.Unlock()
	for _, all := range ls.all() {
		for _, l := range all {
			l.cut(status.New(codes.Unavailable, "the proxy's authorizer is stopping"))
		}
	}
	select {
	case <-ls.empty:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.readers.Wait()
	return nil
}

// Open returns how many streams are leashed.
func (s *Server) Open() int {
	s.leashes.mu.Lock()
	defer s.leashes.mu.Unlock()
	return s.leashes.count
}

// Process keeps the leash of one open request. A request without a known caller goes on
// without a leash: no lock could end it.
func (s *Server) Process(stream processStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	meta := readMetadata(first.GetMetadataContext())
	if meta == nil {
		return s.refuseStream(stream.Context(), "", "no_metadata", codes.FailedPrecondition,
			"no subject in the metadata: forward the namespace "+MetadataNamespace+" to this filter")
	}
	tenant := meta.tenant
	if err := s.o.Permit(stream.Context(), tenant, meta.app); err != nil {
		return s.refuseStream(stream.Context(), tenant, reasonEnvoy, codes.PermissionDenied,
			"this Envoy may not ask about the app")
	}
	if !meta.caller.Known() {
		return stream.Send(proceed(first))
	}
	meta.readRoute(first)
	l, why := s.leashes.add(meta)
	if l == nil {
		return s.refuseStream(stream.Context(), tenant, why, codes.ResourceExhausted, "too many open streams")
	}
	open := s.metrics.leashes.WithLabelValues(s.metrics.tenant(tenant))
	open.Inc()
	defer func() {
		open.Dec() // first: Cut and Drain return when the leash is removed
		s.leashes.remove(l)
	}()
	under := s.o.Lease()
	if !s.o.Decider.DecideSubject(stream.Context(), tenant, meta.app, &meta.caller) {
		return s.refuseStream(stream.Context(), tenant, "locked", codes.PermissionDenied, "the account is locked")
	}
	if !s.o.Decider.DecideRoute(meta.request, &meta.caller) {
		return s.refuseStream(stream.Context(), tenant, "route", codes.PermissionDenied, routeDenied)
	}
	if !s.o.MayDecide(under, tenant, "") {
		return s.refuseStream(stream.Context(), tenant, reasonLease, codes.Unavailable, "the authorizer may not decide")
	}
	if err := stream.Send(proceed(first)); err != nil {
		return err
	}
	return s.keep(stream, l)
}

// keep answers Envoy's further messages until the request ends or the leash is cut.
func (s *Server) keep(stream processStream, l *leash) error {
	ended := make(chan struct{})
	s.readers.Go(func() {
		defer close(ended)
		for {
			m, err := stream.Recv()
			if err == nil {
				err = stream.Send(proceed(m))
			}
			if err != nil {
				return // Recv ends with the call at the latest
			}
		}
	})
	select {
	case <-l.end:
		return l.why.Err()
	case <-stream.Context().Done():
		return nil
	case <-ended:
		select {
		case <-l.end: // both: the cut is the reason
			return l.why.Err()
		default:
			return nil
		}
	}
}

func (s *Server) refuseStream(ctx context.Context, tenant, reason string, code codes.Code, msg string) error {
	tenant = s.metrics.tenant(tenant)
	s.metrics.refused.WithLabelValues(tenant, reason).Inc()
	s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "refused an open stream",
		slog.String("tenant", tenant), slog.String("reason", reason))
	return status.Error(code, msg)
}

// proceed answers a message with its own kind and changes nothing.
func proceed(m *extproc.ProcessingRequest) *extproc.ProcessingResponse {
	out := &extproc.ProcessingResponse{}
	switch m.GetRequest().(type) {
	case *extproc.ProcessingRequest_ResponseHeaders:
		out.Response = &extproc.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extproc.HeadersResponse{}}
	case *extproc.ProcessingRequest_RequestBody:
		out.Response = &extproc.ProcessingResponse_RequestBody{RequestBody: &extproc.BodyResponse{}}
	case *extproc.ProcessingRequest_ResponseBody:
		out.Response = &extproc.ProcessingResponse_ResponseBody{ResponseBody: &extproc.BodyResponse{}}
	case *extproc.ProcessingRequest_RequestTrailers:
		out.Response = &extproc.ProcessingResponse_RequestTrailers{RequestTrailers: &extproc.TrailersResponse{}}
	case *extproc.ProcessingRequest_ResponseTrailers:
		out.Response = &extproc.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extproc.TrailersResponse{}}
	default:
		out.Response = &extproc.ProcessingResponse_RequestHeaders{RequestHeaders: &extproc.HeadersResponse{}}
	}
	return out
}
