package policies

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// BundleCapabilities lists what the rules of a tenant may call: what a profile may, and pure functions of time, text
// and numbers. No builtin reaches the network, the host or a clock, and each is in costs or in [constant].
func BundleCapabilities() *ast.Capabilities {
	return only(slices.Concat(profileBuiltins(), []string{
		"abs", "ceil", "floor", "round", "div", "mul", "rem", "max", "min", "sum", "product", "sort",
		"array.reverse", "object.filter", "object.remove", "object.union", "object.subset",
		"strings.any_prefix_match", "strings.any_suffix_match", "strings.reverse",
		"trim_left", "trim_right", "trim_prefix", "trim_suffix", "type_name", "is_null",
		"time.parse_rfc3339_ns", "time.add_date", "time.date", "time.clock", "time.weekday", "time.diff", "time.format",
		"internal.print", "glob.match", "base64.encode", "hex.encode",
	}))
}

// capabilities lists what a profile may call. A builtin that a later engine brings (a
// network call, a clock) stays out until it is added here.
func capabilities() *ast.Capabilities { return only(profileBuiltins()) }

func profileBuiltins() []string {
	return []string{
		"assign", "eq", "equal", "neq", "gt", "gte", "lt", "lte",
		"internal.member_2", "internal.member_3",
		"plus", "minus", "count", "and", "or", "union", "intersection",
		"array.concat", "array.slice", "object.get", "object.keys",
		"is_array", "is_boolean", "is_number", "is_object", "is_set", "is_string",
		"concat", "contains", "endswith", "format_int", "indexof", "lower", "replace",
		"split", "sprintf", "startswith", "substring", "trim", "trim_space", "upper",
		"regex.match", "to_number",
	}
}

// only returns the capabilities with the named builtins and no host.
func only(names []string) *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	other := func(b *ast.Builtin) bool { return !slices.Contains(names, b.Name) }
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), other)
	c.AllowNet = []string{} // no host, should a builtin with hosts ever be listed
	return c
}

// instead says what to write for builtins that rules may not call and whose work they can do.
func instead() map[string]string {
	return map[string]string{
		"object.union_n": "write object.union of two",
		"json.filter":    "write object.filter for the members of one object, and object.get for a path",
		"json.remove":    "write object.remove for the members of one object",
		"json.patch":     "write object.remove and object.union",
		"walk":           "name the members of input that the rule is about",
		"numbers.range":  "iterate over the list itself, with its index: some i, x in list",
		"regex.split":    "write split",
		"regex.replace":  "write replace",
		"time.now_ns":    "read input.received",
		"http.send":      "put what the rule needs into a data file of the bundle",
	}
}

// explainCalls says what to write instead of a builtin that rules may not call.
func explainCalls(errs ast.Errors) {
	all := ast.CapabilitiesForThisVersion().Builtins
	for _, e := range errs {
		name, ok := strings.CutPrefix(e.Message, "undefined function ")
		if !ok || !slices.ContainsFunc(all, func(b *ast.Builtin) bool { return b.Name == name }) {
			continue // a misspelt rule
		}
		e.Message += ": rules may not call it"
		if write := instead()[name]; write != "" {
			e.Message += "; " + write
		}
		e.Message += "; docs/policy-input.md lists what they may call"
	}
}
