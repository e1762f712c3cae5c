package request_test

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestToken68 tries every byte at the start, inside and at the end of a token (RFC 6750 §2.1).
func TestToken68(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	for i := range 256 {
		c := string([]byte{byte(i)})
		want := strings.Contains(letters, c)
		for _, s := range []string{c, c + "a", "a" + c + "a", c + "=="} {
			if got := request.Token68(s); got != want {
				t.Errorf("Token68(%q) = %v, want %v", s, got, want)
			}
		}
		if got := request.Token68("a" + c); got != (want || c == "=") {
			t.Errorf("Token68(%q) = %v", "a"+c, got)
		}
	}
	for _, s := range []string{"", "=", "=="} {
		if request.Token68(s) {
			t.Errorf("Token68(%q) = true, want false", s)
		}
	}
}

// BenchmarkToken68 reads different tokens, as a server does. The processor would soon know a single one.
func BenchmarkToken68(b *testing.B) {
	var tokens []string
	for range 1000 {
		random := make([]byte, 500)
		_, _ = rand.Read(random) // never fails
		tokens = append(tokens, base64.RawURLEncoding.EncodeToString(random))
	}
	for i := 0; b.Loop(); i++ {
		if !request.Token68(tokens[i%len(tokens)]) {
			b.Fatal("Token68() = false, want true")
		}
	}
}
