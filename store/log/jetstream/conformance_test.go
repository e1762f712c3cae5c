package jetstream_test

import (
	"testing"

	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/log/logtest"
)

// TestCluster runs what leaves all members of a cluster running on one cluster.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	t.Run("conformance", func(t *testing.T) { conformance(t, c) })
	t.Run("gap", func(t *testing.T) { gap(t, c) })
	t.Run("blobs", func(t *testing.T) { blobs(t, c) })
	t.Run("lost log", func(t *testing.T) { lostLog(t, c) })
	t.Run("client that is cut off", func(t *testing.T) { cutOffClient(t, c) })
}

func conformance(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	opened := 0
	logtest.Run(t, logtest.Driver{
		Largest:  jetstream.MaxRecord,
		TooLarge: jetstream.MaxRecord + 1,
		Open: func(t *testing.T, name string) logtest.Handle {
			t.Helper()
			opened++ // so that the handles use all members
			l, err := jetstream.Open(t.Context(), c.Options(t, name, opened))
			if err != nil {
				t.Fatal(err)
			}
			return l
		},
	})
}
