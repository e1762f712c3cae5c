package scim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	oracle "github.com/scim2/filter-parser/v2"

	"github.com/scimward/scimward/store/scim"
)

// The oracle is another implementation's parser. Where both take a filter, both
// must see the same structure. They differ, on purpose, in what they take:
//
//   - the oracle knows no schema: it takes unknown attributes and values of the
//     wrong type, which this package refuses (B128, F69);
//   - it wants the hexadecimal digits of \u in capitals and decodes no escape, so
//     strings are unescaped here before comparing;
//   - it takes "and" in brackets without spaces, and pr directly after a name's space only;
//   - in brackets it takes at most two terms, no parentheses and one not; this package takes
//     every filter there (design: dialects §2.6);
//   - numbers pass through float64 there;
//   - it takes no brackets followed by .sub and an operator.
func TestFilterAgainstOracle(t *testing.T) {
	t.Parallel()
	both := 0
	for in := range legalFilters() {
		if compareWithOracle(t, in) {
			both++
		}
	}
	if both < 20 {
		t.Fatalf("only %d filters were taken by both", both)
	}
}

// compareWithOracle reports whether both parsers took in, and fails when they
// differ in structure.
func compareWithOracle(t *testing.T, in string) bool {
	t.Helper()
	ours, err := scim.ParseFilter(scim.UserType(), in, scim.DefaultLimits())
	if err != nil {
		return false
	}
	theirs, oerr := oracle.ParseFilter([]byte(strings.Trim(in, " ")))
	if oerr != nil {
		return false
	}
	if got, want := ourTree(ours), theirTree(t, theirs, ""); got != want {
		t.Fatalf("%s\n ours   %s\n oracle %s", in, got, want)
	}
	return true
}

func ourTree(f scim.Filter) string {
	switch f := f.(type) {
	case *scim.And:
		return ourList("and", f.Terms)
	case *scim.Or:
		return ourList("or", f.Terms)
	case *scim.Not:
		return "(not " + ourTree(f.Term) + ")"
	case *scim.Present:
		return "(pr " + ourAttr(f.Attr) + ")"
	case *scim.Compare:
		return fmt.Sprintf("(%s %s %s)", f.Op, ourAttr(f.Attr), treeValue(f.Value))
	case *scim.ValuePath:
		return "([] " + ourAttr(f.Attr) + " " + ourTree(f.Filter) + ")"
	}
	return fmt.Sprintf("?%T", f)
}

func ourAttr(r scim.AttrRef) string { return strings.ToLower(r.String()) }

func ourList(op string, terms []scim.Filter) string {
	parts := make([]string, len(terms))
	for i, term := range terms {
		parts[i] = ourTree(term)
	}
	return "(" + op + " " + strings.Join(parts, " ") + ")"
}

func treeValue(v any) string {
	switch v := v.(type) {
	case int64:
		return fmt.Sprint(float64(v))
	case int:
		return fmt.Sprint(float64(v))
	case float64:
		return fmt.Sprint(v)
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func theirTree(t *testing.T, e oracle.Expression, parent string) string {
	t.Helper()
	switch e := e.(type) {
	case *oracle.LogicalExpression:
		return "(" + string(e.Operator) + " " + strings.Join(theirTerms(t, e, e.Operator, parent), " ") + ")"
	case *oracle.NotExpression:
		return "(not " + theirTree(t, e.Expression, parent) + ")"
	case *oracle.ValuePath:
		name := theirAttr(e.AttributePath, parent, false)
		return "([] " + name + " " + theirTree(t, e.ValueFilter, name) + ")"
	case *oracle.AttributeExpression:
		if e.Operator == oracle.PR {
			return "(pr " + theirAttr(e.AttributePath, parent, false) + ")"
		}
		value := e.CompareValue
		if s, ok := value.(string); ok {
			var decoded string
			if err := json.Unmarshal([]byte(`"`+s+`"`), &decoded); err != nil {
				t.Skipf("the oracle took a string that is no JSON: %q", s)
			}
			value = decoded
		}
		return fmt.Sprintf("(%s %s %s)", e.Operator, theirAttr(e.AttributePath, parent, true), treeValue(value))
	}
	return fmt.Sprintf("?%T", e)
}

// theirTerms flattens the oracle's left-leaning chains.
func theirTerms(t *testing.T, e oracle.Expression, op oracle.LogicalOperator, parent string) []string {
	t.Helper()
	if l, ok := e.(*oracle.LogicalExpression); ok && l.Operator == op {
		return append(theirTerms(t, l.Left, op, parent), theirTerms(t, l.Right, op, parent)...)
	}
	return []string{theirTree(t, e, parent)}
}

// theirAttr drops the core URN and leads a bare complex attribute to its value, as
// this package does.
func theirAttr(p oracle.AttributePath, parent string, compared bool) string {
	name := strings.TrimPrefix(strings.ToLower(p.String()), strings.ToLower(scim.UserURN)+":")
	if !compared || parent != "" || p.SubAttribute != nil {
		return name
	}
	types := append([]scim.Attribute{}, scim.UserType().Schema.Attributes...)
	types = append(types, scim.UserType().Extensions[0].Attributes...)
	for _, a := range types {
		if !strings.EqualFold(a.Name, p.AttributeName) {
			continue
		}
		for _, sub := range a.SubAttributes {
			if sub.Name == "value" {
				return name + ".value"
			}
		}
	}
	return name
}
