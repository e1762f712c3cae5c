package scim_test

import (
	"testing"

	"github.com/scimward/scimward/store/scim"
)

func walk(list []scim.Attribute, path string, fn func(path string, a scim.Attribute)) {
	for _, a := range list {
		fn(path+a.Name, a)
		walk(a.SubAttributes, path+a.Name+".", fn)
	}
}

func every(fn func(path string, a scim.Attribute)) {
	for _, rt := range scim.Types() {
		walk(rt.Schema.Attributes, rt.Name+":", fn)
		for _, e := range rt.Extensions {
			walk(e.Attributes, e.Name+":", fn)
		}
	}
}

// TestSchemasStateEverything: each schema states every characteristic, with a legal value (RFC
// 7643 §7).
func TestSchemasStateEverything(t *testing.T) {
	t.Parallel()
	legal := map[string][]string{
		"type":       {"string", "boolean", "decimal", "integer", "dateTime", "reference", "binary", "complex"},
		"mutability": {"readOnly", "readWrite", "immutable", "writeOnly"},
		"returned":   {"always", "never", "default", "request"},
		"uniqueness": {"none", "server", "global"},
	}
	for _, rt := range scim.Types() {
		schemas := append([]*scim.Schema{rt.Schema}, rt.Extensions...)
		for _, s := range schemas {
			doc := s.JSON("https://a.example/scim/v2")
			checkDocument(t, s.ID, doc, legal)
			if got := doc.String("id"); got != s.ID {
				t.Errorf("id %q, want %q", got, s.ID)
			}
		}
	}
}

func checkDocument(t *testing.T, path string, o scim.Object, legal map[string][]string) {
	t.Helper()
	for _, list := range []string{"attributes", "subAttributes"} {
		elems, _ := o[list].([]any)
		for _, e := range elems {
			a, ok := e.(scim.Object)
			if !ok {
				t.Fatalf("%s has the attribute %v, want an object", path, e)
			}
			name := path + "." + a.String("name")
			for _, flag := range []string{"multiValued", "required", "caseExact"} {
				if _, ok := a[flag].(bool); !ok {
					t.Errorf("%s does not state %s", name, flag)
				}
			}
			if a.String("description") == "" {
				t.Errorf("%s has no description", name)
			}
			for key, values := range legal {
				found := false
				for _, v := range values {
					found = found || a.String(key) == v
				}
				if !found {
					t.Errorf("%s: %s is %q, want one of %q", name, key, a.String(key), values)
				}
			}
			checkDocument(t, name, a, legal)
		}
	}
}

// TestSchemaRules: no schema has a password, every type has canonicalValues, and no complex
// attribute is inside another (RFC 7643 §2.3.8).
func TestSchemaRules(t *testing.T) {
	t.Parallel()
	seen := map[string]scim.Attribute{}
	every(func(path string, a scim.Attribute) {
		seen[path] = a
		if a.Name == "password" {
			t.Errorf("the schema has %s, want no password", path)
		}
		if a.Name == "type" && len(a.CanonicalValues) == 0 {
			t.Errorf("%s has no canonicalValues", path)
		}
		for _, sub := range a.SubAttributes {
			if sub.Type == "complex" {
				t.Errorf("%s.%s is complex inside complex", path, sub.Name)
			}
		}
		if a.Type == "binary" && !a.CaseExact {
			t.Errorf("%s is binary and not caseExact", path)
		}
	})
	// The corrections of RFC 7643 §8.7.1, and attributes that the IPSIE profile requires.
	if a := seen["Group:displayName"]; !a.Required {
		t.Errorf("displayName of a group is %+v, want it required", a)
	}
	if a := seen["Group:members.value"]; !a.CaseExact || a.Mutability != "immutable" {
		t.Errorf("members.value is %+v, want it caseExact and immutable", a)
	}
	for _, path := range []string{
		"Group:members.display", "Group:externalId", "User:externalId", "User:displayName", "User:active",
		"User:emails.value", "User:userName", "EnterpriseUser:manager.value",
	} {
		if _, ok := seen[path]; !ok {
			t.Errorf("%s is missing", path)
		}
	}
	if a := seen["User:userName"]; a.CaseExact || !a.Required || a.Uniqueness != "server" {
		t.Errorf("userName is %+v, want it required, unique and not caseExact", a)
	}
	if a := seen["User:externalId"]; !a.CaseExact {
		t.Errorf("externalId is %+v, want it caseExact", a)
	}
}

// TestResourceTypeDocument: the ResourceType documents have the form of RFC 7643 §6.
func TestResourceTypeDocument(t *testing.T) {
	t.Parallel()
	got := scim.UserType().JSON("https://a.example/scim/v2")
	same(t, got, obj(t, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],"id":"User","name":"User",
	 "description":"User account","endpoint":"/Users","schema":"urn:ietf:params:scim:schemas:core:2.0:User",
	 "schemaExtensions":[{"schema":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User","required":false}],
	 "meta":{"resourceType":"ResourceType","location":"https://a.example/scim/v2/ResourceTypes/User"}}`))
	if _, ok := scim.GroupType().JSON("")["schemaExtensions"]; ok {
		t.Error("the Group document has schemaExtensions, want none")
	}
}

// TestTypesAreShared: the definitions are shared, so attributes can be compared by address.
func TestTypesAreShared(t *testing.T) {
	t.Parallel()
	again := scim.Types()
	if scim.UserType() != again[0] || scim.GroupType() != again[1] {
		t.Fatal("Types, UserType and GroupType return different pointers, want the same")
	}
}
