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
	askRouters(t, node(t, "testdata/routers/routers.cjs"))
}

// TestForeignForms compares the decisions with the parser of Express.
func TestForeignForms(t *testing.T) { askParsers(t, node(t, "testdata/names/names.cjs")) }

// node runs a program, which may be newer than the packages, beside these.
func node(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	dir := foreign.Node(t, "testdata/routers")
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "--input-type=commonjs", "--eval", string(text))
	cmd.Dir = dir
	return cmd
}
