//go:build linux && (amd64 || arm64)

package plugins

import (
	"fmt"
	"strings"
)

// Confine and CloseFiles are what a worker gives up.
func Confine() error    { return confine() }
func CloseFiles() error { return closeFiles() }

// NewestCall is the newest system call that the table of allowed ones was made for.
const NewestCall = newestCall

// AllowedCalls returns the names of the allowed system calls by number, before or after CloseFiles.
func AllowedCalls(closed bool) map[uintptr]string {
	allowed := workerCalls()
	if !closed {
		allowed = append(allowed, compileCalls()...)
	}
	out := map[uintptr]string{}
	for _, p := range allowed {
		for _, c := range p.calls {
			out[c.number] = c.name
		}
	}
	return out
}

// CallTable returns the rows of the documented table.
func CallTable() string {
	var b strings.Builder
	write := func(when string, allowed []purpose) {
		for _, p := range allowed {
			var names []string
			for _, c := range p.calls {
				names = append(names, "`"+c.name+"`")
			}
			fmt.Fprintf(&b, "| %s%s | %s |\n", p.why, when, strings.Join(names, ", "))
		}
	}
	write("", workerCalls())
	write(", until the module is compiled", compileCalls())
	return b.String()
}
