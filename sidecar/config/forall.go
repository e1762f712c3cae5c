package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// perProcess reports whether a key differs from process to process.
func perProcess(key string) bool {
	return slices.Contains([]string{"version", "data_dir", "listen", "envoy", "cluster"}, key)
}

// ForAll returns the sections of a valid configuration file that are the same at each process of an installation, as
// they are written, with their comments: all but version, data_dir, listen, envoy and cluster. The relative path of a
// file or folder that exists becomes absolute.
func ForAll(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the configuration: %w", err)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("resolving %s: %w", path, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || doc.Kind == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return "", fmt.Errorf("%s is no configuration: %w", path, cmp.Or(err, errors.New("it has no keys")))
	}
	top := doc.Content[0]
	if top.Style&yaml.FlowStyle != 0 {
		return "", fmt.Errorf("%s is written with braces; write one key to a line", path)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if err := absolutePaths(lines, top, folder); err != nil {
		return "", fmt.Errorf("%s, %w", path, err)
	}
	var out strings.Builder
	for i := 0; i < len(top.Content); i += 2 {
		if perProcess(top.Content[i].Value) {
			continue
		}
		end := len(lines)
		if i+2 < len(top.Content) {
			end = sectionStart(lines, top.Content[i+2])
		}
		out.WriteString(strings.Join(lines[sectionStart(lines, top.Content[i]):end], ""))
	}
	return strings.TrimRight(out.String(), "\n") + "\n", nil
}

// sectionStart returns the index of the first line of a section: the comments directly above its key belong to it.
func sectionStart(lines []string, key *yaml.Node) int {
	i := key.Line - 1
	for i > 0 && strings.HasPrefix(lines[i-1], "#") {
		i--
	}
	return i
}

// absolutePaths replaces, in the lines of a file, each value that names something in its folder. It goes backwards, so
// that the positions of what it has not seen yet stay right.
func absolutePaths(lines []string, n *yaml.Node, folder string) error {
	for i, child := range slices.Backward(n.Content) {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue // a key
		}
		if err := absolutePaths(lines, child, folder); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !isPath(n.Value) || !filepath.IsLocal(n.Value) {
		return nil
	}
	path := filepath.Join(folder, n.Value)
	if _, err := os.Stat(path); err != nil {
		return nil // it names nothing here: it is no path
	}
	line := []rune(lines[n.Line-1])
	head, rest := string(line[:n.Column-1]), string(line[n.Column-1:])
	for _, written := range []string{n.Value, strconv.Quote(n.Value), "'" + n.Value + "'"} {
		if after, ok := strings.CutPrefix(rest, written); ok {
			lines[n.Line-1] = head + strconv.Quote(path) + after
			return nil
		}
	}
	return fmt.Errorf("line %d: %q names a file; write its absolute path, so that each process finds it", n.Line, n.Value)
}

// isPath reports whether a value looks like the path of a file, so that a tenant or a client that happens to have the
// name of a folder stays what it is.
func isPath(v string) bool { return strings.ContainsAny(v, "/.") }
