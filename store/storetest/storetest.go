// Package storetest opens real stores for the tests of other packages. It also has the
// conformance kit for every way of opening a store.
package storetest

import (
	"testing"

	"github.com/scimward/scimward/store"
)

// Options returns the options of New. The tenants are "acme" and "globex", and acme has
// the application "app" with all seven kinds.
func Options() store.Options {
	kinds := []string{"ssh_key", "device", "account", "refresh_token", "pat", "api_token", "web_session"}
	return store.Options{Tenants: map[string]store.TenantOptions{
		"acme":   {UniqueExternalID: true, Targets: []store.Target{{App: "app", Kinds: kinds}}},
		"globex": {},
	}}
}

// New opens a store in a temporary folder and closes it at the end of the test.
func New(tb testing.TB) *store.Store {
	tb.Helper()
	return Open(tb, nil)
}

// Open is New with changed options.
func Open(tb testing.TB, change func(*store.Options)) *store.Store {
	tb.Helper()
	o := Options()
	o.Dir = tb.TempDir()
	if change != nil {
		change(&o)
	}
	s, err := store.Open(tb.Context(), o)
	if err != nil {
		tb.Fatalf("opening the store: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("closing the store: %v", err)
		}
	})
	return s
}

// Cause is a complete cause for tests.
func Cause(action string) store.Cause {
	return store.Cause{Actor: "client:test", RequestID: "req-1", Decision: "test@1", Action: action, Method: "PATCH"}
}
