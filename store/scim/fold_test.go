package scim_test

import (
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestFoldUserName: user names fold by PRECIS UsernameCaseMapped (RFC 8265 §3.3).
func TestFoldUserName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"JSmith":             "jsmith",
		"J.Smith@Example.io": "j.smith@example.io",
		"ÅSA":                "åsa",
		"A\u030aSA":          "åsa", // decomposed
		"ＡＢＣ":                "abc", // full width
		"Straße":             "strasse",
	} {
		got, err := scim.FoldUserName(in)
		noError(t, err)
		if got != want {
			t.Errorf("FoldUserName(%q) = %q, want %q", in, got, want)
		}
		if again, err := scim.FoldUserName(got); err != nil || again != got {
			t.Errorf("FoldUserName(%q) = %q, %v, want the same name", got, again, err)
		}
	}
	for _, in := range []string{"", " ", "a b", "a\x00b", "a\tb", "\u200b", "a\u202eb", "é é", "\xff"} {
		_, err := scim.FoldUserName(in)
		if err == nil {
			t.Errorf("FoldUserName(%q) succeeded, want an error", in)
			continue
		}
		wantError(t, err, 400, scim.TypeInvalidValue)
	}
}

// TestUserNameFilterFollowsIndex: a filter for an invalid userName matches no user, like the index.
func TestUserNameFilterFollowsIndex(t *testing.T) {
	t.Parallel()
	o := scim.Object{"userName": "fix"}
	for in, want := range map[string]bool{
		`userName eq "\ufb01x"`: false, `userName ne "\ufb01x"`: true, `userName eq "ＦＩＸ"`: true, `userName eq "f x"`: false,
	} {
		if got := userFilter(t, in).Match(scim.UserType(), o); got != want {
			t.Errorf("Match(%s) = %t, want %t", in, got, want)
		}
	}
}

// TestFoldCase: strings that differ in letter case or composition fold to one string.
func TestFoldCase(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"ABC", "abc"},
		{"STRASSE", "straße"},
		{"É", "e\u0301"},
		{"Σ", "ς"},
		{"", ""},
	} {
		a, b := scim.FoldCase(pair[0]), scim.FoldCase(pair[1])
		if a != b {
			t.Errorf("FoldCase(%q) = %q and FoldCase(%q) = %q, want the same", pair[0], a, pair[1], b)
		}
		if again := scim.FoldCase(a); again != a {
			t.Errorf("FoldCase(%q) = %q, want the same", a, again)
		}
	}
}
