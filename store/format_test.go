package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/storetest"
)

// TestRaiseFormat: the log goes on in a newer format once every core of the table reads it, and not before. The audit
// trail of each tenant says so, and the store stays consistent.
func TestRaiseFormat(t *testing.T) {
	shared := storetest.SharedLog(t)
	if err := shared.Start(t.Context(), append([]byte{1, 2}, make([]byte, 16)...)); err != nil { // a log in format 1
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	s := storetest.Open(t, func(o *store.Options) { o.Shared, o.Dir = shared, dir })
	beat := func(id, version string, reads uint64) {
		t.Helper()
		core := store.Core{ID: id, Name: strings.ToUpper(id), Version: version, Reads: reads}
		if _, err := s.HeartbeatCore(t.Context(), core); err != nil {
			t.Fatal(err)
		}
	}
	raise := func() error {
		_, err := s.RaiseFormat(t.Context(), storetest.Cause("log.raise"))
		return err
	}
	beat("a", "v2", store.Reads)
	beat("b", "v1", 0)
	var old *store.OldCoresError
	if err := raise(); !errors.As(err, &old) || old.Names() != `B (version "v1", up to format 1)` {
		t.Errorf("RaiseFormat = %v, want an OldCoresError that names B only", err)
	}
	if got := s.Format(); got != 1 {
		t.Fatalf("the log is in format %d while a core does not read it", got)
	}
	beat("b", "v2", store.Reads)
	if err := raise(); err != nil || s.Format() != store.Reads {
		t.Fatalf("RaiseFormat = %v, the log is in format %d, want %d", err, s.Format(), store.Reads)
	}
	if err := raise(); !errors.Is(err, store.ErrNothingToDo) {
		t.Errorf("RaiseFormat again = %v, want ErrNothingToDo", err)
	}
	for _, tenant := range bothTenants {
		found := 0
		view(t, s, tenant, func(r *store.Reader) error {
			return r.Audit(func(rec audit.Record) bool {
				if rec.Action == "log.raise" {
					found++
				}
				return true
			})
		})
		if found != 1 {
			t.Errorf("%s has %d audit records, want 1", tenant, found)
		}
	}
	if rep, err := s.Verify(t.Context()); err != nil || !rep.OK() {
		t.Errorf("Verify = %v, %v", rep.Findings, err)
	}
}
