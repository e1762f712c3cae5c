// Package plugintest is the test kit of revocation plugins: it builds a guest with
// the Go tool and runs it in a real worker process behind the real host.
package plugintest

import "testing"

// BuildGo builds the Go package pkg as a guest and returns the path of the module.
func BuildGo(t testing.TB, pkg string) string {
	t.Helper()
	return ""
}
