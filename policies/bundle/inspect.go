package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// inspect bounds what the archive unpacks to, demands plain files, and calls each for every file. It reports whether
// there is a signature.
func inspect(raw []byte, each func(name string, content []byte) error) (signed bool, err error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return false, refuse("archive", "it is no tar.gz: %w", err)
	}
	limited := &io.LimitedReader{R: unzipped, N: MaxUnpacked + 1}
	files := tar.NewReader(limited)
	seen := map[string]bool{}
	rules := 0
	left := int64(MaxUnpacked) // a sparse file has more bytes than the archive has for it
	for {
		h, err := files.Next()
		switch {
		case errors.Is(err, io.EOF):
			return signed, nil
		case limited.N <= 0:
			return false, refuse("size", "the files have more than %d bytes", MaxUnpacked)
		case err != nil:
			return false, refuse("archive", "reading it: %w", err)
		case h.Typeflag == tar.TypeDir:
			continue
		}
		name, err := nameOf(h)
		switch {
		case err != nil:
			return false, err
		case seen[name]:
			return false, refuse("archive", "%q is there twice", h.Name)
		case h.Size > left:
			return false, refuse("size", "the files have more than %d bytes", MaxUnpacked)
		}
		left -= h.Size
		if seen[name] = true; len(seen) > MaxFiles {
			return false, refuse("size", "there are more than %d files", MaxFiles)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return false, refuse("archive", "reading %q: %w", h.Name, err)
		}
		if strings.HasSuffix(name, ".rego") {
			rules += len(content)
		}
		if rules > MaxRules {
			return false, refuse("size", "the Rego files have more than %d bytes", MaxRules)
		}
		if err := checkData(name, content); err != nil {
			return false, err
		}
		if err := each(name, content); err != nil {
			return false, err
		}
		signed = signed || name == signatures
	}
}

// nameOf returns the path of a file in the bundle.
func nameOf(h *tar.Header) (string, error) {
	name := strings.TrimPrefix(path.Clean(strings.TrimPrefix(h.Name, "/")), "./")
	switch {
	case h.Typeflag != tar.TypeReg:
		return "", refuse("archive", "%q is no plain file", h.Name)
	case strings.HasPrefix(name, "..") || strings.ContainsAny(name, "\\\x00"):
		return "", refuse("archive", "%q is no path inside the bundle", h.Name)
	case !allowedFile(name):
		return "", refuse("archive", "%q is no file of a policy bundle: only *.rego, data.json, data.yaml, "+
			".manifest and .signatures.json at the top are", h.Name)
	}
	return name, nil
}

func allowedFile(name string) bool {
	base := path.Base(name)
	return strings.HasSuffix(base, ".rego") || name == ".manifest" || name == signatures ||
		slices.Contains([]string{"data.json", "data.yaml", "data.yml"}, base)
}

// checkData demands that a file stands for about as many bytes as it has. OPA parses data before it compares its
// digest with the signature, and takes what is no JSON for YAML, whatever its name. There an alias repeats a value, so
// that a few bytes fill the memory.
func checkData(name string, content []byte) error {
	switch path.Ext(name) {
	case ".rego":
		return nil
	case ".yaml", ".yml":
	default:
		if !json.Valid(content) {
			return refuse("parse", "%s is not valid JSON", name)
		}
		return nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return refuse("parse", "%s: %w", name, err)
	}
	if alias := aliasIn(&doc); alias != nil {
		return refuse("parse", "%s:%d: repeat the value in place of the alias *%s", name, alias.Line, alias.Value)
	}
	return nil
}

// aliasIn returns an alias in a YAML document, nil without one.
func aliasIn(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n
	}
	for _, c := range n.Content {
		if alias := aliasIn(c); alias != nil {
			return alias
		}
	}
	return nil
}
