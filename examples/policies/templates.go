// Package templates has the policy bundles that `scimward policy new` writes. docs/policy.md explains them.
package templates

import (
	"embed"
	"io/fs"
)

//go:embed all:template all:breakglass all:reactivation all:hold all:brake
var files embed.FS

// Names lists the templates. The first is the default.
func Names() []string { return []string{"template", "breakglass", "reactivation", "hold", "brake"} }

// Files returns the files of a template: a bundle with its tests, and a README.
func Files(name string) (fs.FS, error) { return fs.Sub(files, name) }
