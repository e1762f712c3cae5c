package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOperationsNameWhatIsPrinted: `scimward envoy bootstrap` prints each part that
// docs/operations.md tells operators to copy.
func TestOperationsNameWhatIsPrinted(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "## An Envoy you already have\n")
	table, _, ended := strings.Cut(section, "These rules must stay true:")
	if !found || !ended {
		t.Fatalf("docs/operations.md: section found %v, its end %v, want both", found, ended)
	}
	dir := filepath.Join(t.TempDir(), "conf")
	code, _, stderr := command("init", dir, "--app-url", "http://127.0.0.1:3000", "--client-id", "idp",
		"--issuer", "https://idp.example.com")
	if code != 0 {
		t.Fatal(stderr)
	}
	// A client with certificates, whose part of the output the page names too.
	file := filepath.Join(dir, "scimward.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bound := strings.Replace(string(text), `client_id: "idp"`+"\n", `client_id: "idp"`+"\n        sender_constrained: certificate\n", 1)
	if err := os.WriteFile(file, []byte(bound), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := command("envoy", "bootstrap", "-c", file)
	if code != 0 {
		t.Fatal(stderr)
	}
	elsewhere := map[string]bool{
		"scimward envoy bootstrap": true, "static_resources.clusters": true, "app_TENANT_APP": true, "streams": true,
		"ext_proc": true, "KEEP_UNCHANGED": true, "encoded_slashes: allow": true,
		"sender_constrained: certificate": true, "either": true,
		"connection_keepalive": true, // of cores, edges and a scimward on another machine: envoy:TestLeashIsPinged
	}
	n := 0
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		if elsewhere[m[1]] {
			continue
		}
		n++
		if !strings.Contains(out, m[1]) {
			t.Errorf("the output has no %q, want it", m[1])
		}
	}
	for _, cluster := range []string{"authz", "leash", "scim"} {
		if !strings.Contains(out, "name: scimward_"+cluster+"\n") {
			t.Errorf("the output has no cluster of %s, want one", cluster)
		}
	}
	if n < 15 {
		t.Errorf("%d names were compared", n)
	}
	// The page forbids these settings. The leash is disabled where no route enables it. ext_authz is
	// never disabled.
	leash := regexp.MustCompile(`- disabled: true\n +name: envoy\.filters\.http\.ext_proc\n`)
	if strings.Contains(out, "failure_mode_allow: true") || strings.Count(out, "disabled: true") != 2 ||
		len(leash.FindAllString(out, -1)) != 2 { // one for each filter chain
		t.Errorf("%d disabled filters, want the leash only, and no failure_mode_allow", strings.Count(out, "disabled: true"))
	}
	if strings.Contains(out, "retry_policy") {
		t.Error("the output contains a retry_policy, want none: retries change the counters that the page compares")
	}
}
