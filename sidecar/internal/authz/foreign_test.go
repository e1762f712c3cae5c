//go:build foreign

package authz_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/scimward/scimward/envoy/envoybin/foreign"
)

// TestForeignRouters compares the decisions with Express. It needs Node.js and npm and fails
// without them. `make test-foreign` runs it.
func TestForeignRouters(t *testing.T) {
	dir := foreign.Node(t, "testdata/routers")
	// The program may be newer than the packages.
	text, err := os.ReadFile("testdata/routers/routers.cjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=commonjs", "--eval", string(text))
	cmd.Dir = dir
	askRouters(t, cmd)
}
