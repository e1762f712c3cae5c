package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReasonsAreExplained: docs/trust.md says for each reason to refuse a token what to change.
func TestReasonsAreExplained(t *testing.T) {
	code := read(t, filepath.Join(root, "sidecar/internal/token/token.go"))
	_, table, _ := strings.Cut(read(t, filepath.Join(root, "docs/trust.md")), "## What a refusal says")
	reasons := regexp.MustCompile(`Reason\w+ +Reason = "(\w+)"`).FindAllStringSubmatch(code, -1)
	if len(reasons) < 20 {
		t.Fatalf("%d reasons in the code, want 20 and more", len(reasons))
	}
	for _, r := range reasons {
		if !strings.Contains(table, "`"+r[1]+"`") {
			t.Errorf("docs/trust.md does not explain %s", r[1])
		}
	}
}
