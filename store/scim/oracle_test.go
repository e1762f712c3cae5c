package scim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	oracle "github.com/scim2/filter-parser/v2"

	"github.com/scimward/scimward/store/scim"
)

// TestFilterAgainstOracle: this package and the parser of another implementation, the oracle,
// see the same structure in a filter that both accept. They differ in the filters that they
// accept:
//
//   - the oracle knows no schema, and accepts unknown attributes and values of the wrong
//     type, which this package refuses (RFC 7644 §3.4.2.2);
//   - it wants the hexadecimal digits of \u in capitals and decodes no escape, so strings
//     are unescaped here before comparing. A string that is not JSON is not compared;
//   - it accepts "and" in brackets without spaces, and pr only after one space;
//   - in brackets it accepts at most two terms, no parentheses and one not. This package
//     accepts every filter there;
//   - numbers pass through float64 there;
//   - it accepts no brackets followed by .sub and an operator.
func TestFilterAgainstOracle(t *testing.T) {
	t.Parallel()
	compared, odd := 0, 0
	for in := range legalFilters() {
		switch compareWithOracle(t, in) {
		case sameTree:
			compared++
		case oddString:
			odd++
		}
	}
	if compared < 20 || odd > 2 {
		t.Fatalf("compared %d filters, want 20; left out %d for a string of the oracle that is no JSON, want at most 2",
			compared, odd)
	}
}

// comparison is the result of parsing one filter with both parsers.
type comparison int

const (
	refused comparison = iota
	sameTree
	oddString // the oracle accepted a string that is no JSON
)

// compareWithOracle fails the test if both parsers accept in and differ in structure.
func compareWithOracle(t *testing.T, in string) comparison {
	t.Helper()
	ours, err := scim.ParseFilter(scim.UserType(), in, scim.DefaultLimits())
	if err != nil {
		return refused
	}
	theirs, oerr := oracle.ParseFilter([]byte(strings.Trim(in, " ")))
	if oerr != nil {
		return refused
	}
	want, ok := theirTree(theirs, "")
	if !ok {
		return oddString
	}
	if got := ourTree(ours); got != want {
		t.Fatalf("the structure of %s\n got %s\nwant %s, as the oracle", in, got, want)
	}
	return sameTree
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

// theirTree renders the result of the oracle. ok is false for a string that is not JSON.
func theirTree(e oracle.Expression, parent string) (tree string, ok bool) {
	switch e := e.(type) {
	case *oracle.LogicalExpression:
		terms, ok := theirTerms(e, e.Operator, parent)
		return "(" + string(e.Operator) + " " + strings.Join(terms, " ") + ")", ok
	case *oracle.NotExpression:
		term, ok := theirTree(e.Expression, parent)
		return "(not " + term + ")", ok
	case *oracle.ValuePath:
		name := theirAttr(e.AttributePath, parent, false)
		inner, ok := theirTree(e.ValueFilter, name)
		return "([] " + name + " " + inner + ")", ok
	case *oracle.AttributeExpression:
		if e.Operator == oracle.PR {
			return "(pr " + theirAttr(e.AttributePath, parent, false) + ")", true
		}
		value := e.CompareValue
		if s, ok := value.(string); ok {
			var decoded string
			if err := json.Unmarshal([]byte(`"`+s+`"`), &decoded); err != nil {
				return "", false
			}
			value = decoded
		}
		return fmt.Sprintf("(%s %s %s)", e.Operator, theirAttr(e.AttributePath, parent, true), treeValue(value)), true
	}
	return fmt.Sprintf("?%T", e), true
}

// theirTerms flattens the oracle's left-leaning chains.
func theirTerms(e oracle.Expression, op oracle.LogicalOperator, parent string) (terms []string, ok bool) {
	l, chain := e.(*oracle.LogicalExpression)
	if !chain || l.Operator != op {
		tree, ok := theirTree(e, parent)
		return []string{tree}, ok
	}
	left, ok1 := theirTerms(l.Left, op, parent)
	right, ok2 := theirTerms(l.Right, op, parent)
	return append(left, right...), ok1 && ok2
}

// theirAttr drops the core URN and completes a bare complex attribute by its value, as
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
