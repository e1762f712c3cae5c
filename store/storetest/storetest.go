// Package storetest opens real stores for the tests of other packages. It also has the
// conformance kit for every way of opening a store.
package storetest

import (
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
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

// SharedLog returns an empty log that several stores can share, in memory. It lasts until the end of the test.
func SharedLog(tb testing.TB) log.Shared {
	tb.Helper()
	l, err := local.Open(local.Options{InMemory: true, Incarnation: machine.Incarnation})
	if err != nil {
		tb.Fatalf("opening a shared log: %v", err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	l.Bind(func(*badger.Txn, log.Seq, []byte) error { return nil })
	return l
}

// Cause is a complete cause for tests.
func Cause(action string) store.Cause {
	return store.Cause{Actor: "client:test", RequestID: "req-1", Decision: "test@1", Action: action, Method: "PATCH"}
}
