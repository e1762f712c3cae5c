package sidecar_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// TestOnlyIssuedKindsAreRevoked: a deactivation has one job for each kind that the application issues, in
// the order of revocation. Without a list these are all kinds, and the account needs a plugin.
func TestOnlyIssuedKindsAreRevoked(t *testing.T) {
	tests := []struct {
		name   string
		kinds  []string
		plugin *config.Plugin
		want   []string
	}{
		{"no list", nil, &config.Plugin{}, []string{"ssh_key", "device", "account", "refresh_token", "pat", "api_token", "web_session"}},
		{"no list and no plugin", nil, nil, []string{"ssh_key", "device", "refresh_token", "pat", "api_token", "web_session"}},
		{"two kinds", []string{"web_session", "pat"}, &config.Plugin{}, []string{"pat", "web_session"}},
		{"the account and no plugin", []string{"account", "web_session"}, nil, []string{"web_session"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &config.Config{Tenants: []config.Tenant{{
				Name: "acme", Apps: []config.App{{Name: "app", Kinds: tt.kinds, Plugin: tt.plugin}},
			}}}
			got := sidecar.StoreTenants(cfg)["acme"].Targets[0].Kinds
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
		})
	}
}
