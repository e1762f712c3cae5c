package extauthz

import (
	"context"
	"errors"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// NewGRPC returns a gRPC server with the three services and the codec that Check needs.
func (s *Server) NewGRPC(opts ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(opts, grpc.ForceServerCodecV2(codec{encoding.GetCodecV2(protocodec.Name)}))...)
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: s.handleCheck}},
		Metadata:    authv3.Authorization_ServiceDesc.Metadata,
	}, s)
	extproc.RegisterExternalProcessorServer(g, s)
	healthpb.RegisterHealthServer(g, s.health)
	return g
}

// handleCheck never returns a gRPC error for a message that can be decoded: Envoy would then
// answer by itself, and its configuration could let the request pass.
func (s *Server) handleCheck(
	_ any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor, //nolint:revive // by gRPC
) (any, error) {
	in := &request.Request{}
	if err := dec(in); err != nil {
		return nil, err
	}
	check := func(ctx context.Context, _ any) (any, error) { return s.check(ctx, in), nil }
	if interceptor == nil {
		return check(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: s, FullMethod: authv3.Authorization_Check_FullMethodName}
	return interceptor(ctx, in, info, check)
}

// codec decodes the request of a Check, passes on its encoded answer, and leaves every other
// message to the codec of gRPC.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(reply)
	switch {
	case !ok:
		return c.CodecV2.Marshal(v)
	case len(out) == 0:
		return nil, errReply
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, nil
}

var errReply = errors.New("the answer contains a text that is not UTF-8")

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*request.Request)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	msg := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer msg.Free()
	return decode(msg.ReadOnlyData(), r)
}
