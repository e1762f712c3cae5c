package subject_test

import (
	"testing"

	"github.com/scimward/scimward/store/subject"
)

// TestMapping: a mapping does exactly its steps. Another domain than the configured one stays, so that
// carl of another domain does not become ours.
func TestMapping(t *testing.T) {
	m := subject.Mapping{StripPrefix: `CORP\`, StripDomain: "old.example", AppendDomain: "corp.example"}
	for _, row := range []struct {
		m           subject.Mapping
		kind        subject.Name
		value, want string
	}{
		{m, subject.UserName, "carl", "carl@corp.example"},
		{m, subject.UserName, `corp\carl`, "carl@corp.example"},
		{m, subject.UserName, "carl@OLD.example", "carl@corp.example"},
		{m, subject.UserName, "carl@evil.example", "carl@evil.example"},
		{m, subject.UserName, "carl@xold.example", "carl@xold.example"},
		{m, subject.UserName, `CORP\`, `CORP\@corp.example`},
		{m, subject.UserName, "@old.example", "@old.example"},
		{m, subject.UserName, "", ""},
		{m, "", "carl", "carl@corp.example"},
		{m, subject.Email, "carl@old.example", "carl@corp.example"},
		{m, subject.SCIMID, "carl", "carl"},
		{m, subject.ExternalID, "carl@old.example", "carl@old.example"},
		{subject.Mapping{StripDomain: "müller.example"}, subject.UserName, "carl@xn--mller-kva.example", "carl"},
		{subject.Mapping{StripDomain: "corp.example"}, subject.UserName, "a@b@corp.example", "a@b"},
		{subject.Mapping{}, subject.UserName, `CORP\carl`, `CORP\carl`},
	} {
		if got := row.m.Apply(row.kind, row.value); got != row.want {
			t.Errorf("%+v of %s %q = %q, want %q", row.m, row.kind, row.value, got, row.want)
		}
	}
	s := subject.Subject{SCIMID: "i", UserName: "carl", Emails: []string{"carl@old.example"}}
	m.Map(&s)
	if s.UserName != "carl@corp.example" || s.Emails[0] != "carl@corp.example" || s.SCIMID != "i" {
		t.Errorf("mapped %+v", s)
	}
}

// TestSpellingsOfOneName: spellings that mail servers, directories and browsers take for one name fold
// to one name. Folding again changes nothing.
func TestSpellingsOfOneName(t *testing.T) {
	for _, same := range [][]string{
		{"carl", "CARL", "ｃａｒｌ", "Carl"},
		{"straße", "STRASSE", "strasse", "STRAßE", "straẞe"},
		{"jürgen@müller.example", "JÜRGEN@MÜLLER.EXAMPLE", "jürgen@xn--mller-kva.example", "ju\u0308rgen@XN--MLLER-KVA.example"},
		{"carl@straße.example", "carl@xn--strae-oqa.example", "CARL@STRASSE.example"},
	} {
		for kind := range map[subject.Name]bool{subject.UserName: true, subject.Email: true} {
			want := subject.Fold(kind, same[0])
			for _, v := range same {
				got := subject.Fold(kind, v)
				if got != want || subject.Fold(kind, got) != got {
					t.Errorf("%s %q folds to %q and %q, want %q", kind, v, got, subject.Fold(kind, got), want)
				}
			}
		}
	}
	for _, two := range [][2]string{{"carl", "karl"}, {"carl@a.example", "carl@b.example"}, {"carl", "carl@a.example"}} {
		if subject.Fold(subject.UserName, two[0]) == subject.Fold(subject.UserName, two[1]) {
			t.Errorf("%q and %q are one name", two[0], two[1])
		}
	}
}
