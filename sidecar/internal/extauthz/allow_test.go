package extauthz_test

import (
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// TestAllowAnswer: the generated message reads from an allow exactly what was meant.
func TestAllowAnswer(t *testing.T) {
	long := strings.Repeat("x", 20_000)
	for _, c := range []struct {
		name    string
		surface request.Surface
		edit    func(*authz.Decision)
		want    *authv3.OkHttpResponse
		meta    map[string]any // nil: no metadata
	}{
		{
			name: "scim", surface: request.SurfaceSCIM,
			edit: func(d *authz.Decision) { d.RemoveHeaders = []string{"x-scim-user"} },
			want: &authv3.OkHttpResponse{HeadersToRemove: []string{"x-scim-user"}},
		},
		{
			name: "nobody", surface: request.SurfaceApp, edit: func(d *authz.Decision) { d.RemoveHeaders = nil },
			want: &authv3.OkHttpResponse{}, meta: map[string]any{"scimward_leash": "no"},
		},
		{
			name: "all names", surface: request.SurfaceApp, edit: func(d *authz.Decision) {
				d.SetHeaders = map[string]string{"x-b": "2", "x-a": ""}
				d.RemoveHeaders = []string{"x-c", "x-a", "x-d"}
				d.Caller = authz.Caller{IssuedAt: time.Unix(1, 5), Subject: subject.Subject{
					UserName: "jürgen", SCIMID: "u1", ExternalID: "e", AppUserID: "7",
					Emails: []string{"a@example", "b@example", "c@example"},
				}}
			},
			want: &authv3.OkHttpResponse{
				Headers:         []*corev3.HeaderValueOption{overwrite("x-a", ""), overwrite("x-b", "2")},
				HeadersToRemove: []string{"x-c", "x-d"},
			},
			meta: map[string]any{
				"scimward_leash": "yes", "scimward_user_name": "jürgen", "scimward_scim_id": "u1", "scimward_external_id": "e",
				"scimward_app_user_id": "7", "scimward_email": []any{"a@example", "b@example", "c@example"},
				"scimward_issued": "1970-01-01T00:00:01.000000005Z",
			},
		},
		{
			name: "long", surface: request.SurfaceApp, edit: func(d *authz.Decision) { d.RemoveHeaders = []string{long} },
			want: &authv3.OkHttpResponse{HeadersToRemove: []string{long}}, meta: map[string]any{"scimward_leash": "no"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.decider.answer = allowed(t, c.surface, c.edit)
			want := &authv3.CheckResponse{
				Status: &rpcstatus.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: c.want},
			}
			if c.meta != nil {
				c.meta["scimward_tenant"], c.meta["scimward_app"] = "acme", "app"
				var err error
				if want.DynamicMetadata, err = structpb.NewStruct(c.meta); err != nil {
					t.Fatal(err)
				}
			}
			got := k.check(t, checkRequest(string(c.surface), "GET", "/"))
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if err := got.ValidateAll(); err != nil {
				t.Errorf("Envoy would refuse the answer: %v", err)
			}
		})
	}
}

func overwrite(k, v string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: k, Value: v},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// TestAnswerThatCannotBeSent: the call fails, so that Envoy refuses the request. An empty answer
// would be an allow.
func TestAnswerThatCannotBeSent(t *testing.T) {
	for name, d := range map[string]authz.Decision{
		"allow":   allowed(t, request.SurfaceApp, func(d *authz.Decision) { d.Caller.UserName = "\xff" }),
		"refusal": {Status: 403, Detail: "\xff"},
	} {
		k := newKit(t)
		k.decider.answer = d
		out, err := authv3.NewAuthorizationClient(k.conn).Check(t.Context(), checkRequest("app", "GET", "/"))
		if status.Code(err) != codes.Internal {
			t.Errorf("%s: answered %v, error %v", name, out, err)
		}
	}
}
