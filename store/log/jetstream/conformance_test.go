package jetstream_test

import (
	"testing"

	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/log/logtest"
)

func TestConformance(t *testing.T) {
	c := clustertest.Start(t, 3)
	opened := 0
	logtest.Run(t, logtest.Driver{
		Largest:  jetstream.MaxRecord,
		TooLarge: jetstream.MaxRecord + 1,
		Open: func(t *testing.T, name string) logtest.Handle {
			t.Helper()
			opened++ // so that the handles use all members
			l, err := jetstream.Open(t.Context(), c.Options(name, opened))
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	})
}
