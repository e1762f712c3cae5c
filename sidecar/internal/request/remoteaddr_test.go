package request_test

import (
	"net/http"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestRemoteAddr: only what Envoy appended to X-Forwarded-For counts.
func TestRemoteAddr(t *testing.T) {
	for _, tt := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"@", nil, "@"},
		{"192.0.2.1:5", []string{"203.0.113.7"}, "203.0.113.7"},
		{"192.0.2.1:5", []string{"10.0.0.1, 203.0.113.7"}, "203.0.113.7"},
		{"192.0.2.1:5", []string{"10.0.0.1", "spoofed, 203.0.113.7"}, "203.0.113.7"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := request.RemoteAddr(r); got != tt.want {
			t.Errorf("%s %v: %q, want %q", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}
