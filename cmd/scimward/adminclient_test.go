package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCommandOutlastsALease: the answer of a core to a command may wait for the end of a lease.
func TestCommandOutlastsALease(t *testing.T) {
	for cluster, want := range map[string]time.Duration{
		"": 30 * time.Second,
		"cluster: {role: core, name: a, lease: 2m, log: {servers: ['127.0.0.1:4222'], password_file: p, " +
			"system_password_file: s}}\n": 150 * time.Second,
	} {
		file := filepath.Join(t.TempDir(), "scimward.yaml")
		if err := os.WriteFile(file, []byte("version: 1\n"+cluster), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := newAdminClient(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.http.Timeout; got < want || got > want+5*time.Second {
			t.Errorf("with %q a command waits %s, want %s", cluster, got, want)
		}
	}
}
