package token_test

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// TestStaticForm: a token has the form that docs/operations.md promises to secret scanners, and each is new.
func TestStaticForm(t *testing.T) {
	raw, hash := token.NewStatic()
	other, _ := token.NewStatic()
	if raw == other || len(raw) != 61 || !strings.HasPrefix(raw, "scimward_st_") {
		t.Fatalf("%d characters, twice the same: %t", len(raw), raw == other)
	}
	if secret, err := base64.RawURLEncoding.DecodeString(raw[12:55]); err != nil || len(secret) != 32 {
		t.Errorf("%d bytes of secret, %v", len(secret), err)
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(raw[:55])))
	if want := base64.RawURLEncoding.EncodeToString(sum); raw[55:] != want {
		t.Errorf("checksum %s, want %s", raw[55:], want)
	}
	if got, ok := token.HashStatic(raw); !ok || got != hash {
		t.Error("the hash of the token is another one")
	}
}
