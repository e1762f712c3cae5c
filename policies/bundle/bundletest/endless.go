package bundletest

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Endless is a rule `endless` that looks for a key with the same text in it 2⁵⁰ times, each in an array of two.
// The engine compares it with an equal one in one step, and calls no builtin. A test that evaluates it does so in a
// child.
func Endless() string {
	var b strings.Builder
	b.WriteString("\nendless if {\n\tx0 := [input.method]\n\ty0 := [input.method]\n")
	for i := range 50 {
		for _, v := range []string{"x", "y"} {
			fmt.Fprintf(&b, "\t%[1]s%[2]d := [%[1]s%[3]d | some _ in [1, 2]]\n", v, i+1, i)
		}
	}
	b.WriteString("\tof := {x50: 1}\n\tof[y50] == 1\n}\n")
	return b.String()
}

// InChild runs a test in a process of its own, because what it starts never ends. It returns true there.
func InChild(t *testing.T) bool {
	t.Helper()
	const child = "child"
	if slices.Contains(os.Args, child) {
		return true
	}
	t.Parallel()
	args := []string{"-test.run=^" + t.Name() + "$", "-test.timeout=60s", child}
	c := exec.CommandContext(t.Context(), os.Args[0], args...) //nolint:gosec // this program
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}
