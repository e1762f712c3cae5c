package sidecar

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/durable"
)

// TestRecordingKey: the key is made once, for this user only, and nothing else stays beside it. If it cannot be written
// there is no file that stops the next start.
func TestRecordingKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	first, err := recordingKey(durable.Disk{}, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := recordingKey(durable.Disk{}, dir, "")
	if err != nil || len(first) != 32 || !bytes.Equal(first, again) {
		t.Errorf("the second start has another key: %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v, want the key alone", len(files), err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the key is not 0600: %v", err)
	}

	file := filepath.Join(dir, "taken", "key")
	if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (durable.Disk{}).Replace(file, first); err == nil {
		t.Error("a key took the place of a folder")
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("a failed write leaves %d files, %v", len(left)-1, err)
	}
}
