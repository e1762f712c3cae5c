package request_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/request"
)

const leaverPath = "/scim/v2/Users/u-1"

func leavers(method, path, body string, change func(*request.Request)) []request.Leaver {
	r := request.Request{
		Surface: request.SurfaceSCIM, Method: method, Path: path, Body: []byte(body), Headers: request.Headers{},
	}
	if change != nil {
		change(&r)
	}
	return r.Leavers()
}

// TestLeaversAreRecognised: every way to ask for a deactivation is seen, also those that the strict
// decoder refuses.
func TestLeaversAreRecognised(t *testing.T) {
	const urn = "urn:ietf:params:scim:schemas:core:2.0:User"
	patch := func(op string) string { return `{"schemas":["x"],"Operations":[` + op + `]}` }
	tests := map[string]string{
		"boolean":              patch(`{"op":"replace","path":"active","value":false}`),
		"string":               patch(`{"op":"Replace","path":"active","value":"False"}`),
		"string with a blank":  patch(`{"op":"replace","path":"active","value":"False "}`),
		"zero":                 patch(`{"op":"replace","path":"active","value":0}`),
		"null":                 patch(`{"op":"replace","path":"active","value":null}`),
		"no value":             patch(`{"op":"replace","path":"active"}`),
		"a word":               patch(`{"op":"replace","path":"active","value":"disabled"}`),
		"an object":            patch(`{"op":"replace","path":"active","value":{"value":false}}`),
		"a list":               patch(`{"op":"replace","path":"active","value":[{"value":"False"}]}`),
		"an empty list":        patch(`{"op":"replace","path":"active","value":[]}`),
		"remove":               patch(`{"op":"remove","path":"active"}`),
		"remove in capitals":   patch(`{"op":"REMOVE","path":"Active","value":true}`),
		"delete":               patch(`{"op":"delete","path":"active"}`),
		"path in capitals":     patch(`{"op":"replace","path":"ACTIVE","value":false}`),
		"URN path":             patch(`{"op":"replace","path":"` + urn + `:active","value":false}`),
		"JSON pointer":         patch(`{"op":"replace","path":"/active","value":false}`),
		"path with a filter":   patch(`{"op":"replace","path":"active[value eq true]","value":false}`),
		"without a path":       patch(`{"op":"replace","value":{"active":false}}`),
		"empty path":           patch(`{"op":"replace","path":"","value":{"Active":"false"}}`),
		"URN of the user":      patch(`{"op":"replace","path":"` + urn + `","value":{"active":false}}`),
		"URN within the value": patch(`{"op":"replace","value":{"` + urn + `":{"active":false}}}`),
		"URN member":           patch(`{"op":"replace","value":{"` + urn + `:active":"False"}}`),
		"member in capitals":   `{"OPERATIONS":[{"OP":"replace","PATH":"active","VALUE":false}]}`,
		"second operation":     patch(`{"op":"replace","path":"title","value":"x"},{"op":"replace","path":"active","value":false}`),
		"written twice":        patch(`{"op":"replace","path":"active","value":true,"value":false}`),
		"one operation":        `{"Operations":{"op":"replace","path":"active","value":false}}`,
		"JSON Patch":           `[{"op":"replace","path":"/active","value":false}]`,
		"merge patch":          `{"active":false}`,
		"document":             `{"schemas":["` + urn + `"],"userName":"x","active":"False"}`,
		"document, twice":      `{"active":true,"Active":false}`,
		"escaped":              `{"\u0061ctive":false}`,
		"byte order mark":      "\uFEFF" + `{"active":false}`,
		"garbage after it":     `{"active":false} trailing`,
		"cut off":              `{"Operations":[{"op":"replace","path":"active","value":fal` + `se`,
		"single quotes":        `{'active': False}`,
		"XML":                  `<user><active>false</active></user>`,
		"a form":               `active=0&userName=x`,
		"remove, cut off":      `{"Operations":[{"op":"remove","path":"active"`,
		"misspelt":             patch(`{"op":"replace","value":{"actve":false}}`),
		"another name":         patch(`{"op":"replace","path":"accountEnabled","value":"False"}`),
		"an opposite":          `{"schemas":["` + urn + `"],"suspended":true}`,
		"a word for it":        `{"status":"terminated"}`,
		"in an extension":      patch(`{"op":"add","value":{"urn:example:User":{"state":"SUSPENDED"}}}`),
		"another name removed": patch(`{"op":"remove","path":"urn:example:User:enabled"}`),
		"UTF-16":               strings.Join(strings.Split(`{"active":false}`, ""), "\x00"),
	}
	for name, body := range tests {
		for _, method := range []string{"PATCH", "PUT"} {
			want := []request.Leaver{{ID: "u-1", Asked: request.AskedDeactivate}}
			if diff := cmp.Diff(want, leavers(method, leaverPath, body, nil)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, method, diff)
			}
		}
	}
}

// TestOthersAreNoLeavers: a request that asks for something else is not shown as a deactivation.
func TestOthersAreNoLeavers(t *testing.T) {
	tests := map[string]string{
		"active":             `{"Operations":[{"op":"replace","path":"active","value":true}]}`,
		"active as a string": `{"Operations":[{"op":"replace","path":"active","value":"True"}]}`,
		"active as one":      `{"active":1}`,
		"another attribute":  `{"Operations":[{"op":"replace","path":"title","value":false}]}`,
		"inside another":     `{"Operations":[{"op":"replace","path":"manager","value":{"active":false}}]}`,
		"removes another":    `{"Operations":[{"op":"remove","path":"title"}]}`,
		"a value":            `{"title":"not active, false"}`,
		"another name":       `{"inactive":false,"activeSince":null}`,
		"opposites":          `{"disabled":"false","locked":0,"isSuspended":false,"blocked":[]}`,
		"opposite removed":   `{"Operations":[{"op":"remove","path":"suspended"}]}`,
		"a lookalike":        `{"status":"ACTIVE","accountEnabled":true}`,
		"no document":        `{}`,
		"no JSON":            `hello`,
		"nothing":            ``,
	}
	for name, body := range tests {
		for _, method := range []string{"PATCH", "PUT"} {
			if got := leavers(method, leaverPath, body, nil); got != nil {
				t.Errorf("%s, %s: %+v, want none", name, method, got)
			}
		}
	}
	for _, tt := range []struct{ method, path, body string }{
		{"GET", leaverPath, `{"active":false}`},
		{"POST", "/scim/v2/Users", `{"active":false}`},
		{"POST", leaverPath, `{"active":false}`},
		{"PATCH", "/scim/v2/Groups/u-1", `{"active":false}`},
		{"DELETE", "/scim/v2/Groups/u-1", ``},
		{"DELETE", "/scim/v2/Users", ``},
		{"DELETE", "/scim/v2/Users/" + strings.Repeat("x", 65), ``},
	} {
		if got := leavers(tt.method, tt.path, tt.body, nil); got != nil {
			t.Errorf("%s %s: %+v, want none", tt.method, tt.path, got)
		}
	}
}

// TestUnseenBodyMayAsk: a PATCH or PUT of a user whose body was not read may have asked. A DELETE always
// asks.
func TestUnseenBodyMayAsk(t *testing.T) {
	unseen := map[string]func(*request.Request){
		"partial":  func(r *request.Request) { r.Partial = true },
		"encoded":  func(r *request.Request) { r.Headers["content-encoding"] = []string{"gzip"} },
		"withheld": func(r *request.Request) { r.Body, r.Headers["content-length"] = nil, []string{"9000000"} },
		"too long": func(r *request.Request) { r.Body = make([]byte, 5<<20) },
		"no text":  func(r *request.Request) { r.Body = []byte("\xff\xfe\x80") },
		"escapes":  func(r *request.Request) { r.Body = []byte(`{"\u0061ctive":fa`) },
		"disguise": func(r *request.Request) {
			r.Method, r.Headers["x-http-method-override"] = "POST", []string{"DELETE"}
		},
	}
	for name, change := range unseen {
		want := []request.Leaver{{ID: "u-1", Asked: request.AskedUnseen}}
		if diff := cmp.Diff(want, leavers("PATCH", leaverPath, "{}", change)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, path := range []string{
		leaverPath, leaverPath + "/", "/scim/v2/users/u-1", "/scim/v2//Users/u-1", "/scim/v2/Users/%75-1", "/SCIM/v1/Users/u-1;x=1/y",
	} {
		want := []request.Leaver{{ID: "u-1", Asked: request.AskedDelete}}
		if diff := cmp.Diff(want, leavers("DELETE", path, "", nil)); diff != "" {
			t.Errorf("DELETE %s (-want +got):\n%s", path, diff)
		}
	}
}

// TestLeaversOfBulk: each operation of Bulk counts by itself, and their number is bounded.
func TestLeaversOfBulk(t *testing.T) {
	op := func(method, id, data string) string {
		return `{"method":"` + method + `","path":"/Users/` + id + `","data":` + data + `}`
	}
	body := `{"Operations":[` + op("DELETE", "a", "null") + "," + op("patch", "b", `{"Operations":[{"op":"replace","value":{"active":false}}]}`) +
		"," + op("PUT", "c", `{"active":true}`) + "," + op("POST", "d", `{"active":false}`) + `]}`
	want := []request.Leaver{{ID: "a", Asked: request.AskedDelete}, {ID: "b", Asked: request.AskedDeactivate}}
	if diff := cmp.Diff(want, leavers("POST", "/scim/v2/Bulk", body, nil)); diff != "" {
		t.Errorf("leavers (-want +got):\n%s", diff)
	}
	many := `{"Operations":[` + strings.Repeat(op("DELETE", "a", "null")+",", 300) + op("DELETE", "a", "null") + `]}`
	if got := leavers("POST", "/scim/v2/Bulk", many, nil); len(got) != 100 {
		t.Errorf("%d leavers of 301 operations, want 100", len(got))
	}
}

func FuzzLeavers(f *testing.F) {
	f.Add("PATCH", leaverPath, []byte(`{"Operations":[{"op":"replace","path":"active","value":false}]}`))
	f.Add("POST", "/scim/v2/Bulk", []byte(`{"Operations":[{"method":"DELETE","path":"/Users/a"}]}`))
	f.Add("PUT", leaverPath, []byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		for _, l := range leavers(method, path, string(body), nil) {
			if !request.ResourceID(l.ID) || l.Asked == "" {
				t.Errorf("%+v, want an id and what was asked", l)
			}
		}
	})
}
