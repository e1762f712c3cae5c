package request_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

const (
	abcHash  = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // SHA-256 of "abc"
	abcPrint = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
)

// TestForwardedCertificate: the header has one element with one hash, or it counts as none.
func TestForwardedCertificate(t *testing.T) {
	for _, row := range []struct {
		name   string
		values []string
		want   string
	}{
		{"hash", []string{"Hash=" + abcHash}, abcPrint},
		{"in capitals", []string{"HASH=" + strings.ToUpper(abcHash)}, abcPrint},
		{"with other fields", []string{`By=spiffe://a/b;Hash=` + abcHash + `;Subject="O=\"a;b,c\";Hash=x";URI=`}, abcPrint},
		{"none", nil, ""},
		{"empty", []string{""}, ""},
		{"two headers", []string{"Hash=" + abcHash, "Hash=" + abcHash}, ""},
		{"two elements", []string{"Hash=" + abcHash + ",Hash=" + abcHash}, ""},
		{"a second element without a hash", []string{"Hash=" + abcHash + ",By=x"}, ""},
		{"two hashes", []string{"Hash=" + abcHash + ";Hash=" + abcHash}, ""},
		{"in quotes", []string{`Subject=";Hash=` + abcHash + `;"`}, ""},
		{"open quote", []string{`Subject="x;Hash=` + abcHash}, ""},
		{"short", []string{"Hash=" + abcHash[2:]}, ""},
		{"no hex", []string{"Hash=" + strings.Repeat("x", 64)}, ""},
		{"quoted hash", []string{`Hash="` + abcHash + `"`}, ""},
	} {
		if got := request.ForwardedCertificate(row.values).Thumbprint(); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// FuzzCertificate: no text makes a reader panic, and a thumbprint has 43 characters.
func FuzzCertificate(f *testing.F) {
	f.Add("Hash="+abcHash, "-----BEGIN%20CERTIFICATE-----%0AYWJj%0A-----END%20CERTIFICATE-----%0A")
	f.Add(`By="\`, "%")
	f.Fuzz(func(t *testing.T, header, escaped string) {
		for _, c := range []*request.Certificate{request.ForwardedCertificate([]string{header}), {Escaped: escaped}} {
			if print := c.Thumbprint(); print != "" && len(print) != 43 {
				t.Errorf("%+v: %q", c, print)
			}
		}
	})
}
