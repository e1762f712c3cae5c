package store_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// archive is the bytes of a bundle and their digest.
type archive struct {
	raw []byte
	sum string
}

func newArchive(size int) archive {
	a := archive{raw: make([]byte, size)}
	rand.Read(a.raw) // never fails (crypto/rand)
	sum := sha256.Sum256(a.raw)
	a.sum = hex.EncodeToString(sum[:])
	return a
}

func policyOf(t *testing.T, s *store.Store) (p store.Policy) {
	t.Helper()
	view(t, s, "acme", func(r *store.Reader) (err error) {
		p, err = r.Policy()
		return err
	})
	return p
}

func kept(t *testing.T, s *store.Store, a archive) error {
	t.Helper()
	var fault error
	view(t, s, "acme", func(r *store.Reader) error {
		raw, err := r.PolicyBundle(a.sum)
		if err == nil && !bytes.Equal(raw, a.raw) {
			t.Errorf("%d other bytes of %s", len(raw), a.sum)
		}
		fault = err
		return nil
	})
	return fault
}

// TestPolicyRows: a bundle of the largest size is kept whole and comes into force with one record, which needs the
// version of the newest document. Bundles that are not kept any more go, also in a backup. The watchers get the change
// before a reader sees it.
func TestPolicyRows(t *testing.T) {
	s := storetest.New(t)
	var told []store.Change
	defer s.WatchRestrictions(func(c store.Change) { told = append(told, c) })()
	activate := func(name string, a archive, version store.Seq, keep ...archive) error {
		if err := s.KeepPolicyBundle(t.Context(), "acme", a.sum, a.raw); err != nil {
			t.Fatal(err)
		}
		sums := []string{a.sum}
		for _, k := range keep {
			sums = append(sums, k.sum)
		}
		_, err := s.Update(t.Context(), "acme", storetest.Cause("policy.push"), func(tx *store.Tx) error {
			tx.AuditDone("policy", name)
			return tx.SetPolicy(store.Policy{Name: name, Document: []byte(`{"n":"` + name + `"}`), Version: version}, a.sum, sums)
		})
		return err
	}
	one, two, three := newArchive(1<<20), newArchive(1000), newArchive(256<<10)
	if p := policyOf(t, s); p.Version != 0 || p.Name != "" {
		t.Errorf("before: %+v", p)
	}
	if err := activate("one", one, 0); err != nil {
		t.Fatal(err)
	}
	first := policyOf(t, s)
	if first.Name != "one" || first.Version == 0 || string(first.Document) != `{"n":"one"}` || kept(t, s, one) != nil {
		t.Errorf("%+v, want the first bundle", first)
	}
	for _, version := range []store.Seq{0, first.Version - 1, first.Version + 1} {
		if err := activate("late", two, version); !errors.Is(err, store.ErrPolicyOvertaken) {
			t.Errorf("with the version %d: %v, want that it is overtaken", version, err)
		}
	}
	if err := activate("two", two, first.Version, one); err != nil || kept(t, s, one) != nil || kept(t, s, two) != nil {
		t.Errorf("the second one: %v", err)
	}
	err := activate("three", three, policyOf(t, s).Version, two)
	if err != nil || kept(t, s, two) != nil || kept(t, s, three) != nil {
		t.Errorf("the third one: %v", err)
	}
	if err := kept(t, s, one); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a bundle that is not kept: %v", err)
	}
	if len(told) != 3 || told[2].Type != store.ChangePolicy || told[2].Policy.Name != "three" ||
		told[2].Policy.Version != policyOf(t, s).Version {
		t.Errorf("told %+v, want three changes of the policy", told)
	}
	_, err = s.Update(t.Context(), "acme", storetest.Cause("policy.rollback"), func(tx *store.Tx) error {
		return tx.SetPolicy(store.Policy{Name: "one", Version: policyOf(t, s).Version}, one.sum, []string{one.sum})
	})
	if !errors.Is(err, store.ErrPolicyOvertaken) {
		t.Errorf("a bundle without bytes: %v", err)
	}
	verify(t, s)
	var all []store.Change
	if err := s.EachPolicy(t.Context(), func(c store.Change) { all = append(all, c) }); err != nil || len(all) != 1 ||
		all[0].Tenant != "acme" || all[0].Policy.Name != "three" || all[0].Policy.Version != policyOf(t, s).Version {
		t.Errorf("%+v (%v), want the policy of acme", all, err)
	}

	var backup bytes.Buffer
	if _, err := s.Backup(t.Context(), &backup, "test"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() + "/restored"
	if _, err := store.Restore(t.Context(), bytes.NewReader(backup.Bytes()), dir, storetest.Cause("restore")); err != nil {
		t.Fatal(err)
	}
	restored := storetest.Open(t, func(o *store.Options) { o.Dir = dir })
	if p := policyOf(t, restored); p.Name != "three" || kept(t, restored, three) != nil || kept(t, restored, two) != nil {
		t.Errorf("the backup has %+v", p)
	}
}

// TestActivationEndsBetweenRecords: a process that ends after some records of an activation, and before the one that
// puts the bundle in force, leaves the former bundle in force. After a restart the same bundle and another one can come
// into force, and no part of an unused one is left.
func TestActivationEndsBetweenRecords(t *testing.T) {
	const part = 256 << 10
	for parts := 1; parts <= 3; parts++ {
		dir := t.TempDir()
		open := func(o *store.Options) { o.Dir = dir }
		s := storetest.Open(t, open)
		activate := func(name string, a archive, keep ...string) {
			t.Helper()
			version := policyOf(t, s).Version
			err := s.KeepPolicyBundle(t.Context(), "acme", a.sum, a.raw)
			if err == nil {
				_, err = s.Update(t.Context(), "acme", storetest.Cause("policy.push"), func(tx *store.Tx) error {
					tx.AuditDone("policy", name)
					return tx.SetPolicy(store.Policy{Name: name, Document: []byte("{}"), Version: version}, a.sum, append(keep, a.sum))
				})
			}
			if err != nil || policyOf(t, s).Name != name || kept(t, s, a) != nil {
				t.Errorf("%d parts, then %s: %v, %+v", parts, name, err, policyOf(t, s))
			}
		}
		one, two, three := newArchive(part+1), newArchive(3*part), newArchive(1000)
		activate("one", one)
		if err := s.KeepPolicyBundle(t.Context(), "acme", two.sum, two.raw[:parts*part]); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = storetest.Open(t, open)
		if p := policyOf(t, s); p.Name != "one" || kept(t, s, one) != nil {
			t.Errorf("%d parts, after the restart: %+v", parts, p)
		}
		verify(t, s)
		if parts == 1 {
			activate("three", three, one.sum)
			if err := kept(t, s, two); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the parts of a bundle that never came into force: %v", err)
			}
		}
		activate("two", two, one.sum)
		verify(t, s)
	}
}

// TestPolicyJudgesEveryChange: no change of a client commits that another bundle has judged than the one in force. What
// the service does itself, a refusal, a token, and a tenant without a policy are not concerned.
func TestPolicyJudgesEveryChange(t *testing.T) {
	s := storetest.Open(t, func(o *store.Options) {
		acme := o.Tenants["acme"]
		acme.Policy = true
		o.Tenants["acme"] = acme
	})
	create := func(tenant, action, policy, client string) error {
		c := storetest.Cause(action)
		c.ClientID, c.Policy = client, policy
		id := action + policy + client
		_, err := s.Update(t.Context(), tenant, c, func(tx *store.Tx) error {
			if action == "refused" {
				tx.AuditOnly("", "403")
				return nil
			}
			return tx.CreateUser(&store.User{ID: id, Resource: scim.Object{"userName": id}})
		})
		return err
	}
	if err := create("acme", "user.create", "", "idp"); err != nil {
		t.Errorf("before the first bundle: %v", err)
	}
	for _, name := range []string{"one", "two"} {
		a := newArchive(100)
		err := s.KeepPolicyBundle(t.Context(), "acme", a.sum, a.raw)
		if err == nil {
			_, err = s.Update(t.Context(), "acme", storetest.Cause("policy.push"), func(tx *store.Tx) error {
				p, err := tx.Policy()
				return errors.Join(err, tx.SetPolicy(store.Policy{Name: name, Version: p.Version}, a.sum, []string{a.sum}))
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		tenant, action, policy, client string
		want                           error
	}{
		{"acme", "user.create", "two", "idp", nil},
		{"acme", "user.create", "one", "idp", store.ErrPolicyChanged},
		{"acme", "user.create", "", "idp2", store.ErrPolicyChanged},
		{"acme", "user.create", "one", "", nil},
		{"acme", "refused", "one", "idp", nil},
		{"acme", "oauth.token", "", "idp", nil},
		{"globex", "user.create", "", "idp", nil},
	} {
		if err := create(row.tenant, row.action, row.policy, row.client); !errors.Is(err, row.want) {
			t.Errorf("%+v: %v, want %v", row, err, row.want)
		}
	}
}
