package shapes_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/scim/shapes"
)

var update = flag.Bool("update", false, "write the results into the files of data/")

// listed names every form that identity services are known to send. Each has a file.
func listed() []string {
	return strings.Fields(`
filter-bare-value filter-bracket-value filter-brackets filter-unknown filter-upper-case group-add-array
group-add-filter group-add-null-ref group-add-object group-add-pathless group-add-string group-add-strings
group-create-legacy-schema group-misspelt-value group-operations-empty group-path-case group-pathless-empty group-put
group-remove-all group-remove-bare-id group-remove-by-display group-remove-by-filter group-remove-by-type
group-remove-no-space group-remove-or group-remove-other-case group-remove-parentheses
group-remove-value-array group-remove-value-empty group-remove-value-null group-remove-value-string
group-rename group-rename-pathless group-rename-pathless-same group-replace-external-id group-replace-members
group-replace-members-empty group-urn-path http-delete-content-type http-delete-empty-length http-empty-cursor
http-escaped-urn http-get-content-type http-json-type http-no-user-agent http-question-mark
user-address-missing user-address-present user-create user-create-active-string user-create-emails-object
user-create-emails-strings user-create-empty-lists user-create-legacy-schema user-create-manager-string
user-create-no-schemas user-create-nulls user-create-password user-create-roles-json
user-create-unknown-attribute user-create-unknown-schema user-deactivate user-deactivate-array
user-deactivate-array-string user-deactivate-lookalike user-deactivate-lookalike-in-extension
user-deactivate-misspelt user-deactivate-null user-deactivate-number user-deactivate-pathless
user-deactivate-pathless-add user-deactivate-remove user-deactivate-string user-deactivate-string-pathless
user-deactivate-urn user-deactivate-wrapped user-dotted-keys user-email-missing user-email-missing-replace
user-email-null-parts user-email-object user-email-present user-email-primary user-email-primary-string
user-email-remove-listed user-email-remove-missing user-email-remove-value user-entitlement-json
user-extension-key user-filter-keys user-manager-array user-manager-empty user-manager-null-ref
user-manager-remove-filter user-manager-remove-other user-manager-string user-name-parts user-null-part
user-null-value user-operations-empty user-password user-password-pathless user-put-deactivate
user-put-no-active user-reactivate-pathless-add user-read-only user-role-json user-role-json-path
user-role-json-string user-role-missing user-unknown-attribute user-unknown-path user-urn-keys
user-value-array user-value-wrapped
`)
}

// TestEveryShapeHasAFile: the list and the files are the same.
func TestEveryShapeHasAFile(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range shapes.All() {
		names = append(names, s.Name)
	}
	want := listed()
	slices.Sort(want)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("list and files differ (-list +files):\n%s", diff)
	}
}

func refusal(err *scim.Error) *shapes.Refusal {
	if err == nil {
		return nil
	}
	return &shapes.Refusal{Status: err.Status, ScimType: err.Type, Detail: err.Detail, Code: err.Code}
}

// run returns the shape with the results of this parser.
func run(t *testing.T, s shapes.Shape) shapes.Shape {
	t.Helper()
	got, err := s.Result(s.Mode)
	s.Codes, s.Canonical, s.Stored, s.Refused = got.Codes, got.Canonical, nil, refusal(err)
	if err == nil && got.Stored != nil {
		s.Stored = json.RawMessage(scim.Encode(got.Stored))
	}
	_, err = s.Result(scim.Mode{})
	s.Strict = refusal(err)
	return s
}

// encode renders a shape as its file has it.
func encode(t *testing.T, s shapes.Shape) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestShapes: the parser makes of each shape what its file says.
func TestShapes(t *testing.T) {
	t.Parallel()
	for _, s := range shapes.All() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			got := run(t, s)
			if *update {
				if err := os.WriteFile("data/"+s.Name+".json", encode(t, got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(encode(t, s)), string(encode(t, got))); diff != "" {
				t.Errorf("(-file +parser):\n%s", diff)
			}
		})
	}
}

// TestShapesAreComplete: the files name known codes and kinds, and every refusal says what to do.
func TestShapesAreComplete(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range scim.Codes() {
		known[c.Name] = true
	}
	seen := map[string]bool{}
	for _, s := range shapes.All() {
		if s.Title == "" || !strings.HasSuffix(s.Title, ".") || s.ResourceType().Name != s.Type {
			t.Errorf("%s: title %q, type %q, want a sentence and a type", s.Name, s.Title, s.Type)
		}
		switch s.Kind {
		case shapes.KindPatch, shapes.KindPost, shapes.KindPut, shapes.KindFilter, shapes.KindHTTP:
		default:
			t.Errorf("%s: the kind %q does not exist", s.Name, s.Kind)
		}
		if err := s.Mode.Check(); err != nil {
			t.Errorf("%s: mode: %v", s.Name, err)
		}
		for _, code := range s.Codes {
			if !known[code] {
				t.Errorf("%s names the unknown code %s", s.Name, code)
			}
			seen[code] = true
		}
		if s.Refused != nil && (len(s.Mode.Accept) > 0 || s.Strict == nil) {
			t.Errorf("%s: refused in every mode, but has a mode or passes in strict mode", s.Name)
		}
		for _, r := range []*shapes.Refusal{s.Refused, s.Strict} {
			if r != nil && (r.Status != 400 || r.ScimType == "" || r.Detail == "" || r.Code != "" && !known[r.Code]) {
				t.Errorf("%s: refusal %+v, want 400 with scimType, detail and a known code", s.Name, r)
			}
		}
	}
	for code := range known {
		if !seen[code] {
			t.Errorf("no shape has the code %s", code)
		}
	}
}

// TestModesAreSmall: without any one of its codes or names, the mode of a shape does not accept it, and
// the refusal names what is missing.
func TestModesAreSmall(t *testing.T) {
	t.Parallel()
	for _, s := range shapes.All() {
		for _, less := range without(s.Mode) {
			if _, err := s.Result(less); err == nil {
				t.Errorf("%s is accepted by %+v, less than its mode", s.Name, less)
			} else if code, known := accepted(s.Mode, err.Code); !known {
				t.Errorf("%s: the refusal of %+v names %q, want a code of its mode", s.Name, less, code)
			}
		}
	}
}

// without returns the modes that have one code or name less than m.
func without(m scim.Mode) []scim.Mode {
	var out []scim.Mode
	drop := func(list []string, i int) []string { return slices.Delete(slices.Clone(list), i, i+1) }
	for i := range m.Accept {
		less := m
		less.Accept = drop(m.Accept, i)
		out = append(out, less)
	}
	for i := range m.UnknownSchemas {
		less := m
		less.UnknownSchemas = drop(m.UnknownSchemas, i)
		out = append(out, less)
	}
	for i := range m.UnknownAttributes {
		less := m
		less.UnknownAttributes = drop(m.UnknownAttributes, i)
		out = append(out, less)
	}
	return out
}

// accepted reports whether m is about the deviation code.
func accepted(m scim.Mode, code string) (string, bool) {
	named := code == scim.DevUnknownDropped || code == scim.DevUnknownSchema
	return code, slices.Contains(m.Accept, code) || named && len(m.UnknownSchemas)+len(m.UnknownAttributes) > 0
}

// TestMembersAreNeverAllRemoved: no shape but those that say so empties the group, in any mode.
func TestMembersAreNeverAllRemoved(t *testing.T) {
	t.Parallel()
	empties := []string{
		"group-remove-all", "group-replace-members-empty", "group-pathless-empty", "group-remove-or",
	}
	var everything scim.Mode
	for _, c := range scim.Codes() {
		if c.Accepted == scim.AcceptListed {
			everything.Accept = append(everything.Accept, c.Name)
		}
	}
	for _, s := range shapes.All() {
		if s.Kind != shapes.KindPatch || s.Type != "Group" {
			continue
		}
		for _, m := range []scim.Mode{{}, s.Mode, everything} {
			got, err := s.Result(m)
			if err == nil && got.Stored["members"] == nil && !slices.Contains(empties, s.Name) {
				t.Errorf("%s empties the group in the mode %+v", s.Name, m)
			}
		}
	}
}
