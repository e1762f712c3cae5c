package sidecar_test

import (
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// socket opens the leash of a WebSocket of the exempt account, as Envoy does after the check. The function that it
// returns waits until the server ends it.
func (r *running) socket(path string) (ended func() codes.Code) {
	r.t.Helper()
	c, err := grpc.NewClient(r.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	s, err := extproc.NewExternalProcessorClient(c).Process(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	meta, err := structpb.NewStruct(map[string]any{
		"scimward_tenant": "acme", "scimward_app": "app", "scimward_leash": "yes", "scimward_user_name": "glass",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	head := &corev3.HeaderMap{}
	for _, h := range [][2]string{{":method", "GET"}, {":path", path}, {"upgrade", "websocket"}} {
		head.Headers = append(head.Headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	err = s.Send(&extproc.ProcessingRequest{
		Request: &extproc.ProcessingRequest_RequestHeaders{RequestHeaders: &extproc.HttpHeaders{Headers: head}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.filters.http.ext_authz": meta,
		}},
	})
	if err == nil {
		_, err = s.Recv()
	}
	if err != nil {
		r.t.Fatalf("opening %s: %v", path, err)
	}
	return func() codes.Code {
		_, err := s.Recv()
		return status.Code(err)
	}
}

// TestReloadEndsStreams: when a reload denies a route, its open streams have ended, and those of other routes have not.
func TestReloadEndsStreams(t *testing.T) {
	r := start(t, closed)
	denied, other := r.socket("/chat/7?room=1"), r.socket("/news")
	text := read(t, filepath.Join(r.dir, "scimward.yaml"))
	r.write("scimward.yaml", strings.Replace(text, "{path: /signup}", "{path: /signup}, {path: /chat, exempt: allow}", 1))
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := denied(); got != codes.PermissionDenied {
		t.Errorf("the stream of the denied route ended with %s, want %s", got, codes.PermissionDenied)
	}
	if _, metrics := r.get("/metrics"); !strings.Contains(metrics, `scimward_leashes{tenant="acme"} 1`) {
		t.Error("the stream of the other route is not open any more")
	}
	r.write("scimward.yaml", strings.Replace(text, "{path: /signup}", "{path: /signup}, {path: /news}", 1))
	if err := r.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := other(); got != codes.PermissionDenied {
		t.Errorf("the other stream ended with %s, want %s", got, codes.PermissionDenied)
	}
}
