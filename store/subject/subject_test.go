package subject_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/subject"
)

// TestEveryFieldCounts sets one field at a time: a field that one of the methods
// forgets would let a leaver in under that name.
func TestEveryFieldCounts(t *testing.T) {
	kinds := map[subject.Name]bool{}
	typ := reflect.TypeFor[subject.Subject]()
	for i := range typ.NumField() {
		if typ.Field(i).Name == "FormerUserNames" {
			continue
		}
		t.Run(typ.Field(i).Name, func(t *testing.T) {
			s, other := with(i, "x"), with(i, "y")
			if !s.Known() {
				t.Error("the subject is not known")
			}
			if same, known := s.Same(&s); !same || !known {
				t.Errorf("compared with itself: same %t, known %t", same, known)
			}
			if same, known := s.Same(&other); same || !known {
				t.Errorf("compared with another value: same %t, known %t", same, known)
			}
			var none, copied subject.Subject
			if diff := cmp.Diff(s, none.Merge(&s)); diff != "" {
				t.Errorf("merged into nobody (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(s, s.Merge(&other)); diff != "" {
				t.Errorf("merging replaced a name (-want +got):\n%s", diff)
			}
			for kind, value := range s.Names() {
				kinds[kind] = true
				copied.Add(kind, value)
				if named := subject.Named(kind, value); !cmp.Equal(named, s) {
					t.Errorf("Named(%s, %s) is %+v", kind, value, named)
				}
			}
			if diff := cmp.Diff(s, copied); diff != "" {
				t.Errorf("added name by name (-want +got):\n%s", diff)
			}
		})
	}
	if len(kinds) != typ.NumField()-1 {
		t.Errorf("the fields have %d kinds: %v", len(kinds), kinds)
	}
}

func with(field int, value string) subject.Subject {
	var s subject.Subject
	f := reflect.ValueOf(&s).Elem().Field(field)
	if f.Kind() == reflect.Slice {
		f.Set(reflect.ValueOf([]string{value}))
	} else {
		f.SetString(value)
	}
	return s
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		name        string
		x, y        subject.Subject
		same, known bool
	}{
		{"nobody", subject.Subject{}, subject.Subject{}, false, false},
		{"no kind in common", subject.Named(subject.UserName, "ada"), subject.Named(subject.Email, "ada"), false, false},
		{"user name in another case", subject.Named("", "Ada"), subject.Named("", "aDA"), true, true},
		{"user name the profile refuses", subject.Named("", "Ada L"), subject.Named("", "ada l"), true, true},
		{"external id in another case", subject.Named(subject.ExternalID, "A"), subject.Named(subject.ExternalID, "a"), false, true},
		{"one address in common", subject.Subject{Emails: []string{"a@x", "B@x"}}, subject.Subject{Emails: []string{"b@X"}}, true, true},
		{
			"one name agrees, one does not",
			subject.Subject{UserName: "ada", SCIMID: "1"},
			subject.Subject{UserName: "ada", SCIMID: "2"},
			false, true,
		},
		{"a former name proves nothing", subject.Named("", "ada"), subject.Subject{FormerUserNames: []string{"ada"}}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			same, known := c.x.Same(&c.y)
			if same != c.same || known != c.known {
				t.Errorf("got same %t, known %t; want %t, %t", same, known, c.same, c.known)
			}
			if s, k := c.y.Same(&c.x); s != same || k != known {
				t.Errorf("the other way round: same %t, known %t", s, k)
			}
		})
	}
}

// TestHaving: a person is found by every kind of name, in the form in which names of the kind are compared.
func TestHaving(t *testing.T) {
	s := subject.Subject{
		SCIMID: "id-1", UserName: "Xena", ExternalID: "x-7E", Emails: []string{"x@example.com", "Xena@Example.com"},
		AppUserID: "42", FormerUserNames: []string{"xen.old"},
	}
	for name, want := range map[string]bool{
		"xena": true, "XENA": true, "Xen.Old": true, "xen": false, "": false, "id-1": true, "ID-1": false,
		"x-7E": true, "x-7e": false, "xena@example.com": true, "42": true, "example.com": false,
	} {
		if got := subject.Having(name)(&s); got != want {
			t.Errorf("Having(%q) = %t, want %t", name, got, want)
		}
	}
	if subject.Having("")(&subject.Subject{}) {
		t.Error("a person without a name has the empty one")
	}
}
