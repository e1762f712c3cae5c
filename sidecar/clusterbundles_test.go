package sidecar_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies/bundle/bundletest"
	"github.com/scimward/scimward/sidecar"
)

// signedBy adds a policy to tenant acme of a configuration whose bundles a key signs. The file is written to dir.
func signedBy(t *testing.T, text, dir string, s *bundletest.Signer) string {
	t.Helper()
	file := filepath.Join(dir, s.Key.ID+".pem")
	if err := os.WriteFile(file, []byte(s.Key.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	const services = "    identity_services:"
	policy := "    profile: rfc7644\n    policy:\n      keys: [{id: " + s.Key.ID + ", algorithm: " +
		s.Key.Algorithm + ", file: " + file + "}]\n"
	return strings.Replace(text, services, policy+services, 1)
}

// denying makes a signed bundle that denies a route, and users without the title word.
func denying(s *bundletest.Signer, serial int, route, word string) []byte {
	return s.Sign(bundletest.With(bundletest.Files(serial, "alpha"),
		"policy/data.json", `{"local_writes":{"app":[{"path":"`+route+`"}]}}`,
		bundletest.Rules, `package policy

requirements["title"] := {"message": "the title is another", "fix": "write it"} if input.method == "POST"

satisfied contains "title" if input.resource.title == "`+word+`"
`, bundletest.Tests, `package policy.test

import data.policy

test_read if count(policy.requirements) == 0 with input as {"method": "GET"}
`))
}

// TestBundleOfEveryProcess: a bundle that an operator pushes to one core, or goes back to at another, is in force at
// every core and edge when the answer comes: its rules, its routes, its revision. A core that starts later has
// it too. The processes keep no bundle in their folders.
func TestBundleOfEveryProcess(t *testing.T) {
	t.Parallel() // it waits, for elections and leases
	signer, dir := bundletest.NewSigner("release"), t.TempDir()
	c, edges := startEdged(t, signedBy(t, closed, dir, signer), 1)
	idp := c.idp
	c.run[0].must("policy/push", sidecar.PolicyPush{Bundle: denying(signer, 1, "/one", "one"), Reason: "first"}, nil)
	all := append(c.run[:], edges...)
	bearer := idp.token()
	made := 0
	expect := func(when, route, word string, free ...string) {
		t.Helper()
		for i, r := range all {
			if code, text := r.post(route, "glass", "/me"); code != http.StatusForbidden || !strings.Contains(text, "policy/local_writes") {
				t.Errorf("%s: process %d: POST %s: %d %s, want 403 of the bundle", when, i, route, code, text)
			}
			for _, other := range free {
				if code, text := r.post(other, "glass", "/me"); strings.Contains(text, "policy/local_writes") {
					t.Errorf("%s: process %d: POST %s: %d %s, of a bundle that is not in force", when, i, other, code, text)
				}
			}
			if i >= len(c.run) {
				continue
			}
			idp.r = r
			made++
			for _, title := range []string{"one", "two"} {
				body := strings.Replace(userNamed(title+strings.Repeat("x", made)), `"userName"`, `"title":"`+title+`","userName"`, 1)
				want := http.StatusForbidden
				if title == word {
					want = http.StatusCreated
				}
				if status, _, text := idp.scim(http.MethodPost, "/Users", bearer, body); status != want {
					t.Errorf("%s: core %d: title %s: %d %s, want %d", when, i, title, status, text, want)
				}
			}
		}
	}
	expect("pushed to core 0", "/one", "one")
	var p sidecar.PolicyChanged
	c.run[1].must("policy/push", sidecar.PolicyPush{Bundle: denying(signer, 2, "/two", "two"), Reason: "second"}, &p)
	if !p.Changed || p.Active == nil || p.Active.Serial != 2 || len(p.Kept) != 2 {
		t.Errorf("%+v, want the second bundle in force and two kept", p)
	}
	expect("pushed to core 1", "/two", "two", "/one")
	if status, text := c.run[2].do("acme", "policy/push",
		sidecar.PolicyPush{Bundle: denying(signer, 1, "/one", "one"), Reason: "late"}, nil); status != http.StatusUnprocessableEntity ||
		!strings.Contains(text, "serial 1 is not higher than 2") {
		t.Errorf("an old serial at core 2: %d %s, want 422", status, text)
	}
	c.run[2].must("policy/rollback", sidecar.PolicyRollback{Reason: "back"}, nil)
	expect("rolled back at core 2", "/one", "one", "/two")

	if err := c.run[1].stop(); err != nil {
		t.Error(err)
	}
	c.start(1)
	all[1] = c.run[1]
	expect("after core 1 started again", "/one", "one", "/two")
	for i, r := range all {
		if p := r.status().Policies; len(p) != 1 || p[0].Active == nil || p[0].Active.Serial != 1 || !p[0].Pinned {
			t.Errorf("process %d: %+v, want the rollback to serial 1", i, p)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "data", "bundles")); err == nil {
			t.Errorf("process %d keeps bundles in a folder", i)
		}
	}
}

// TestFolderOfBundlesIsTakenOver: the bundle that a former version kept in its data folder is in force at the first
// start, and then the store has it. The audit trail says so.
func TestFolderOfBundlesIsTakenOver(t *testing.T) {
	signer, keys := bundletest.NewSigner("release"), t.TempDir()
	dir := newFolder(t, signedBy(t, closed, keys, signer))
	raw := denying(signer, 4, "/one", "one")
	folder := filepath.Join(dir, "data", "bundles", "acme")
	digest := sha256.Sum256(raw)
	sum := hex.EncodeToString(digest[:])
	index := `{"active":"` + sum + `","serial":4,"revisions":[{"sha256":"` + sum + `","revision":"4","serial":4,"signed":true,` +
		`"activated":"2026-01-02T03:04:05Z"}]}`
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{sum + ".tar.gz": string(raw), "index.json": index} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, when := range []string{"at the first start", "without the folder"} {
		r := startIn(t, dir, sidecar.Options{})
		if p := r.status().Policies; len(p) != 1 || p[0].Active == nil || p[0].Active.Serial != 4 || p[0].Fault != "" {
			t.Fatalf("%s: %+v, want the bundle in force", when, p)
		}
		if code, text := r.post("/one", "glass", "/me"); code != http.StatusForbidden {
			t.Errorf("%s: %d %s, want that its route is denied", when, code, text)
		}
		if log := r.asked("/v1/tenants/acme/policy/log"); strings.Count(log, "policy.takeover") != 1 || !strings.Contains(log, sum) {
			t.Errorf("%s: the log has %s", when, log)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(folder)); err != nil {
			t.Fatal(err)
		}
	}
}
