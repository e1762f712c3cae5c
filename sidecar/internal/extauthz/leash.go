package extauthz

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A leash is one open request of one user: Envoy's ext_proc filter waits on it for
// the response trailers, so that it lives exactly as long as the request. Ending
// its gRPC stream with an error makes Envoy close both sides (edge §3.4).
//
//	Check answers with the subject -> Envoy opens Process -> registered ->
//	lock table asked again -> request goes on -> held until trailers, Cut or Drain
//
// The second question closes the race with a lock that came between the answer of
// Check and the registration: whoever locks first makes the lock visible and then
// looks for leashes; whoever opens registers first and then looks for the lock.
//
// The application's side and the bytes end at once. The client's connection is
// closed by Envoy after delayed_close_timeout of the connection manager, one second
// unless it is set: with 0s the client sees the end within a millisecond.
type leash struct {
	stream
	key string // tells callers apart

	end  chan struct{} // closed once, when the stream has to end
	why  *status.Status
	once sync.Once
	gone chan struct{} // closed when the call has returned
}

// cut tells the call to end. It does not wait.
func (l *leash) cut(why *status.Status) bool {
	first := false
	l.once.Do(func() {
		l.why, first = why, true
		close(l.end)
	})
	return first
}

// leashes holds every open leash, by tenant.
type leashes struct {
	max, perSubject int

	mu       sync.Mutex
	open     map[string]map[*leash]struct{}
	count    int
	subjects map[string]int // open streams by tenant and subject
	draining bool
	empty    chan struct{} // closed when draining and the last has gone
}

func newLeashes(limit, perSubject int) *leashes {
	return &leashes{
		max: limit, perSubject: perSubject, open: map[string]map[*leash]struct{}{}, subjects: map[string]int{}, empty: make(chan struct{}),
	}
}

// keyOf tells callers apart. Two spellings of one user have two keys, and so two caps on
// open streams, which costs memory and nothing else.
func (s *stream) keyOf() string {
	var b strings.Builder
	b.WriteString(s.tenant)
	for kind, value := range s.caller.Names() {
		b.WriteString("\x00" + string(kind) + "=" + value)
	}
	return b.String()
}

// add registers a leash, or says why not.
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

// of returns the leashes of a tenant by caller and age: after a reactivation, a lock may
// refuse one session of a user and not the other.
func (ls *leashes) of(tenant string) map[string][]*leash {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := make(map[string][]*leash, len(ls.open[tenant]))
	for l := range ls.open[tenant] {
		age := l.key + "\x00" + l.caller.IssuedAt.UTC().Format(time.RFC3339Nano)
		out[age] = append(out[age], l)
	}
	return out
}

// Cut ends every leashed stream of tenant whose subject the decider refuses now,
// and returns how many. Call it when the lock is in force, before the change is
// answered; it must be free to ask the lock table. It returns when the calls have
// ended, after CutWait, or when ctx is done, whichever is first; the streams have
// been told in any case. The cost is one question for each subject that has a
// stream open in the tenant.
func (s *Server) Cut(ctx context.Context, tenant string) int {
	why := status.New(codes.PermissionDenied, "the account is locked")
	var told []*leash
	for _, same := range s.leashes.of(tenant) {
		if s.o.Decider.DecideSubject(tenant, &same[0].caller) {
			continue
		}
		for _, l := range same {
			if l.cut(why) {
				told = append(told, l)
			}
		}
	}
	if len(told) == 0 {
		return 0
	}
	s.metrics.cuts.WithLabelValues(s.metrics.tenant(tenant)).Add(float64(len(told)))
	s.o.Logger.LogAttrs(ctx, slog.LevelInfo, "cut open streams", slog.String("tenant", tenant), slog.Int("streams", len(told)))
	ctx, cancel := context.WithTimeout(ctx, s.o.CutWait)
	defer cancel()
	for _, l := range told {
		select {
		case <-l.gone:
		case <-ctx.Done():
			return len(told)
		}
	}
	return len(told)
}

// Drain refuses new leashes and ends the open ones: a stream that nobody holds
// could not be cut (fail closed). It returns when they have ended, or the error of
// ctx. Checks go on: stopping them is the gRPC server's part.
func (s *Server) Drain(ctx context.Context) error {
	ls := s.leashes
	ls.mu.Lock()
	already := ls.draining
	ls.draining = true
	if ls.count == 0 && !already {
		close(ls.empty)
	}
	var all []*leash
	for _, of := range ls.open {
		for l := range of {
			all = append(all, l)
		}
	}
	ls.mu.Unlock()
	for _, l := range all {
		l.cut(status.New(codes.Unavailable, "the proxy's authorizer is stopping"))
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

// Process holds one open request. A request that nobody is known for is let go at
// once: there is no lock that could end it.
func (s *Server) Process(stream grpc.BidiStreamingServer[extproc.ProcessingRequest, extproc.ProcessingResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	said := readMetadata(first.GetMetadataContext())
	if said == nil {
		return s.refuseStream(stream.Context(), "", "no_metadata", codes.FailedPrecondition,
			"no subject in the metadata: forward the namespace "+MetadataNamespace+" to this filter")
	}
	tenant := said.tenant
	if !said.caller.Known() {
		return stream.Send(proceed(first))
	}
	l, why := s.leashes.add(said)
	if l == nil {
		return s.refuseStream(stream.Context(), tenant, why, codes.ResourceExhausted, "no further stream can be held")
	}
	held := s.metrics.leashes.WithLabelValues(s.metrics.tenant(tenant))
	held.Inc()
	defer func() {
		held.Dec() // first: Cut and Drain return when it is removed
		s.leashes.remove(l)
	}()
	if !s.o.Decider.DecideSubject(tenant, &said.caller) {
		return s.refuseStream(stream.Context(), tenant, "locked", codes.PermissionDenied, "the account is locked")
	}
	if err := stream.Send(proceed(first)); err != nil {
		return err
	}
	return s.hold(stream, l)
}

// hold answers what Envoy still sends until the request ends or the leash is cut.
func (s *Server) hold(stream grpc.BidiStreamingServer[extproc.ProcessingRequest, extproc.ProcessingResponse], l *leash) error {
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
		case <-l.end: // both: the cut is the reason to tell
			return l.why.Err()
		default:
			return nil
		}
	}
}

func (s *Server) refuseStream(ctx context.Context, tenant, reason string, code codes.Code, msg string) error {
	s.metrics.refused.WithLabelValues(s.metrics.tenant(tenant), reason).Inc()
	s.o.Logger.LogAttrs(ctx, slog.LevelWarn, "refused an open stream", slog.String("tenant", s.metrics.tenant(tenant)), slog.String("reason", reason))
	return status.Error(code, msg)
}

// proceed answers a message with its own kind and changes nothing.
func proceed(m *extproc.ProcessingRequest) *extproc.ProcessingResponse {
	headers := &extproc.HeadersResponse{}
	body := &extproc.BodyResponse{}
	trailers := &extproc.TrailersResponse{}
	switch m.GetRequest().(type) {
	case *extproc.ProcessingRequest_ResponseHeaders:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_ResponseHeaders{ResponseHeaders: headers}}
	case *extproc.ProcessingRequest_RequestBody:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestBody{RequestBody: body}}
	case *extproc.ProcessingRequest_ResponseBody:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_ResponseBody{ResponseBody: body}}
	case *extproc.ProcessingRequest_RequestTrailers:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestTrailers{RequestTrailers: trailers}}
	case *extproc.ProcessingRequest_ResponseTrailers:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_ResponseTrailers{ResponseTrailers: trailers}}
	default:
		return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestHeaders{RequestHeaders: headers}}
	}
}
