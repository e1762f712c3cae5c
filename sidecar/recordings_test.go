package sidecar_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/internal/durable"
)

// TestReplay: a bundle that is not in force is tried on recorded requests, with the stored resource, by rule and
// client. The answer, the disk and the log have no name of a person. Without a recording nothing is judged.
func TestReplay(t *testing.T) {
	c := newIDP(t).at(t, strings.Replace(base, "    identity_services:", "    profile: rfc7644\n    policy:\n"+
		"      unsigned: allow\n      record: {max_bytes: 4194304}\n    identity_services:", 1))
	bearer := c.token()
	user := c.create("/Users", bearer, strings.Replace(aUser, `"userName"`, `"title":"Dr","userName"`, 1))
	patch := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` +
		`{"op":"remove","path":"title"}]}`
	status, removed, text := c.scim("PATCH", "/Users/"+user, bearer, patch)
	if status != 200 {
		t.Fatalf("PATCH = %d %s", status, text)
	}
	c.scim("GET", "/Users/"+user, bearer, "")
	raw, err := bundle.Archive(os.DirFS(writeBundle(t, `
requirements["keep-title"] := {"message": "a title may not be removed", "fix": "replace it"} if input.stored.title

satisfied contains "keep-title" if input.result.title
`)))
	if err != nil {
		t.Fatal(err)
	}
	var out sidecar.Replayed
	until(t, "three recordings", func() bool {
		c.r.must("policy/replay", sidecar.Replay{Bundle: raw}, &out)
		return out.Judged == 3
	})
	id := removed.Get("Scimward-Decision")
	if out.Decisions != 3 || out.NotRecorded != 0 || out.Refused != 1 || out.NewlyRefused != 1 || len(out.Rules) != 1 ||
		out.Rules[0].Rule != "policy/keep-title" || out.Rules[0].Mode != "enforce" || out.Rules[0].Examples[0].ID != id ||
		out.Rules[0].Examples[0].Resource != user {
		t.Errorf("replayed %+v", out)
	}
	c.r.must("policy/replay", sidecar.Replay{Diff: true, Bundle: raw}, &out)
	if out.Changed != 1 || out.Changes[0].ID != id || len(out.Changes[0].Before) != 0 {
		t.Errorf("compared %+v", out)
	}
	c.r.must("policy/replay", sidecar.Replay{Bundle: raw, IDs: []string{id, "unknown"}}, &out)
	if out.Decisions != 2 || out.Judged != 1 || out.NotRecorded != 1 {
		t.Errorf("replayed two decisions: %+v", out)
	}
	ids := slices.Repeat([]string{id}, 200_000)
	c.r.must("policy/replay", sidecar.Replay{Bundle: raw, IDs: ids}, &out)
	if out.Judged != 1 {
		t.Errorf("replayed many decisions: %+v", out)
	}
	if status, detail := c.r.do("acme", "policy/replay", sidecar.Replay{Bundle: raw, IDs: append(ids, id)}, nil); status != 413 ||
		!strings.Contains(detail, "--since") {
		t.Errorf("too many decisions: %d %s", status, detail)
	}
	var judged sidecar.Judged
	c.r.must("policy/eval", sidecar.PolicyEval{Bundle: raw, ID: id}, &judged)
	if judged.Judgement.Allow || !judged.Final || judged.Judgement.Requirements[0].Rule != "policy/keep-title" {
		t.Errorf("judged %+v", judged.Judgement)
	}
	if status, detail := c.r.do("acme", "policy/eval", sidecar.PolicyEval{ID: "unknown"}, nil); status != 404 ||
		!strings.Contains(detail, "not recorded") {
		t.Errorf("an unknown record: %d %s", status, detail)
	}
	replayHolds(t, c, user, bearer)
	unreadable(t, filepath.Join(c.r.cfg.DataDir, "recordings"))
}

// replayHolds deletes a user, and tries rules that hold deletions.
func replayHolds(t *testing.T, c *idp, user, bearer string) {
	t.Helper()
	_, deleted, _ := c.scim("DELETE", "/Users/"+user, bearer, "")
	raw, err := bundle.Archive(os.DirFS(writeBundle(t, `
requirements[id] := {"message": "m"} if some id in []

satisfied contains "never" if false

hold["legal"] := {"message": "legal hold"} if input.method == "DELETE"
`)))
	if err != nil {
		t.Fatal(err)
	}
	var out sidecar.Replayed
	until(t, "four recordings", func() bool {
		c.r.must("policy/replay", sidecar.Replay{Bundle: raw}, &out)
		return out.Judged == 4
	})
	id := deleted.Get("Scimward-Decision")
	if out.Refused != 0 || out.Held != 1 || len(out.Rules) != 1 || out.Rules[0].Rule != "policy/legal" ||
		out.Rules[0].Mode != "hold" || out.Rules[0].Examples[0].ID != id {
		t.Errorf("replayed %+v", out)
	}
	c.r.must("policy/replay", sidecar.Replay{Diff: true, Bundle: raw}, &out)
	if out.Changed != 1 || out.Changes[0].ID != id || !slices.Equal(out.Changes[0].After, []string{"policy/legal hold"}) {
		t.Errorf("compared %+v", out)
	}
}

// unreadable checks that nothing below a folder is readable: for others by its mode, for all by its content.
func unreadable(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if info.Mode().Perm() != 0o600 || bytes.Contains(b, []byte("userName")) {
			t.Errorf("%s has mode %v, or plain text", path, info.Mode())
		}
		return err
	})
	if err != nil || files < 2 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestRecordingKeyAfterACrash: wherever the first start stops while it writes the key, the next one has a whole key
// and keeps it.
func TestRecordingKeyAfterACrash(t *testing.T) {
	for n, done := 0, false; !done; n++ {
		dir, steps := filepath.Join(t.TempDir(), "recordings"), 0
		_, err := sidecar.RecordingKey(durable.Disk{Before: func(string) error {
			if steps++; steps > n {
				return errors.New("crash")
			}
			return nil
		}}, dir, "")
		if done = err == nil; done && steps < 4 {
			t.Fatalf("%d steps on disk", steps)
		}
		key, err := sidecar.RecordingKey(durable.Disk{}, dir, "")
		if err != nil || len(key) != 32 {
			t.Fatalf("after a crash at step %d: %d bytes, %v", n, len(key), err)
		}
		again, err := sidecar.RecordingKey(durable.Disk{}, dir, "")
		if err != nil || !bytes.Equal(again, key) {
			t.Errorf("after a crash at step %d the key does not stay: %v", n, err)
		}
	}
}
