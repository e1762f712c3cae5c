package strictjson_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/strictjson"
)

type object map[string]any

// The rules of the three callers.
func scimRules() strictjson.Rules {
	return strictjson.Rules{
		Depth: 12, Nesting: 12, Members: 1000, Values: 256 << 10, FoldName: strings.ToLower,
		Number: func(text string) (any, error) { return strconv.ParseFloat(text, 64) },
	}
}

func tokenRules() strictjson.Rules {
	return strictjson.Rules{Depth: 8, Nesting: 9, Members: 512, Values: 512, NoFFFD: true}
}

func manifestRules() strictjson.Rules {
	return strictjson.Rules{
		Depth: 16, Nesting: 17, Members: 64 << 10, Values: 64 << 10, Lossy: true, FoldName: strings.ToLower,
	}
}

// nested returns an object with n arrays inside each other and inner in the innermost.
func nested(n int, inner string) string {
	return `{"a":` + strings.Repeat("[", n) + inner + strings.Repeat("]", n) + `}`
}

// verdict is the expected result for a document under the rules of each caller.
type verdict struct {
	name, doc             string
	scim, token, manifest error // nil: accepted; errGrammar: any fault in the grammar
}

var errGrammar = errors.New("grammar")

func verdicts() []verdict {
	names := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = `"n` + strconv.Itoa(i) + `":0`
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	grammar := func(name, doc string) verdict { return verdict{name, doc, errGrammar, errGrammar, errGrammar} }
	all := func(name, doc string, err error) verdict { return verdict{name, doc, err, err, err} }
	return []verdict{
		all("empty object", " {}\n", nil),
		all("values", `{"a":[1,-1.5e+3,true,false,null,"x",{"b":""}]}`, nil),
		all("escapes", `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, nil),
		all("NUL", `{"a":"\u0000"}`, nil),
		all("empty name", `{"":1}`, nil),
		all("empty", "", strictjson.ErrEmpty),
		all("blank", " \n", strictjson.ErrEmpty),
		all("array", `[]`, strictjson.ErrNotObject),
		all("string", `"x"`, strictjson.ErrNotObject),
		all("number", `1`, strictjson.ErrNotObject),
		all("null", `null`, strictjson.ErrNotObject),
		all("second document", `{} {}`, strictjson.ErrTrailing),
		all("text after", `{}x`, strictjson.ErrTrailing),
		all("NUL after", "{}\x00", strictjson.ErrTrailing),
		all("open object", `{"a":1`, strictjson.ErrIncomplete),
		all("open array", `{"a":[1,`, strictjson.ErrIncomplete),
		all("open string", `{"a":"x`, strictjson.ErrIncomplete),
		all("open escape", `{"a":"\`, strictjson.ErrIncomplete),
		all("open literal", `{"a":tru`, strictjson.ErrIncomplete),
		all("name twice", `{"a":1,"b":2,"a":3}`, strictjson.ErrRepeated),
		all("name twice by an escape", `{"a":1,"\u0061":3}`, strictjson.ErrRepeated),
		all("name twice below", `{"x":[{"a":1,"a":1}]}`, strictjson.ErrRepeated),
		all("one name in two objects", `{"a":{"a":{"b":1}},"b":[{"a":1},{"a":1}]}`, nil),
		{"letter case", `{"a":1,"A":2}`, strictjson.ErrRepeated, nil, strictjson.ErrRepeated},
		all("17 names", names(17), nil),
		all("17 names, the first twice", names(17)[:len(names(17))-1]+`,"n0":1}`, strictjson.ErrRepeated),
		all("17 names, the last twice", names(17)[:len(names(17))-1]+`,"n16":1}`, strictjson.ErrRepeated),
		grammar("byte order mark", "\ufeff{}"),
		grammar("comma at the end", `{"a":1,}`),
		grammar("comma at the end of an array", `{"a":[1,]}`),
		grammar("comma in front", `{,"a":1}`),
		grammar("two commas", `{"a":[1,,2]}`),
		grammar("no comma", `{"a":1 "b":2}`),
		grammar("no colon", `{"a" 1}`),
		grammar("colon for a comma", `{"a":["b":1]}`),
		grammar("no value", `{"a":}`),
		grammar("bracket for a brace", `{"a":1]`),
		grammar("single quotes", `{'a':1}`),
		grammar("bare name", `{a:1}`),
		grammar("number as a name", `{1:1}`),
		grammar("null as a name", `{null:1}`),
		grammar("array as a name", `{[]:1}`),
		grammar("comment", `{/**/}`),
		grammar("form feed", "{\f}"),
		grammar("NaN", `{"a":NaN}`),
		grammar("leading zero", `{"a":01}`),
		grammar("plus", `{"a":+1}`),
		grammar("point without digits", `{"a":1.}`),
		grammar("point in front", `{"a":.1}`),
		grammar("exponent without digits", `{"a":1e}`),
		grammar("bare minus", `{"a":-}`),
		grammar("hexadecimal", `{"a":0x1}`),
		grammar("capital literal", `{"a":True}`),
		grammar("longer literal", `{"a":truex}`),
		grammar("control character", "{\"a\":\"\n\"}"),
		grammar("unknown escape", `{"a":"\x"}`),
		grammar("short escape", `{"a":"\u12"}`),
		{"invalid UTF-8", "{\"a\":\"\xff\"}", errGrammar, errGrammar, nil},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", errGrammar, errGrammar, nil},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", errGrammar, errGrammar, nil},
		{"high surrogate", `{"a":"\ud800"}`, errGrammar, errGrammar, nil},
		{"low surrogate", `{"a":"\udc00"}`, errGrammar, errGrammar, nil},
		{"two high surrogates", `{"a":"\ud800\ud800"}`, errGrammar, errGrammar, nil},
		{"names of invalid UTF-8", "{\"\xff\":1,\"\xfe\":1}", errGrammar, errGrammar, strictjson.ErrRepeated},
		{"U+FFFD", `{"a":"\ufffd"}`, nil, strictjson.ErrFFFD, nil},
		{"U+FFFD in a name", "{\"\ufffd\":1}", nil, strictjson.ErrFFFD, nil},
		{"value at 8", nested(7, "0"), nil, nil, nil},
		{"empty array at 8", nested(8, ""), nil, nil, nil},
		{"value at 9", nested(8, "0"), nil, strictjson.ErrDeep, nil},
		{"empty array at 9", nested(9, ""), nil, strictjson.ErrDeep, nil},
		{"value at 12", nested(11, "0"), nil, strictjson.ErrDeep, nil},
		{"empty array at 12", nested(12, ""), strictjson.ErrDeep, strictjson.ErrDeep, nil},
		{"value at 16", nested(15, "0"), strictjson.ErrDeep, strictjson.ErrDeep, nil},
		{"empty array at 16", nested(16, ""), strictjson.ErrDeep, strictjson.ErrDeep, nil},
		{"value at 17", nested(16, "0"), strictjson.ErrDeep, strictjson.ErrDeep, strictjson.ErrDeep},
		{"empty array at 17", nested(17, ""), strictjson.ErrDeep, strictjson.ErrDeep, strictjson.ErrDeep},
		{"512 values", `{"a":[` + strings.Repeat("0,", 509) + `0]}`, nil, nil, nil},
		{"513 values", `{"a":[` + strings.Repeat("0,", 510) + `0]}`, nil, strictjson.ErrValues, nil},
		{"1000 elements", `{"a":[` + strings.Repeat("0,", 999) + `0]}`, nil, strictjson.ErrValues, nil},
		{"1001 elements", `{"a":[` + strings.Repeat("0,", 1000) + `0]}`, strictjson.ErrElements, strictjson.ErrValues, nil},
		{"1000 members", names(1000), nil, strictjson.ErrValues, nil},
		{"1001 members", names(1001), strictjson.ErrMembers, strictjson.ErrValues, nil},
	}
}

// TestVerdicts: Decode accepts and refuses documents by the rules of each caller.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, v := range verdicts() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			check := func(caller string, r strictjson.Rules, want error) {
				o, err := strictjson.Decode[object]([]byte(v.doc), r)
				switch {
				case want == nil && (err != nil || o == nil):
					t.Errorf("%s: Decode = %v, %v, want an object", caller, o, err)
				case want == nil:
				case err == nil || o != nil:
					t.Errorf("%s: Decode = %v, %v, want the error %v", caller, o, err, want)
				case err.Offset < 0 || err.Offset > int64(len(v.doc)):
					t.Errorf("%s: %v at byte %d, want an offset from 0 to %d", caller, err, err.Offset, len(v.doc))
				case want != errGrammar && !errors.Is(err, want): //nolint:errorlint // the marker itself
					t.Errorf("%s: Decode = %v, want %v", caller, err, want)
				}
			}
			check("scim", scimRules(), v.scim)
			check("token", tokenRules(), v.token)
			check("manifest", manifestRules(), v.manifest)
		})
	}
}

// TestDecodeValues: Decode converts each type of value, and replaces broken text if the rules say so.
func TestDecodeValues(t *testing.T) {
	t.Parallel()
	const doc = `{"a":1,"b":[1.5,{"c":null}],"d":"\u00e9\ud83d\ude00\/","e":true,"f":{}}`
	got, err := strictjson.Decode[object]([]byte(doc), tokenRules())
	if err != nil {
		t.Fatal(err)
	}
	want := object{
		"a": json.Number("1"), "b": []any{json.Number("1.5"), object{"c": nil}}, "d": "é😀/", "e": true, "f": object{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("Decode (-want +got):\n%s", diff)
	}
	lossy, err := strictjson.Decode[object]([]byte("{\"a\":\"x\xffy\\ud800z\"}"), manifestRules())
	if err != nil || lossy["a"] != "x\ufffdy\ufffdz" {
		t.Fatalf("Decode of broken text = %v, %v, want U+FFFD for each fault", lossy, err)
	}
}

// TestDecodeAgain: Decode reuses its readers, and no part of a document reaches the next one.
func TestDecodeAgain(t *testing.T) {
	t.Parallel()
	for range 3 {
		for _, doc := range []string{`{"a":{"b":1,"b":2}}`, `{"b":1,"a":2}`, `{"a":[`, ``, `{"a":"b"}`} {
			first, err := strictjson.Decode[object]([]byte(doc), scimRules())
			again, err2 := strictjson.Decode[object]([]byte(doc), scimRules())
			if diff := cmp.Diff(first, again); diff != "" || (err == nil) != (err2 == nil) {
				t.Fatalf("%s: errors %v and %v, want the same; results (-first +again):\n%s", doc, err, err2, diff)
			}
		}
	}
}

// TestNumberFault: an error of Rules.Number is the error of Decode.
func TestNumberFault(t *testing.T) {
	t.Parallel()
	_, err := strictjson.Decode[object]([]byte(`{"a":1e400}`), scimRules())
	if !errors.Is(err, strconv.ErrRange) || err.Offset != 10 {
		t.Fatalf("Decode = %v, want the error of Number at byte 10", err)
	}
}

// TestString: String reads one JSON string at the start of a text.
func TestString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in, want string
		n        int // 0: refused
	}{
		{`"" rest`, "", 2},
		{`"a b"]`, "a b", 5},
		{`"\"\\"`, `"\`, 6},
		{`"\u00e9"x"`, "é", 8},
		{`"`, "", 0},
		{`"a`, "", 0},
		{`"\"`, "", 0},
		{`"\`, "", 0},
		{`"\x"`, "", 0},
		{`"\ud800"`, "", 0},
		{"\"\xff\"", "", 0},
		{"\"\n\"", "", 0},
	} {
		got, n, err := strictjson.String(tt.in)
		if (err == nil) != (tt.n > 0) || err == nil && (got != tt.want || n != tt.n) {
			t.Errorf("String(%s) = %q, %d, %v, want %q, %d", tt.in, got, n, err, tt.want, tt.n)
		}
	}
}

// FuzzDecode: a document that is accepted is valid JSON, and encoding/json reads it
// in the same way.
func FuzzDecode(f *testing.F) {
	for _, v := range verdicts() {
		f.Add([]byte(v.doc))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range []strictjson.Rules{tokenRules(), manifestRules()} {
			got, err := strictjson.Decode[map[string]any](b, r)
			if err != nil {
				continue
			}
			want := map[string]any{}
			d := json.NewDecoder(strings.NewReader(string(b)))
			d.UseNumber()
			if err := d.Decode(&want); err != nil {
				t.Fatalf("%q: accepted, but %v", b, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q (-want +got):\n%s", b, diff)
			}
		}
	})
}
