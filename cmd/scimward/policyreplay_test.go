package main

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar"
)

// TestUnjudged: a replay that could not judge everything says so, in both forms.
func TestUnjudged(t *testing.T) {
	part := &sidecar.Replayed{Incomplete: true, WithoutStored: 2}
	for form, text := range map[string]func(*sidecar.Replayed) string{"replay": replayText, "diff": diffText} {
		got := text(part)
		for _, want := range []string{"The decision log has more decisions", "2 decisions could not be judged: they were refused before"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %q:\n%s", form, want, got)
			}
		}
		if got := text(&sidecar.Replayed{}); strings.Contains(got, "decisions") {
			t.Errorf("%s of everything:\n%s", form, got)
		}
	}
}
