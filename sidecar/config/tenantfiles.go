package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of the folder with the tenants.
const (
	maxTenantFiles = 10_000
	maxTenantBytes = 64 << 20 // of all files together
)

// TenantFiles lists the files of a folder with tenants, by name: those that end in .yaml or .yml and do not begin
// with a dot. It looks into no folder below. Beyond the first 10,000 files it returns an error too.
func TenantFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); e.IsDir() || strings.HasPrefix(name, ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		if len(out) == maxTenantFiles {
			return out, fmt.Errorf("it has more than %d tenants", maxTenantFiles)
		}
		out = append(out, filepath.Join(dir, name))
	}
	return out, nil
}

// tenantFiles adds the tenants of the files in tenants_dir, completed. Their faults name the file, and their paths
// begin there.
func (d *decoder) tenantFiles(c *Config) {
	if c.TenantsDir == "" {
		return
	}
	files, err := TenantFiles(c.TenantsDir)
	if err != nil {
		d.unread++
		d.fault(d.at["tenants_dir"].line, "tenants_dir", "name a folder that exists and can be read",
			"%s cannot be read: %s", c.TenantsDir, reason(err))
	}
	c.Tenants = slices.Grow(c.Tenants, len(files))
	left := maxTenantBytes
	for _, name := range files {
		b, err := readPlain(name)
		d.file = name
		switch left -= len(b); {
		case err != nil:
			d.unread++
			d.fault(0, wholeFile, "let the user that runs scimward read it, or rename it", "cannot be read: %s", reason(err))
		case left < 0:
			d.unread++
			d.fault(0, wholeFile, "split tenants over several sidecars",
				"the tenants up to this file have more than %d MiB", maxTenantBytes>>20)
		default:
			d.tenantFile(c, b)
		}
		if d.file = ""; left < 0 {
			return
		}
	}
}

// tenantFile adds the tenant of one file.
func (d *decoder) tenantFile(c *Config, b []byte) {
	doc, fault := document(b, "split the tenant", "write the keys of a tenant, or remove the file")
	if fault != nil {
		d.unread++
		d.fault(fault.Line, wholeFile, fault.Fix, "%s", fault.Msg)
		return
	}
	var t Tenant
	path := fmt.Sprintf("tenants[%d]", len(c.Tenants))
	d.decode(doc, reflect.ValueOf(&t).Elem(), path, 2)
	t.complete(folder(filepath.Dir(d.file)))
	c.Tenants = append(c.Tenants, t)
}

// withinFile shortens the path of a fault in the file of one tenant, where it begins at the tenant.
func withinFile(path string) string {
	_, rest, entry := strings.Cut(path, "]")
	if !entry || !strings.HasPrefix(path, "tenants[") {
		return path
	}
	if rest = strings.TrimPrefix(rest, "."); rest == "" {
		return wholeFile
	}
	return rest
}

// readPlain is readBounded for a plain file: opening a pipe could wait for ever.
func readPlain(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no plain file")
	}
	return readBounded(name)
}

// readBounded reads a file, one byte more than maxBytes at most.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// document parses the only document of a file. tooLarge and empty are what mends such a file.
func document(b []byte, tooLarge, empty string) (*yaml.Node, *Fault) {
	if len(b) > maxBytes {
		return nil, &Fault{Msg: "larger than 1 MiB", Fix: tooLarge}
	}
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		f := notYAML(b, err)
		return nil, &f
	}
	if len(doc.Content) == 0 {
		return nil, &Fault{Msg: "empty", Fix: empty}
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &Fault{Line: more.Line, Msg: "more than one document", Fix: "remove everything from the second --- on"}
	}
	return doc.Content[0], nil
}
