package store_test

import (
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestLinearizable: three stores of one shared log answer like one store that does one thing at a time.
func TestLinearizable(t *testing.T) {
	shared := storetest.SharedLog(t)
	var stores []*store.Store
	for range 3 {
		stores = append(stores, storetest.Open(t, func(o *store.Options) { o.Shared = shared }))
	}
	storetest.Linearizable(t, storetest.Directories(stores), 150, nil)
}
