package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestRecentChanges: the changes since a time are all there and in their order, also when their audit records are more
// than are read at once, and the answer says from when on nothing is missing.
func TestRecentChanges(t *testing.T) {
	t.Parallel()
	const records, part = 130, 10 // a record has the changes of part users
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	began := at
	s := storetest.Open(t, func(o *store.Options) { o.Now = func() time.Time { return at } })
	for i := range records {
		at = began.Add(time.Duration(i) * time.Second)
		update(t, s, "acme", func(tx *store.Tx) error {
			for j := range part {
				if err := tx.CreateUser(user(fmt.Sprintf("user%d-%d", i, j))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, tc := range []struct {
		name  string
		since time.Duration
		limit int
		first int // record
		from  time.Duration
	}{
		{"all", -time.Second, records * part, 0, -time.Second},
		{"since a record", 17 * time.Second, records * part, 17, 17 * time.Second},
		{"since now", records * time.Second, records * part, records, records * time.Second},
		{"limited", -time.Second, 700, records - 70, (records - 70) * time.Second},
	} {
		n, newest := 0, began.Add(time.Duration(tc.first)*time.Second)
		from, read, err := s.RecentChanges(t.Context(), "acme", began.Add(tc.since), tc.limit,
			func(c store.Change, when time.Time) {
				if c.Type == store.ChangeUserCreated {
					n++
				}
				if when.Before(newest) {
					t.Errorf("%s: a change of %s comes after one of %s", tc.name, when, newest)
				}
				newest = when
			})
		if err != nil || n != (records-tc.first)*part || !from.Equal(began.Add(tc.from)) {
			t.Errorf("%s: %d changes since %s, %v, want %d since %s",
				tc.name, n, from, err, (records-tc.first)*part, began.Add(tc.from))
		}
		if want := s.Health().Applied; n > 0 && read != want {
			t.Errorf("%s: read up to %d, want %d", tc.name, read, want)
		}
	}
}
