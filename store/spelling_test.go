package store_test

import (
	"errors"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
	"github.com/scimward/scimward/store/subject"
)

// TestLockInEverySpelling: a lock is found under every spelling that the index takes for the user's name,
// and no second user gets another spelling of it.
func TestLockInEverySpelling(t *testing.T) {
	s := storetest.New(t)
	create := func(name string, active bool) error {
		_, err := s.Update(t.Context(), "acme", storetest.Cause("test"), func(tx *store.Tx) error {
			return tx.CreateUser(&store.User{Resource: scim.Object{"userName": name, "active": active}})
		})
		return err
	}
	for name, others := range map[string][]string{
		"straße@müller.example": {"STRASSE@müller.example", "strasse@xn--mller-kva.example", "ＳＴＲＡＳＳＥ@XN--MLLER-KVA.EXAMPLE"},
	} {
		if err := create(name, false); err != nil {
			t.Fatal(err)
		}
		for _, other := range others {
			n := subject.Named(subject.UserName, other)
			if _, locked := s.Locks().Lookup("acme", &n); !locked {
				t.Errorf("%q: no lock under %q", name, other)
			}
			var taken *store.UniquenessError
			if err := create(other, true); !errors.As(err, &taken) {
				t.Errorf("%q beside %q: %v, want a conflict", other, name, err)
			}
		}
	}
	if r, err := s.Verify(t.Context()); err != nil || !r.OK() {
		t.Errorf("Verify = %v, %v", r.Findings, err)
	}
}
