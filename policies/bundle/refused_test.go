package bundle_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/policies/bundle/bundletest"
)

// TestBadBundles: each bad bundle is refused, at its stage, with a reason. None ends the process.
func TestBadBundles(t *testing.T) {
	s := bundletest.NewSigner("security")
	for _, bad := range bundletest.AllBad(s, 2) {
		t.Run(bad.Name, func(t *testing.T) {
			t.Parallel()
			b, err := bundle.Read(bad.Raw, s.Trust())
			if err == nil {
				_, err = b.Compile(t.Context())
			}
			if stage(err) != bad.Stage || !strings.Contains(err.Error(), bad.Says) {
				t.Errorf("%v, want a refusal at %s that says %q", err, bad.Stage, bad.Says)
			}
		})
	}
}

// TestCorruptBundles: no bundle whose bytes were damaged on the way comes into force with other content.
func TestCorruptBundles(t *testing.T) {
	s := bundletest.NewSigner("security")
	good := s.Sign(bundletest.Files(1, "word"))
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		raw := damage(random, good)
		b, err := bundle.Read(raw, s.Trust())
		if err != nil && stage(err) == "" {
			t.Errorf("damage %d: %v is no *Error", n, err)
		}
		if err == nil && !sameFiles(t, raw, good) {
			t.Errorf("damage %d: %s passed", n, b.Name())
		}
	}
}

// damage changes, cuts or repeats a part of a bundle.
func damage(random *rand.Rand, good []byte) []byte {
	raw := bytes.Clone(good)
	at := random.IntN(len(raw))
	switch random.IntN(4) {
	case 0:
		raw[at] ^= 1 << random.IntN(8)
	case 1:
		raw = raw[:at]
	case 2:
		raw = append(raw[:at:at], raw[random.IntN(at+1):]...)
	default:
		for i := at; i < min(at+8, len(raw)); i++ {
			raw[i] = byte(random.Uint32())
		}
	}
	return raw
}

// sameFiles reports whether two archives have the same files: bytes of the gzip header and of the tar padding may
// differ.
func sameFiles(t *testing.T, a, b []byte) bool {
	t.Helper()
	x, err := bundle.Signature(a, "k", "HS256", "secret")
	if err != nil {
		return false
	}
	y, err := bundle.Signature(b, "k", "HS256", "secret")
	return err == nil && bytes.Equal(x, y)
}

// FuzzRead: no archive ends the process, and an archive that passes has the files that were signed.
func FuzzRead(f *testing.F) {
	s := bundletest.NewSigner("security")
	good := s.Sign(bundletest.Files(1, "word"))
	f.Add(good, false)
	f.Add(bundletest.Pack(bundletest.Files(1, "word")), true)
	for _, bad := range bundletest.AllBad(s, 2) {
		if len(bad.Raw) < 4<<10 {
			f.Add(bad.Raw, binary.Size(bad.Raw)%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, unsigned bool) {
		trust := s.Trust()
		trust.Unsigned = unsigned
		b, err := bundle.Read(raw, trust)
		switch {
		case err != nil && stage(err) == "":
			t.Errorf("%v is no *Error", err)
		case err == nil && (b.Serial == 0 || b.Revision == "" || !unsigned && !b.Signed):
			t.Errorf("%+v passed", b)
		}
	})
}
