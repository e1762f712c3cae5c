package scim_test

import (
	"math"
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestParseQuery: ParseQuery reads the known parameters and ignores the others.
func TestParseQuery(t *testing.T) {
	t.Parallel()
	q, err := scim.ParseQuery(scim.UserType(),
		`filter=USERNAME%20Eq+%22a%22&startIndex=3&count=10&attributes=userName,+name.givenName,,&unknown=1&unknown=2&sortBy=x`, scim.DefaultLimits(), scim.Mode{})
	noError(t, err)
	if q.Filter == nil || q.Filter.String() != `userName eq "a"` || q.StartIndex != 3 || q.Count != 10 || !q.HasCount {
		t.Fatalf("ParseQuery = %+v, want the filter, startIndex 3 and count 10", q)
	}
	same(t, q.Attributes, []string{"userName", "name.givenName"})

	q, err = scim.ParseQuery(scim.UserType(), "", scim.DefaultLimits(), scim.Mode{})
	noError(t, err)
	if q.Filter != nil || q.StartIndex != 1 || q.HasCount || q.Attributes != nil || q.Excluded != nil {
		t.Fatalf("ParseQuery of an empty query = %+v, want startIndex 1 only", q)
	}

	// A number out of range becomes the nearest allowed number (RFC 7644 §3.4.2.4).
	for raw, want := range map[string][2]int{
		"startIndex=0&count=0":              {1, 0},
		"startIndex=-5&count=-1":            {1, 0},
		"STARTINDEX=2&Count=3":              {2, 3},
		"count=99999999999999999999":        {1, math.MaxInt32},
		"startIndex=-99999999999999999999":  {1, 0},
		"startIndex=99999999999999999999":   {math.MaxInt32, 0},
		"excludedAttributes=members&count=": {0, 0},
	} {
		q, err := scim.ParseQuery(scim.UserType(), raw, scim.DefaultLimits(), scim.Mode{})
		if want[0] == 0 {
			wantError(t, err, 400, scim.TypeInvalidValue)
			continue
		}
		noError(t, err)
		if q.StartIndex != want[0] || q.Count != want[1] {
			t.Errorf("ParseQuery(%s) = %+v, want startIndex %d and count %d", raw, q, want[0], want[1])
		}
	}
}

// TestParseQueryRefuses: bad queries are errors with the right scimType.
func TestParseQueryRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`filter=userName+pr&filter=title+pr`:          "invalidSyntax",
		`filter=userName+pr&Filter=title+pr`:          "invalidSyntax",
		`count=1&COUNT=1`:                             "invalidSyntax",
		`attributes=a&attributes=b`:                   "invalidSyntax",
		`filter=userName+pr;count=1`:                  "invalidSyntax",
		`filter=%zz`:                                  "invalidSyntax",
		`filter=%`:                                    "invalidSyntax",
		`attributes=%ff`:                              "invalidSyntax",
		`attributes=a&excludedAttributes=b`:           "invalidValue", // RFC 7644 §3.9
		`count=ten`:                                   "invalidValue",
		`count=1.5`:                                   "invalidValue",
		`count=%2B1`:                                  "invalidValue",
		`count=-`:                                     "invalidValue",
		`startIndex=x`:                                "invalidValue",
		`startIndex=0x1`:                              "invalidValue",
		`filter=`:                                     "invalidFilter",
		`filter=nonsense+eq+%22x%22`:                  "invalidFilter",
		`filter=userName+eq+x`:                        "invalidFilter",
		`attributes=` + strings.Repeat("a,", 2000):    "invalidSyntax",
		`x=` + strings.Repeat("a", 64<<10):            "invalidSyntax",
		`filter=title+pr` + strings.Repeat("+", 5000): "invalidFilter",
	}
	for raw, scimType := range tests {
		_, err := scim.ParseQuery(scim.UserType(), raw, scim.DefaultLimits(), scim.Mode{})
		if err == nil || err.Status != 400 || err.Type != scimType || err.Detail == "" {
			t.Errorf("ParseQuery(%.60s) = %v, want 400 %s with a detail", raw, err, scimType)
		}
	}
}

func rendered(t *testing.T) scim.Object {
	t.Helper()
	o := obj(t, ada)
	o["schemas"] = scim.Schemas(scim.UserType(), o)
	o["id"] = "A1"
	o["meta"] = obj(t, `{"resourceType":"User","version":"1"}`)
	o["password"] = "secret" // no schema has it, so no projection shows it
	return o
}

// TestProject: Project shows the attributes that a client asked for (RFC 7644 §3.9).
func TestProject(t *testing.T) {
	t.Parallel()
	const (
		core = `"urn:ietf:params:scim:schemas:core:2.0:User"`
		ent  = `"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`
	)
	shown := rendered(t)
	delete(shown, "password")
	tests := []struct {
		name                 string
		attributes, excluded []string
		want                 string
	}{
		{"nothing named", nil, nil, text(shown)},
		{"one", []string{"USERNAME"}, nil, `{"id":"A1","schemas":[` + core + `],"userName":"ada"}`},
		{"unknown only", []string{"nonsense", "password", "name.x"}, nil, `{"id":"A1","schemas":[` + core + `]}`},
		{"sub-attribute", []string{"name.givenName", "emails.value"}, nil, `{"emails":[{"value":"ada@example.com"},{"value":"ada@home.example"}],"id":"A1","name":{"givenName":"Ada"},"schemas":[` + core + `]}`},
		{"core urn", []string{"urn:ietf:params:scim:schemas:core:2.0:User:userName"}, nil, `{"id":"A1","schemas":[` + core + `],"userName":"ada"}`},
		{"extension", []string{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"}, nil, `{"id":"A1","schemas":[` + core + `,` + ent + `],` + ent + `:{"department":"Engines","manager":{"value":"M1"}}}`},
		{"extension attribute", []string{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"}, nil, `{"id":"A1","schemas":[` + core + `,` + ent + `],` + ent + `:{"department":"Engines"}}`},
		{"extension sub-attribute", []string{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"}, nil, `{"id":"A1","schemas":[` + core + `,` + ent + `],` + ent + `:{"manager":{"value":"M1"}}}`},
		{"excluded", nil, []string{"emails", "name.familyName", "meta", "displayName", "externalId", "active", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"}, `{"id":"A1","name":{"givenName":"Ada"},"schemas":[` + core + `],"userName":"ada"}`},
		{"always cannot be excluded", []string{"userName"}, []string{"id", "schemas"}, `{"id":"A1","schemas":[` + core + `],"userName":"ada"}`},
		{"meta part", []string{"meta.version"}, nil, `{"id":"A1","meta":{"version":"1"},"schemas":[` + core + `]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := rendered(t)
			before := text(o)
			got := scim.Project(scim.UserType(), o, tt.attributes, tt.excluded)
			same(t, text(got), tt.want)
			if text(o) != before {
				t.Fatalf("the input is %s after Project, want %s", text(o), before)
			}
		})
	}
}

// TestWants: Wants agrees with what Project shows.
func TestWants(t *testing.T) {
	t.Parallel()
	tests := []struct {
		attributes, excluded []string
		name                 string
		want                 bool
	}{
		{nil, nil, "members", true},
		{nil, []string{"MEMBERS"}, "members", false},
		{nil, []string{"urn:ietf:params:scim:schemas:core:2.0:Group:members"}, "members", false},
		{nil, []string{"members.display"}, "members", true},
		{[]string{"displayName"}, nil, "members", false},
		{[]string{"members.value"}, nil, "members", true},
		{[]string{"members"}, nil, "members", true},
		{[]string{"displayName"}, []string{"id"}, "id", true},
		{nil, nil, "nonsense", false},
	}
	for _, tt := range tests {
		if got := scim.Wants(scim.GroupType(), tt.attributes, tt.excluded, tt.name); got != tt.want {
			t.Errorf("Wants(%v, %v, %s) = %t, want %t", tt.attributes, tt.excluded, tt.name, got, tt.want)
		}
	}
}

// TestQueryDialect: a filter may name an attribute of an extension without its URN only where the mode accepts
// it, which is a deviation. The strict error says the full name.
func TestQueryDialect(t *testing.T) {
	const raw = "filter=" + "id+eq+%22a%22+and+manager+eq+%22b%22"
	_, err := scim.ParseQuery(scim.UserType(), raw, scim.DefaultLimits(), scim.Mode{})
	if err == nil || err.Code != scim.DevMissingURN || err.Type != scim.TypeInvalidFilter ||
		!strings.Contains(err.Detail, scim.EnterpriseUserURN+":manager") {
		t.Errorf("strict: %+v, want invalidFilter with the code and the full name", err)
	}
	m := scim.Mode{Accept: []string{scim.DevMissingURN}}
	q, err := scim.ParseQuery(scim.UserType(), raw, scim.DefaultLimits(), m)
	if err != nil || len(q.Deviations) != 1 || q.Deviations[0] != (scim.Deviation{Code: scim.DevMissingURN, Op: -1}) {
		t.Fatalf("accepted: %+v, %v, want one deviation", q.Deviations, err)
	}
	of := scim.Object{"id": "a", scim.EnterpriseUserURN: scim.Object{"manager": scim.Object{"value": "b"}}}
	if !q.Filter.Match(scim.UserType(), of) || q.Filter.Match(scim.UserType(), scim.Object{"id": "a"}) {
		t.Errorf("%v does not select by the manager", q.Filter)
	}
	_, err = scim.ParseQuery(scim.UserType(), "filter=boss+pr", scim.DefaultLimits(), m)
	if err == nil || err.Code != "" {
		t.Errorf("an unknown attribute: %+v, want an error without a code", err)
	}
}
