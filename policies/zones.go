package policies

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// zoned returns the builtins that take times as [ns, zone], and how many of their operands are such a time. Rules use
// UTC only: with "Local" a verdict would depend on the machine, and with another zone on its database of zones.
func zoned() map[string]int {
	return map[string]int{
		"time.add_date": 1, "time.clock": 1, "time.date": 1, "time.diff": 2, "time.format": 1, "time.weekday": 1,
	}
}

// The engine has one implementation of each builtin, and reads it while it evaluates. So it is replaced before.
var _ = refuseZones()

// refuseZones makes each builtin of zoned refuse a zone that is not UTC. The zone may be computed, so [Mistakes] does
// not find all.
func refuseZones() map[string]int {
	all := zoned()
	for name, times := range all {
		convert := topdown.GetBuiltin(name)
		topdown.RegisterBuiltinFunc(name, func(
			b topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error,
		) error {
			for i, o := range operands[:times] {
				if zone := zoneOf(o); zone != nil && !isUTC(zone) {
					return builtins.NewOperandErr(i+1, "the zone%s: %s", brief(" is ", zone), onlyUTC)
				}
			}
			return convert(b, operands, iter)
		})
	}
	return all
}

const onlyUTC = `rules know the zone "UTC" only, so that the verdict does not depend on the machine`

// zoneOf returns the zone of a time, nil if it names none.
func zoneOf(t *ast.Term) *ast.Term {
	if a, ok := t.Value.(*ast.Array); ok && a.Len() > 1 {
		return a.Elem(1)
	}
	return nil
}

func isUTC(zone *ast.Term) bool {
	return zone.Value.Compare(ast.String("UTC")) == 0 || zone.Value.Compare(ast.String("")) == 0
}

// zones finds the calls of a module with a zone that is written there and is not UTC.
func (m *mistakes) zones(mod *ast.Module) {
	times := zoned()
	call := func(terms []*ast.Term) {
		name := terms[0].String()
		for _, t := range terms[1:min(len(terms), times[name]+1)] {
			if zone := zoneOf(t); zone != nil && ast.IsConstant(zone.Value) && !isUTC(zone) {
				m.add(zone.Location, "%s: the zone is %s: %s", name, zone, onlyUTC)
			}
		}
	}
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if terms, ok := x.Terms.([]*ast.Term); ok {
				call(terms)
			}
		case ast.Call:
			call(x)
		}
		return false
	}).Walk(mod)
}
