package envoy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/envoy"
	"github.com/scimward/scimward/sidecar/passes"
)

// TestBaseIsRevised fails when the printed configuration has changed. An Envoy that was configured before goes on
// with the old one, and only passes.Base tells scimward about it.
func TestBaseIsRevised(t *testing.T) {
	t.Parallel()
	cfg := parseFixture(t)
	var b bytes.Buffer
	if err := envoy.Print(&b, cfg); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(b.String(), filepath.Dir(cfg.Envoy.TLS.Cert), "DIR")
	sum := sha256.Sum256([]byte(text))
	got := fmt.Sprintf("%d %s", passes.Base, hex.EncodeToString(sum[:4]))
	if want := "6 5c64b9e0"; got != want {
		t.Errorf("revision and digest of the printed configuration are %q, want %q. If an Envoy with the former one would "+
			"serve, keep open or withhold what this one does not, raise passes.Base. Then write revision and digest here.",
			got, want)
	}
}
