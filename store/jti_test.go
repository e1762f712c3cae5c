package store_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestMemoryOfUsedAssertions: 100,000 assertions that have not expired take at most 32 MiB of memory.
func TestMemoryOfUsedAssertions(t *testing.T) {
	const want, batch = 100_000, 200
	s := storetest.New(t)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, exp := heap(), time.Now().Add(time.Hour)
	for n := 0; n < want; n += batch {
		cause := store.Cause{Actor: "client:idp", RequestID: "r", Decision: "private_key_jwt"}
		_, err := s.Update(t.Context(), "acme", cause, func(tx *store.Tx) error {
			for i := range batch {
				jti := fmt.Sprintf("0f8fad5b-d9cb-469f-a165-%012d", n+i)
				if err := tx.UseJTI("https://login.example.com/0f8fad5b/v2.0", jti, exp); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if more := heap() - before; more > 32<<20 {
		t.Errorf("%d MiB more for %d assertions, want at most 32", more>>20, want)
	} else {
		t.Logf("%d KiB more for %d assertions", more>>10, want)
	}
}
