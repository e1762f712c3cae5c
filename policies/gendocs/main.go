// Command gendocs writes docs/ipsie-il1.md from the requirements of package policies.
//
//	go run ./policies/gendocs
//
// Run it at the root of the repository. Its only argument, the path of the page, is
// optional.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/gendocs/page"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	path := filepath.Join("docs", "ipsie-il1.md")
	switch len(args) {
	case 0:
	case 1:
		path = args[0]
	default:
		say(stderr, "give at most one path")
		return 2
	}
	if err := write(path); err != nil {
		say(stderr, err.Error())
		return 1
	}
	return 0
}

// say writes a message. If that fails, nobody can be told.
func say(w io.Writer, text string) { _, _ = fmt.Fprintln(w, "gendocs: "+text) }

func write(path string) error {
	//nolint:gosec // the operator chooses the path
	if err := os.WriteFile(path, page.Render(policies.Requirements()), 0o600); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
