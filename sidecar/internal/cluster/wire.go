package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// The protocol between an edge and its core is gRPC with two methods. Each message is a google.protobuf.BytesValue
// with one of the documents below in JSON. A document may get more fields; who does not know one ignores it.
//
//	scimward.cluster.v1.Core/Follow  a stream: toCore from the edge, the first with Follow; toEdge from the core
//	scimward.cluster.v1.Core/Ask     question, answer
const (
	serviceName  = "scimward.cluster.v1.Core"
	methodFollow = "/" + serviceName + "/Follow"
	methodAsk    = "/" + serviceName + "/Ask"
)

// maxMessage bounds one message, in bytes. A change may have the locks of some hundred users.
const maxMessage = 64 << 20

// toCore is one message of an edge. One field is set.
type toCore struct {
	Follow  *hello                  `json:"follow,omitempty"`
	Renew   *lease.Renewal          `json:"renew,omitempty"`
	Confirm *lease.EdgeConfirmation `json:"confirm,omitempty"`
	Config  map[string]string       `json:"config,omitempty"` // as in EdgeOptions, when it is new
}

// hello begins a stream.
type hello struct {
	Edge     lease.ID       `json:"edge"`
	Log      string         `json:"log"`      // of its projection, as store.LogID; empty without one
	Position lease.Position `json:"position"` // of its projection, zero without one
	Lease    time.Duration  `json:"lease"`    // cluster.lease of the edge
	Serve    time.Duration  `json:"serve"`    // the longest stale_limit of an application there
	Version  string         `json:"version"`  // for people
}

// toEdge is one message of a core. One field is set.
type toEdge struct {
	Part   *part        `json:"part,omitempty"`
	Change *change      `json:"change,omitempty"`
	Grant  *lease.Grant `json:"grant,omitempty"`
}

// part is a part of a snapshot at a position: all locks, and the policies of all tenants.
type part struct {
	Log     string         `json:"log"` // as store.LogID
	At      lease.Position `json:"at"`
	Changes []store.Change `json:"changes"`
	More    bool           `json:"more,omitempty"` // another part follows
}

// change is what one record changes.
type change struct {
	At        lease.Position `json:"at"`
	Restricts bool           `json:"restricts,omitempty"`
	Changes   []store.Change `json:"changes,omitempty"`
}

// question is what an edge asks its core about a tenant. One field beside Tenant and Position is set.
type question struct {
	Tenant   string           `json:"tenant"`
	Position lease.Position   `json:"position"` // of the projection of the edge: the answer must not be older
	Find     *subject.Subject `json:"find,omitempty"`
	SCIMID   *subject.Subject `json:"scim_id,omitempty"`
	HasUsers bool             `json:"has_users,omitempty"`
	Note     json.RawMessage  `json:"note,omitempty"`   // a record for the audit trail
	Bundle   string           `json:"bundle,omitempty"` // digest of a policy bundle
}

type answer struct {
	Found    store.FoundUser `json:"found"`
	SCIMID   string          `json:"scim_id,omitempty"`
	HasUsers bool            `json:"has_users,omitempty"`
	Bundle   []byte          `json:"bundle,omitempty"`
}

// coreServer is the core's side.
type coreServer interface {
	follow(grpc.ServerStream) error
	ask(context.Context, *question) (*answer, error)
}

// followDesc describes the stream of Follow.
func followDesc() grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: "Follow", ServerStreams: true, ClientStreams: true}
}

// serviceOf describes the service of a core.
func serviceOf(c coreServer) *grpc.ServiceDesc {
	follow := followDesc()
	follow.Handler = func(_ any, s grpc.ServerStream) error { return c.follow(s) }
	ask := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var b wrapperspb.BytesValue
		if err := decode(&b); err != nil {
			return nil, err
		}
		var q question
		if err := json.Unmarshal(b.GetValue(), &q); err != nil {
			return nil, fmt.Errorf("reading a question: %w", err)
		}
		a, err := c.ask(ctx, &q)
		if err != nil {
			return nil, err
		}
		return encode(a)
	}
	return &grpc.ServiceDesc{
		ServiceName: serviceName, HandlerType: (*coreServer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Ask", Handler: ask}}, Streams: []grpc.StreamDesc{follow},
	}
}

func encode(v any) (*wrapperspb.BytesValue, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("writing a message of the cluster: %w", err)
	}
	return wrapperspb.Bytes(b), nil
}

// encoded is what a core sends, in its bytes.
func encoded(m toEdge) *wrapperspb.BytesValue {
	b, err := encode(m)
	if err != nil {
		panic("cluster: a message of strings, numbers and times has no JSON: " + err.Error())
	}
	return b
}

// stream is what the streams of both sides have.
type stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func send(s stream, v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return s.SendMsg(b)
}

func receive(s stream, v any) error {
	var b wrapperspb.BytesValue
	if err := s.RecvMsg(&b); err != nil {
		return err
	}
	if err := json.Unmarshal(b.GetValue(), v); err != nil {
		return fmt.Errorf("reading a message of the cluster: %w", err)
	}
	return nil
}
