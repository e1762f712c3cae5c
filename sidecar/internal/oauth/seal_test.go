package oauth_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/oauth"
)

// TestSubkey: a derived key never changes, because files on disk are encrypted with it. Another purpose or another
// key-encryption key gives another one, and none is the key-encryption key itself.
func TestSubkey(t *testing.T) {
	key := func(digits string) *oauth.KeyEncryptionKey {
		k, err := oauth.NewKeyEncryptionKey([]byte(strings.Repeat(digits, 32)))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	// printf 'scimward subkey\0recordings' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…
	const want = "e84d2119d41ec582975a6a3a2f2c89b33b3f176c1fd0d9202ccfc1fda2b0e2b4"
	sub := key("07").Subkey("recordings")
	if got := hex.EncodeToString(sub); got != want {
		t.Errorf("Subkey(recordings) = %s, want %s", got, want)
	}
	seen := [][]byte{bytes.Repeat([]byte{7}, 32), sub}
	for _, other := range [][]byte{
		key("07").Subkey("recording"), key("07").Subkey("recordings\x00"), key("07").Subkey(""), key("08").Subkey("recordings"),
	} {
		for _, s := range seen {
			if bytes.Equal(other, s) || len(other) != 32 {
				t.Errorf("%x is the key of another purpose, or has not 32 bytes", other)
			}
		}
		seen = append(seen, other)
	}
	sub[0]++
	if got := hex.EncodeToString(key("07").Subkey("recordings")); got != want {
		t.Errorf("after a change of the result Subkey gives %s", got)
	}
}
