package store_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store"
)

// FuzzKey: a key that decodes encodes to the same bytes.
func FuzzKey(f *testing.F) {
	for _, k := range store.SampleKeys() {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, k []byte) {
		d, err := store.DecodeKey(k)
		if err != nil {
			return
		}
		if again := d.Encode(); !bytes.Equal(again, k) {
			t.Errorf("decoding and encoding the key %x = %x, want the same key", k, again)
		}
	})
}

// FuzzKeyParts: an encoded key decodes to the same parts, and no key of one tenant starts
// with the prefix of another tenant.
func FuzzKeyParts(f *testing.F) {
	f.Add("acme", "un", "bob", "globex")
	f.Add("a", "\x00", "\x00\x01", "a\x00")
	f.Add("", "\xff", "", "\x00\xff")
	f.Fuzz(func(t *testing.T, tenant, attr, value, other string) {
		d := store.DecodedKey{Kind: 'x', Tenant: tenant, Parts: []string{attr, value}}
		if len(tenant) > 500 || len(attr) > 500 || len(value) > 500 {
			return
		}
		got, err := store.DecodeKey(d.Encode())
		if diff := cmp.Diff(d, got); err != nil || diff != "" {
			t.Errorf("DecodeKey: %v, want no error (-want +got):\n%s", err, diff)
		}
		foreign := store.DecodedKey{Kind: 'x', Tenant: other}.Encode()
		if tenant != other && len(other) <= 500 && bytes.HasPrefix(d.Encode(), foreign) {
			t.Errorf("a key of %q is below the prefix of %q", tenant, other)
		}
	})
}

// TestDecodeKeyRefuses: malformed keys are errors.
func TestDecodeKeyRefuses(t *testing.T) {
	for name, k := range map[string]string{
		"empty": "", "unknown kind": "!acme\x00\x01", "no tenant": "u", "open part": "uacme", "bad escape": "uacme\x00\x02",
		"cut escape": "uacme\x00", "missing part": "uacme\x00\x01", "extra part": "uacme\x00\x01a\x00\x01b\x00\x01",
		"short number": "aacme\x00\x01\x00\x00", "long part": "u" + strings.Repeat("a", 600) + "\x00\x01b\x00\x01",
	} {
		if d, err := store.DecodeKey([]byte(k)); err == nil && name != "long part" {
			t.Errorf("%s: DecodeKey = %+v, want an error", name, d)
		}
	}
}
