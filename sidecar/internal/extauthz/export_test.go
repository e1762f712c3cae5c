package extauthz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// Decode decodes a CheckRequest as the codec does.
func Decode(msg []byte) (request.Request, error) {
	var r request.Request
	err := codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(msg)}, &r)
	return r, err
}

// CheckBytes answers a CheckRequest without a transport.
func (s *Server) CheckBytes(ctx context.Context, msg []byte) (*authv3.CheckResponse, error) {
	r, err := Decode(msg)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, &r), nil
}
