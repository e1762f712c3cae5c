package local_test

import (
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/log/logtest"
)

func TestConformance(t *testing.T) {
	root := t.TempDir()
	logtest.Run(t, logtest.Driver{
		Exclusive: true,
		Largest:   local.MaxRecord,
		TooLarge:  local.MaxRecord + 1,
		Open: func(t *testing.T, name string) logtest.Handle {
			t.Helper()
			l, err := local.Open(options(filepath.Join(root, name)))
			if err != nil {
				t.Fatal(err)
			}
			l.Bind(func(*badger.Txn, log.Seq, []byte) error { return nil })
			return l
		},
	})
}
