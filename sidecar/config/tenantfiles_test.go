package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/config"
)

// mainFile is a file whose tenants are in the folder tenants.
const mainFile = "version: 1\ntenants_dir: tenants\n"

// tenantFile is the file of one tenant.
func tenantFile(name string) string {
	return fmt.Sprintf(`name: %[1]s
external_url: https://%[1]s.example.com
identity_services:
  - client_id: idp
    keys: {jwks_file: keys.json}
apps:
  - name: app
    upstream: http://%[1]s.internal:3000
    subjects:
      - {header: x-user, is: user_name}
`, name)
}

// tenantFolder writes a configuration whose tenants are in files, and the key set that they name.
func tenantFolder(t *testing.T, main string, files map[string]string) (file string) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"scimward.yaml": main, "tenants/keys.json": "{}"}
	for name, text := range files {
		all["tenants/"+name] = text
	}
	for name, text := range all {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "scimward.yaml")
}

// TestTenantFiles: each YAML file of tenants_dir is a tenant, after those of the main file, completed with paths
// relative to its own folder. Other files are none. All of them are watched.
func TestTenantFiles(t *testing.T) {
	main := mainFile + "tenants:\n  - " + strings.ReplaceAll(strings.TrimSpace(tenantFile("first")), "\n", "\n    ")
	main = strings.ReplaceAll(main, "keys.json", "tenants/keys.json")
	file := tenantFolder(t, main, map[string]string{
		"b.yml": tenantFile("globex"), "a.yaml": tenantFile("acme"), ".hidden.yaml": "oops", "old.yaml.bak": "oops",
		"README.md": "oops", "below/c.yaml": "oops",
	})
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var names, hosts []string
	for i := range c.Tenants {
		names = append(names, c.Tenants[i].Name)
		hosts = append(hosts, c.Tenants[i].Apps[0].Hosts...)
	}
	if d := cmp.Diff([]string{"first", "acme", "globex"}, names); d != "" {
		t.Errorf("tenants (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"first.example.com", "acme.example.com", "globex.example.com"}, hosts); d != "" {
		t.Errorf("completed hosts (-want +got):\n%s", d)
	}
	folder := filepath.Join(filepath.Dir(file), "tenants")
	for i := range c.Tenants {
		if got := c.Tenants[i].IdentityServices[0].Keys.JWKSFile; got != filepath.Join(folder, "keys.json") {
			t.Errorf("keys of %s = %s, want those beside its file", names[i], got)
		}
	}
	for _, name := range []string{"a.yaml", "b.yml", "keys.json"} {
		if !slices.Contains(c.Files(), filepath.Join(folder, name)) {
			t.Errorf("%s is not among the watched files %v", name, c.Files())
		}
	}
}

// TestTenantFileFaults: a fault in the file of a tenant names the file and its own line and path, and is a fault of
// the whole configuration. Names, hosts and applications are unique across the files.
func TestTenantFileFaults(t *testing.T) {
	good := tenantFile("acme")
	token := "external_issuers:\n  - {issuer: 'https://as.example.com', audience: all, keys: {jwks_file: keys.json}}\n"
	for name, tt := range map[string]struct {
		file, text string
		line       int
		path, msg  string
	}{
		"unknown key":    {"b.yaml", good + "colour: red\n", 11, "colour", "unknown key"},
		"no YAML":        {"b.yaml", "a: [", 0, "(file)", "not YAML"},
		"a tab":          {"b.yaml", "\tname: b\n", 1, "(file)", "a tab"},
		"empty":          {"b.yaml", "# nothing\n", 0, "(file)", "empty"},
		"a list":         {"b.yaml", "- name: b\n", 1, "(file)", "a mapping belongs here"},
		"two documents":  {"b.yaml", good + "---\nname: b\n", 11, "(file)", "more than one document"},
		"too large":      {"b.yaml", good + "#" + strings.Repeat("x", 1<<20), 0, "(file)", "larger than 1 MiB"},
		"same name":      {"b.yaml", strings.ReplaceAll(tenantFile("globex"), "name: globex", "name: acme"), 1, "name", "first in"},
		"same host":      {"b.yaml", strings.ReplaceAll(tenantFile("globex"), "//globex.ex", "//acme.ex"), 2, "external_url", "belongs to app acme/app"},
		"same app":       {"b.yaml", strings.ReplaceAll(tenantFile("globex"), "//globex.in", "//acme.in"), 8, "apps[0].upstream", "tenant acme"},
		"same tokens":    {"b.yaml", tenantFile("globex") + token, 12, "external_issuers[0].audience", "tenant acme accepts the tokens"},
		"no such keys":   {"b.yaml", strings.ReplaceAll(tenantFile("globex"), "keys.json", "../keys.json"), 5, "identity_services[0].keys.jwks_file", "does not exist"},
		"no application": {"b.yaml", strings.SplitAfter(tenantFile("globex"), "keys.json}\n")[0], 1, "apps", "required"},
	} {
		t.Run(name, func(t *testing.T) {
			file := tenantFolder(t, mainFile, map[string]string{"a.yaml": good + token, tt.file: tt.text})
			_, err := config.Load(file)
			faults := config.Faults(err)
			at := slices.IndexFunc(faults, func(f config.Fault) bool { return strings.Contains(f.Msg, tt.msg) })
			if at < 0 {
				t.Fatalf("%v, want a fault with %q", err, tt.msg)
			}
			f, want := faults[at], filepath.Join(filepath.Dir(file), "tenants", tt.file)
			if f.File != want || f.Line != tt.line || f.Path != tt.path || f.Fix == "" {
				t.Errorf("got  %+v\nwant %s line %d: %s", f, want, tt.line, tt.path)
			}
			if !strings.Contains(err.Error(), want+": ") {
				t.Errorf("the text does not name the file: %v", err)
			}
			if c, _ := config.LoadLenient(file); c == nil || c.Tenants[0].Name != "acme" {
				t.Errorf("commands do not reach the tenants of the files that are good: %+v", c)
			}
		})
	}
}

// TestTenantsDirFaults: the folder itself must be there, with plain files only.
func TestTenantsDirFaults(t *testing.T) {
	file := tenantFolder(t, mainFile, nil)
	if _, err := config.Load(file); !hasFault(err, "tenants", "required") {
		t.Errorf("no tenant at all: %v", err)
	}
	pipe := filepath.Join(filepath.Dir(file), "tenants", "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); !hasFault(err, "(file)", "no plain file") {
		t.Errorf("a pipe: %v", err)
	}
	absent := tenantFolder(t, strings.Replace(mainFile, ": tenants", ": none", 1), nil)
	if _, err := config.Load(absent); !hasFault(err, "tenants_dir", "it does not exist") || hasFault(err, "tenants", "required") {
		t.Errorf("no folder: %v", err)
	}
	if _, err := config.Load(tenantFolder(t, "version: 1\ntenants_dir: scimward.yaml\n", nil)); !hasFault(err, "tenants_dir", "cannot be read") {
		t.Errorf("a file in place of the folder: %v", err)
	}
}
