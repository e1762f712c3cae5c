package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/scimward/scimward/store/scim"
)

// maxDepth bounds the nesting of a value that a rule reads. Package scim refuses deeper
// values long before; this bound protects the recursion when a caller does not use it.
const maxDepth = 64

var errDepth = errors.New("value nested too deeply")

// keys are the member names of the input document. All decisions share them: terms are
// immutable, and the engine reads them from many goroutines.
type keys struct {
	profile, tenant, client, method, route, resourceType, resourceID *ast.Term
	resource, stored, result, raw, canonical, deviations, query      *ast.Term

	id, issuer, scopes                         *ast.Term
	op, path, hasPath, value, hasValue, target *ast.Term
	code, modes                                *ast.Term
	filter, filterShape, attributes, excluded  *ast.Term

	version, one *ast.Term

	fact factKeys

	empty, strict *ast.Term // [], {}
}

func newKeys() *keys {
	k := ast.StringTerm
	return &keys{
		profile: k("profile"), tenant: k("tenant"), client: k("client"), method: k("method"), route: k("route"),
		resourceType: k("resource_type"), resourceID: k("resource_id"),
		resource: k("resource"), stored: k("stored"), result: k("result"),
		raw: k("raw"), canonical: k("canonical"), deviations: k("deviations"), query: k("query"),
		id: k("id"), issuer: k("issuer"), scopes: k("scopes"),
		op: k("op"), path: k("path"), hasPath: k("has_path"), value: k("value"), hasValue: k("has_value"),
		target: k("target"),
		code:   k("code"), modes: k("modes"),
		filter: k("filter"), filterShape: k("filter_shape"), attributes: k("attributes"), excluded: k("excluded"),
		version: k("version"), one: ast.InternedTerm(InputVersion), fact: newFactKeys(),
		empty: ast.ArrayTerm(), strict: ast.ObjectTerm(),
	}
}

// document is the input document of one decision. Profile and tenant's rules share it, and it is built when one of
// them needs it.
type document struct {
	keys  *keys
	in    *Input
	pairs [][2]*ast.Term
	base  ast.Value
}

// value returns what a profile sees.
func (d *document) value() (ast.Value, error) {
	if d.base != nil {
		return d.base, nil
	}
	var err error
	if d.pairs, err = d.keys.input(d.in); err != nil {
		return nil, err
	}
	d.base = ast.NewObject(d.pairs...)
	return d.base, nil
}

// with returns what the rules of a tenant see that read r.
func (d *document) with(r fields) (ast.Value, error) {
	base, err := d.value()
	if err != nil {
		return nil, err
	}
	facts := d.keys.facts(r, d.in)
	if len(facts) == 0 {
		return base, nil
	}
	return ast.NewObject(slices.Concat(d.pairs, facts)...), nil
}

// input builds the document of schemas/policy-input.v1.json by hand, without a round trip through
// JSON. What is absent from the request is absent from the document: `path` and `value` of
// an operation, and `resource` where the method has none.
func (k *keys) input(in *Input) ([][2]*ast.Term, error) {
	raw, err := list(k, in.Raw, k.rawOp)
	if err != nil {
		return nil, fmt.Errorf("building raw operations: %w", err)
	}
	canonical, err := list(k, in.Canonical, k.canonicalOp)
	if err != nil {
		return nil, fmt.Errorf("building canonical operations: %w", err)
	}
	deviations, err := list(k, in.Deviations, k.deviation)
	if err != nil {
		return nil, err
	}
	pairs := make([][2]*ast.Term, 0, 16)
	pairs = append(pairs,
		ast.Item(k.version, k.one),
		ast.Item(k.profile, ast.StringTerm(in.Profile)),
		ast.Item(k.tenant, ast.StringTerm(in.Tenant)),
		ast.Item(k.client, ast.ObjectTerm(
			ast.Item(k.id, ast.StringTerm(in.Client.ID)),
			ast.Item(k.issuer, ast.StringTerm(in.Client.Issuer)),
			ast.Item(k.scopes, k.strings(in.Client.Scopes)))),
		ast.Item(k.modes, k.modesOf(in.Dialect)),
		ast.Item(k.method, ast.StringTerm(in.Method)),
		ast.Item(k.route, ast.StringTerm(in.Route)),
		ast.Item(k.resourceType, ast.StringTerm(in.ResourceType)),
		ast.Item(k.resourceID, ast.StringTerm(in.ResourceID)),
		ast.Item(k.raw, raw),
		ast.Item(k.canonical, canonical),
		ast.Item(k.deviations, deviations),
		ast.Item(k.query, k.queryOf(in.Query)))
	for _, o := range []struct {
		name  *ast.Term
		value scim.Object
	}{{k.resource, in.Resource}, {k.stored, in.Stored}, {k.result, in.Result}} {
		if o.value == nil {
			continue
		}
		v, err := object(o.value, 0)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", o.name, err)
		}
		pairs = append(pairs, ast.Item(o.name, v))
	}
	return pairs, nil
}

func (k *keys) modesOf(d *Dialect) *ast.Term {
	if d == nil {
		return k.strict
	}
	return d.term
}

func list[T any](k *keys, values []T, one func(*T) (*ast.Term, error)) (*ast.Term, error) {
	if len(values) == 0 {
		return k.empty, nil
	}
	terms := make([]*ast.Term, len(values))
	for i := range values {
		var err error
		if terms[i], err = one(&values[i]); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return ast.ArrayTerm(terms...), nil
}

func (k *keys) rawOp(op *scim.RawOp) (*ast.Term, error) {
	pairs, err := k.operation(op.Op, op.Path, op.HasPath, op.Value, op.HasValue)
	return ast.ObjectTerm(pairs...), err
}

func (k *keys) canonicalOp(op *scim.Op) (*ast.Term, error) {
	path := op.Path.String()
	pairs, err := k.operation(string(op.Kind), path, path != "", op.Value, op.HasValue)
	pairs = append(pairs, ast.Item(k.target, ast.InternedTerm(op.Target)), ast.Item(k.raw, ast.InternedTerm(op.Raw)))
	return ast.ObjectTerm(pairs...), err
}

func (k *keys) operation(op, path string, hasPath bool, value any, hasValue bool) ([][2]*ast.Term, error) {
	pairs := make([][2]*ast.Term, 0, 7)
	pairs = append(pairs,
		ast.Item(k.op, ast.InternedTerm(op)),
		ast.Item(k.hasPath, ast.InternedTerm(hasPath)),
		ast.Item(k.hasValue, ast.InternedTerm(hasValue)))
	if hasPath {
		pairs = append(pairs, ast.Item(k.path, ast.StringTerm(path)))
	}
	if hasValue {
		v, err := term(value, 0)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, ast.Item(k.value, v))
	}
	return pairs, nil
}

func (k *keys) deviation(d *scim.Deviation) (*ast.Term, error) {
	return ast.ObjectTerm(ast.Item(k.code, ast.StringTerm(d.Code)), ast.Item(k.op, ast.InternedTerm(d.Op))), nil
}

func (k *keys) queryOf(q *scim.Query) *ast.Term {
	filter, shape := filterText(q)
	if q == nil {
		q = &scim.Query{}
	}
	return ast.ObjectTerm(
		ast.Item(k.filter, ast.StringTerm(filter)),
		ast.Item(k.filterShape, ast.StringTerm(shape)),
		ast.Item(k.attributes, k.strings(q.Attributes)),
		ast.Item(k.excluded, k.strings(q.Excluded)))
}

// filterText returns the canonical text of a filter and its shape ("userName eq",
// "emails[value eq]", "other"), both "" without a filter.
func filterText(q *scim.Query) (text, shape string) {
	if q == nil || q.Filter == nil {
		return "", ""
	}
	return q.Filter.String(), scim.Shape(q.Filter)
}

func (k *keys) strings(list []string) *ast.Term {
	if len(list) == 0 {
		return k.empty
	}
	terms := make([]*ast.Term, 0, len(list))
	for _, s := range list {
		terms = append(terms, ast.StringTerm(s))
	}
	return ast.ArrayTerm(terms...)
}

func object(m map[string]any, depth int) (*ast.Term, error) {
	pairs := make([][2]*ast.Term, 0, len(m))
	for name, v := range m {
		value, err := term(v, depth+1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, ast.Item(ast.StringTerm(name), value))
	}
	return ast.ObjectTerm(pairs...), nil
}

func array(list []any, depth int) (*ast.Term, error) {
	terms := make([]*ast.Term, 0, len(list))
	for _, v := range list {
		value, err := term(v, depth+1)
		if err != nil {
			return nil, err
		}
		terms = append(terms, value)
	}
	return ast.ArrayTerm(terms...), nil
}

// term turns a JSON value into a term. A value of a type that no [scim.Object] contains is
// the caller's fault and denies the request.
func term(v any, depth int) (*ast.Term, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch v := v.(type) {
	case nil:
		return ast.InternedNullTerm, nil
	case bool:
		return ast.InternedTerm(v), nil
	case string:
		return ast.StringTerm(v), nil
	case int64:
		return numberTerm(strconv.FormatInt(v, 10)), nil
	case int:
		return ast.InternedTerm(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("number is not finite")
		}
		return numberTerm(strconv.FormatFloat(v, 'g', -1, 64)), nil
	case scim.Object:
		return object(v, depth)
	case map[string]any:
		return object(v, depth)
	case []any:
		return array(v, depth)
	default:
		return nil, fmt.Errorf("no JSON type: %T", v)
	}
}

func numberTerm(s string) *ast.Term { return ast.NumberTerm(json.Number(s)) }
