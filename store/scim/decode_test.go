package scim_test

import (
	"strings"
	"testing"

	"github.com/scimward/scimward/store/scim"
)

// TestDecodeObjectRefuses: documents that two JSON readers could understand differently are errors.
func TestDecodeObjectRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 13) + "1" + strings.Repeat("}", 13)
	tests := []struct{ name, body string }{
		{"empty", ""},
		{"blank", "  \n"},
		{"array", `[]`},
		{"string", `"x"`},
		{"null", `null`},
		{"byte order mark", "\ufeff{}"},
		{"duplicate key", `{"active":true,"active":false}`},
		{"duplicate key in another case", `{"active":true,"Active":false}`},
		{"duplicate key by escape", `{"active":true,"\u0061ctive":false}`},
		{"duplicate key below", `{"name":{"givenName":"a","GIVENNAME":"b"}}`},
		{"trailing data", `{} {}`},
		{"trailing comma", `{"a":1,}`},
		{"trailing comma in array", `{"a":[1,]}`},
		{"leading comma", `{,"a":1}`},
		{"missing comma", `{"a":1 "b":2}`},
		{"missing colon", `{"a" 1}`},
		{"single quotes", `{'a':1}`},
		{"bare key", `{a:1}`},
		{"comment", `{/**/}`},
		{"NaN", `{"a":NaN}`},
		{"Infinity", `{"a":-Infinity}`},
		{"too large a float", `{"a":1e400}`},
		{"too large an integer", `{"a":9223372036854775808}`},
		{"leading zero", `{"a":01}`},
		{"plus", `{"a":+1}`},
		{"point without digits", `{"a":1.}`},
		{"exponent without digits", `{"a":1e}`},
		{"bare minus", `{"a":-}`},
		{"hex", `{"a":0x1}`},
		{"capital literal", `{"a":True}`},
		{"longer literal", `{"a":truex}`},
		{"invalid UTF-8", "{\"a\":\"\xff\"}"},
		{"invalid UTF-8 after an escape", "{\"a\":\"\\n\xff\"}"},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}"},
		{"lone high surrogate", `{"a":"\ud800"}`},
		{"lone low surrogate", `{"a":"\udc00"}`},
		{"two high surrogates", `{"a":"\ud800\ud800"}`},
		{"control character", "{\"a\":\"\n\"}"},
		{"unknown escape", `{"a":"\x"}`},
		{"short escape", `{"a":"\u12"}`},
		{"open string", `{"a":"x`},
		{"open escape", `{"a":"\`},
		{"open object", `{"a":1`},
		{"open array", `{"a":[1`},
		{"too deep", deep},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := scim.DecodeObject([]byte(tt.body), scim.DefaultLimits())
			wantError(t, err, 400, scim.TypeInvalidSyntax)
		})
	}
}

// TestDecodeObjectBounds: a document above a limit is an error that names attribute and limit.
func TestDecodeObjectBounds(t *testing.T) {
	t.Parallel()
	l := scim.DefaultLimits()
	many := `[` + strings.Repeat("1,", l.Members) + `1]`
	var keys strings.Builder
	for i := range l.Members + 1 {
		keys.WriteString(`,"k` + strings.Repeat("a", i%60) + string(rune('a'+i/60)) + `":1`)
	}
	for _, tt := range []struct {
		name, body string
		status     int
		scimType   string
		detail     string
	}{
		{"bytes", `{"a":"` + strings.Repeat("x", l.Bytes) + `"}`, 413, "", "262144 bytes"},
		{"elements", `{"b":[],"emails":` + many + `}`, 400, scim.TypeInvalidValue, `"emails" has more than 1000 values`},
		{"elements of elements", `{"a/b":[1,{"c":[[],` + many + `]}]}`, 400, scim.TypeInvalidValue, `"c" has more than 1000`},
		{
			"elements of a pathless operation", `{"Operations":[{},{"op":"add","value":{"emails":` + many + `}}]}`, 400,
			scim.TypeInvalidValue, `operation 2: "emails" has more than 1000`,
		},
		{"operations", `{"Operations":` + many + `}`, 400, scim.TypeInvalidValue, `"Operations" has more than 1000`},
		{"keys", "{" + keys.String()[1:] + "}", 400, scim.TypeInvalidValue, "more than 1000 keys"},
		{"keys inside", `{"a":{"n":[{` + keys.String()[1:] + "}]}}", 400, scim.TypeInvalidValue, `"n" has an object with more than 1000 keys`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := scim.DecodeObject([]byte(tt.body), l)
			wantError(t, err, tt.status, tt.scimType)
			if !strings.Contains(err.Detail, tt.detail) {
				t.Errorf("the detail is %q, want one with %q", err.Detail, tt.detail)
			}
		})
	}
	largest := `{"a":[` + strings.Repeat("1,", l.Members-1) + `1]}`
	if _, err := scim.DecodeObject([]byte(largest), l); err != nil {
		t.Fatalf("DecodeObject of an array at the limit = %v, want no error", err)
	}
}

// TestDecodeObjectValues: each JSON value has its type in the object.
func TestDecodeObjectValues(t *testing.T) {
	t.Parallel()
	got := obj(t, " {\"a\":1,\"b\":1.0,\"c\":-2e3,\"d\":\"\\u00e9\\ud83d\\ude00\\/\",\"e\":null,\"f\":[true,{}],\"g\":false,\"h\":-9223372036854775808}\n")
	same(t, got, scim.Object{
		"a": int64(1), "b": 1.0, "c": -2000.0, "d": "é😀/", "e": nil,
		"f": []any{true, scim.Object{}}, "g": false, "h": int64(-9223372036854775808),
	})
}

// TestEncodeIsStable: Encode sorts keys and escapes little, and decoding gives the object again.
func TestEncodeIsStable(t *testing.T) {
	t.Parallel()
	o := obj(t, `{"b":[1,1.0,1e21,null,true,"\u0000\"\\<&>\u2028"],"a":{"z":"é"}}`)
	got := text(o)
	if want := "{\"a\":{\"z\":\"é\"},\"b\":[1,1.0,1e+21,null,true,\"\\u0000\\\"\\\\<&>\u2028\"]}"; got != want {
		t.Fatalf("Encode = %s, want %s", got, want)
	}
	same(t, obj(t, got), o)
}

// TestCloneSharesNothing: changing a clone leaves the original unchanged.
func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	o := obj(t, ada)
	before := text(o)
	c := o.Clone()
	emails, ok := c["emails"].([]any)
	if !ok {
		t.Fatalf("the clone has the emails %v, want an array", c["emails"])
	}
	first, ok := emails[0].(scim.Object)
	if !ok {
		t.Fatalf("the clone has the element %v, want an object", emails[0])
	}
	first["value"] = "changed"
	delete(c, "userName")
	if text(o) != before {
		t.Fatalf("the original is %s after the clone changed, want %s", text(o), before)
	}
}
