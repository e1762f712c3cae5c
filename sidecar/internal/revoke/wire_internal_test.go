package revoke

import (
	"reflect"
	"testing"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store/subject"
)

// TestPluginsGetEveryName: the request to a plugin has every field that the wire document
// has, and the subject has every name that a plugin gives. A new kind of name fails here
// first, as a reminder to decide whether plugins get it.
func TestPluginsGetEveryName(t *testing.T) {
	full := subject.Subject{
		SCIMID: "id", ExternalID: "x", UserName: "ada", Emails: []string{"a@x"}, FormerUserNames: []string{"old"},
		AppUserID: "only a plugin gives it",
	}
	for i := range reflect.TypeFor[subject.Subject]().NumField() {
		if reflect.ValueOf(full).Field(i).IsZero() {
			t.Fatalf("give the subject of this test a %s", reflect.TypeFor[subject.Subject]().Field(i).Name)
		}
	}
	wire := reflect.ValueOf(toWire(&full)).Elem()
	for i := range wire.NumField() {
		if name := wire.Type().Field(i).Name; wire.Field(i).IsZero() && name != "Attributes" {
			t.Errorf("toWire leaves %s empty, want a value", name)
		}
	}
	given := FromWire(&abi.Identity{AppUserID: "a", UserName: "b", SCIMID: "c"})
	if n := reflect.TypeFor[abi.Identity]().NumField(); n != 3 {
		t.Errorf("an identity has %d fields, want 3: add the new one here", n)
	}
	if given.AppUserID != "a" || given.UserName != "b" || given.SCIMID != "c" {
		t.Errorf("FromWire gives %+v, want a, b and c", given)
	}
}
