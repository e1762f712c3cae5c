package extauthz

import (
	"context"

	"google.golang.org/grpc/mem"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// Decode decodes a CheckRequest as the codec does.
func Decode(msg []byte) (request.Request, error) {
	var r request.Request
	err := codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(msg)}, &r)
	return r, err
}

// CheckBytes answers an encoded CheckRequest with an encoded CheckResponse, without a transport.
func (s *Server) CheckBytes(ctx context.Context, msg []byte) ([]byte, error) {
	r, err := Decode(msg)
	if err != nil {
		return nil, err
	}
	out, err := codec{}.Marshal(s.check(ctx, &r))
	return out.Materialize(), err
}
