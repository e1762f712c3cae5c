package scim_test

import (
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// PRECIS UsernameCaseMapped (RFC 8265 §3.3).
func TestFoldUserName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"JSmith":             "jsmith",
		"J.Smith@Example.io": "j.smith@example.io",
		"ÅSA":                "åsa",
		"A\u030aSA":          "åsa",    // decomposed
		"ＡＢＣ":                "abc",    // full width
		"Straße":             "straße", // mapped to lower case, not folded
	} {
		got, err := scim.FoldUserName(in)
		noError(t, err)
		if got != want {
			t.Errorf("FoldUserName(%q) = %q, want %q", in, got, want)
		}
		if again, err := scim.FoldUserName(got); err != nil || again != got {
			t.Errorf("FoldUserName(%q) = %q, %v: not stable", got, again, err)
		}
	}
	for _, in := range []string{"", " ", "a b", "a\x00b", "a\tb", "\u200b", "a\u202eb", "é é", "\xff"} {
		_, err := scim.FoldUserName(in)
		if err == nil {
			t.Errorf("FoldUserName(%q) succeeded", in)
			continue
		}
		wantError(t, err, 400, scim.TypeInvalidValue)
	}
}

// A userName filter that no user name can equal matches nobody. Its index lookup agrees.
func TestUserNameFilterFollowsIndex(t *testing.T) {
	t.Parallel()
	o := scim.Object{"userName": "fix"}
	for in, want := range map[string]bool{
		`userName eq "\ufb01x"`: false, `userName ne "\ufb01x"`: true, `userName eq "ＦＩＸ"`: true, `userName eq "f x"`: false,
	} {
		if got := userFilter(t, in).Match(scim.UserType(), o); got != want {
			t.Errorf("%s: got %v", in, got)
		}
	}
}

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
			t.Errorf("%q folds to %q, %q to %q", pair[0], a, pair[1], b)
		}
		if scim.FoldCase(a) != a {
			t.Errorf("FoldCase(%q) is not stable", a)
		}
	}
}
