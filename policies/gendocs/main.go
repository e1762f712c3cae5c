// Command gendocs writes the page of each profile, of the dialects and of the policy input, from package policies.
//
//	go run ./policies/gendocs
//
// Run it at the root of the repository. Its only argument, the folder of the pages, is optional.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/scimward/scimward/policies/gendocs/page"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	dir := "docs"
	switch len(args) {
	case 0:
	case 1:
		dir = args[0]
	default:
		say(stderr, "give at most one folder")
		return 2
	}
	pages, err := page.All()
	if err != nil {
		say(stderr, err.Error())
		return 1
	}
	for name, text := range pages {
		//nolint:gosec // the operator chooses the folder
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			say(stderr, fmt.Sprintf("writing %s: %v", name, err))
			return 1
		}
	}
	return 0
}

// say writes a message. If that fails, nobody can be told.
func say(w io.Writer, text string) { _, _ = fmt.Fprintln(w, "gendocs: "+text) }
