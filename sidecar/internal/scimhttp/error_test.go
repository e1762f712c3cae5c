package scimhttp_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/scimhttp"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// TestEveryErrorHasOneAnswer lists every error that can reach the mapping.
func TestEveryErrorHasOneAnswer(t *testing.T) {
	secret := errors.New("opening /var/lib/scimward/000001.vlog: permission denied")
	tests := []struct {
		name   string
		err    error
		status int
		typ    string
		retry  bool
	}{
		{"scim invalidFilter", scim.Errorf(400, scim.TypeInvalidFilter, "x"), 400, "invalidFilter", false},
		{"scim tooMany", scim.Errorf(400, scim.TypeTooMany, "x"), 400, "tooMany", false},
		{"scim uniqueness", scim.Errorf(409, scim.TypeUniqueness, "x"), 409, "uniqueness", false},
		{"scim mutability", scim.Errorf(400, scim.TypeMutability, "x"), 400, "mutability", false},
		{"scim invalidSyntax", scim.Errorf(400, scim.TypeInvalidSyntax, "x"), 400, "invalidSyntax", false},
		{"scim invalidPath", scim.Errorf(400, scim.TypeInvalidPath, "x"), 400, "invalidPath", false},
		{"scim noTarget", scim.Errorf(400, scim.TypeNoTarget, "x"), 400, "noTarget", false},
		{"scim invalidValue", scim.Errorf(400, scim.TypeInvalidValue, "x"), 400, "invalidValue", false},
		{"scim invalidVers", scim.Errorf(400, scim.TypeInvalidVers, "x"), 400, "invalidVers", false},
		{"scim not implemented", scim.Errorf(501, "", "x"), 501, "", false},
		{"store not found", store.ErrNotFound, 404, "", false},
		{"store uniqueness", &store.UniquenessError{Attribute: "userName"}, 409, "uniqueness", false},
		{"store missing members", &store.MissingMembersError{IDs: []string{"a"}}, 400, "invalidValue", false},
		{"store self member", store.ErrSelfMember, 400, "invalidValue", false},
		{"store paused", store.ErrPaused, 503, "", true},
		{"policy changed", store.ErrPolicyChanged, 503, "", true},
		{"store conflict", store.ErrConflict, 503, "", true},
		{"store unavailable", store.ErrUnavailable, 503, "", true},
		{"store closed", store.ErrClosed, 503, "", true},
		{"store too large", store.ErrTooLarge, 413, "", false},
		{"store replay", store.ErrReplay, 500, "", false},
		{"store fenced", store.ErrFenced, 500, "", false},
		{"store no cause", store.ErrNoCause, 500, "", false},
		{"deadline", context.DeadlineExceeded, 503, "", true},
		{"cancelled", context.Canceled, 503, "", true},
		{"zero decision", scimhttp.Refused(authz.Decision{}), 503, "", true},
		{"decision without success or failure", scimhttp.Refused(authz.Decision{Status: 200}), 503, "", true},
		{"decision 401", scimhttp.Refused(authz.Decision{Status: 401, Challenge: `Bearer realm="x"`}), 401, "", false},
		{"decision 403", scimhttp.Refused(authz.Decision{Status: 403, Detail: "IL1-3"}), 403, "", false},
		{"decision 400", scimhttp.Refused(authz.Decision{Status: 400, ScimType: "invalidSyntax"}), 400, "invalidSyntax", false},
		{"decision 429", scimhttp.Refused(authz.Decision{Status: 429, Retry: time.Second}), 429, "", true},
		{"unknown", secret, 500, "", false},
	}
	for _, tt := range tests {
		for _, wrapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s wrapped=%v", tt.name, wrapped), func(t *testing.T) {
				err := tt.err
				if wrapped {
					err = fmt.Errorf("reading /var/lib/scimward: %w", err)
				}
				f := scimhttp.AnswerFor(err)
				if f.Status != tt.status || f.Type != tt.typ {
					t.Errorf("answer %d %q, want %d %q", f.Status, f.Type, tt.status, tt.typ)
				}
				if (f.Retry > 0) != tt.retry {
					t.Errorf("Retry-After %v, want one: %v", f.Retry, tt.retry)
				}
				if f.Detail == "" || f.Reason == "" {
					t.Errorf("detail %q, reason %q: neither may be empty", f.Detail, f.Reason)
				}
				for _, internal := range []string{"/var", "vlog", "store:"} {
					if strings.Contains(f.Detail, internal) {
						t.Errorf("the detail shows internals: %q, want none", f.Detail)
					}
				}
			})
		}
	}
}

// TestMissingMembersAreNamedBounded: the detail names a few missing members and counts the others.
func TestMissingMembersAreNamedBounded(t *testing.T) {
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = strings.Repeat("x", 10_000)
	}
	f := scimhttp.AnswerFor(&store.MissingMembersError{IDs: ids})
	if len(f.Detail) > 600 {
		t.Errorf("the detail has %d bytes, want at most 600", len(f.Detail))
	}
	if !strings.Contains(f.Detail, "995 more") {
		t.Errorf("the detail does not say how many more: %q, want 995 more", f.Detail)
	}
}

// TestRouteLabelsAreBounded: clients cannot create metric labels.
func TestRouteLabelsAreBounded(t *testing.T) {
	tests := []struct{ method, path, want string }{
		{"GET", "/scim/v2/Users", "GET /Users"},
		{"PATCH", "/scim/v2/Users/abc", "PATCH /Users/{id}"},
		{"DELETE", "/scim/v2/Groups/abc", "DELETE /Groups/{id}"},
		{"GET", "/scim/v2/Schemas/urn:x", "GET /Schemas/{id}"},
		{"GET", "/scim/v2/Users/a/b", "GET /unknown"},
		{"GET", "/scim/v2/users", "GET /unknown"},
		{"BREW", "/scim/v2/Users", "OTHER /Users"},
		{"GET", "/scim/v2", "GET /unknown"},
		{"GET", "/scim/v2/../../etc/passwd", "GET /unknown"},
	}
	for _, tt := range tests {
		if got := scimhttp.RouteOf(tt.method, tt.path); got != tt.want {
			t.Errorf("RouteOf(%s %s) = %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
}
