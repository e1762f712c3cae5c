package policies

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/topdown/builtins"
)

// Bounds of the patterns of regex.match and glob.match.
const (
	maxPattern     = 4 << 10  // bytes of the text of one
	maxPatternKept = 8 << 20  // bytes of memory of a compiled one
	maxPatternsIn  = 16 << 20 // bytes of memory of all compiled ones that the rules of a tenant keep
)

const patternTooLong = "the pattern has more than 4096 bytes: compare with a list of texts in a data file"

// patterns are the regular expressions that the rules of one tenant, or the profiles, have compiled. Nil keeps none. It
// is in the place of the cache of the engine, which all tenants would share, and which counts patterns and not what
// they keep. It is safe for concurrent use.
type patterns struct {
	mu   sync.Mutex
	last *simplelru.LRU[string, *pattern] // the pattern that was used last is the last to go
	kept int                              // bytes of all
}

// pattern is a compiled regular expression.
type pattern struct {
	match  *regexp.Regexp
	states int // that may be tried at each character
	kept   int // bytes
}

func newPatterns() *patterns {
	p := &patterns{}
	// The error is that of a size below 1. A kept pattern takes more than a byte, so there are never so many.
	p.last, _ = simplelru.NewLRU(maxPatternsIn, func(_ string, old *pattern) { p.kept -= old.kept })
	return p
}

// get returns a compiled pattern.
func (p *patterns) get(text string) (*pattern, error) {
	if p == nil {
		return compilePattern(text)
	}
	p.mu.Lock()
	found, ok := p.last.Get(text)
	p.mu.Unlock()
	if ok {
		return found, nil
	}
	made, err := compilePattern(text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.Contains(text) {
		return made, nil // another request was faster
	}
	p.last.Add(text, made)
	for p.kept += made.kept; p.kept > maxPatternsIn; {
		p.last.RemoveOldest()
	}
	return made, nil
}

// patternsKey is the key of the patterns in the context of an evaluation.
type patternsKey struct{}

func withPatterns(ctx context.Context, p *patterns) context.Context {
	return context.WithValue(ctx, patternsKey{}, p)
}

// matchPattern is regex.match.
func matchPattern(b topdown.BuiltinContext, o []*ast.Term, iter func(*ast.Term) error) error {
	text, err := builtins.StringOperand(o[0].Value, 1)
	if err != nil {
		return err
	}
	in, err := builtins.StringOperand(o[1].Value, 2)
	if err != nil {
		return err
	}
	kept, _ := b.Context.Value(patternsKey{}).(*patterns)
	p, err := kept.get(string(text))
	if err != nil {
		return err
	}
	if p.states*(len(in)+1) > maxSteps {
		return costly("regex.match: the text and the pattern are too long: the product of their sizes is more than %d",
			maxSteps)
	}
	return iter(ast.InternedTerm(p.match.MatchString(string(in))))
}

// compilePattern refuses a pattern that would be large before it compiles it.
func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, costly("regex.match: %s", patternTooLong)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		// The error has the pattern, which may be made of values of the request.
		var at *syntax.Error
		if errors.As(err, &at) {
			return nil, costly("regex.match: the pattern is no regular expression: %s", at.Code)
		}
		return nil, fmt.Errorf("reading a regular expression: %w", err)
	}
	var s shape
	s.add(parsed, 1)
	if s.kept() > maxPatternKept {
		return nil, costly("regex.match: the pattern would take more than %d bytes of memory: repeat less", maxPatternKept)
	}
	match, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("compiling a regular expression: %w", err)
	}
	return &pattern{match: match, states: s.states, kept: s.kept() + len(text)}, nil
}

// shape is what a regular expression takes.
type shape struct {
	parts  int // of its text
	ranges int // bounds of the ranges of characters of all classes
	states int // parts, repeated as often as a repetition says
	copied int // ranges, repeated in the same way
}

func (s *shape) add(re *syntax.Regexp, times int) {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpRepeat:
		times *= max(re.Min, re.Max, 1)
	case syntax.OpCharClass:
		s.ranges += len(re.Rune)
		s.copied += len(re.Rune) * times
	default:
	}
	s.parts++
	s.states += n * times
	for _, sub := range re.Sub {
		s.add(sub, times)
	}
}

// kept is about how many bytes package regexp keeps. Of a program that is short and tries no two ways at once, it keeps
// a second form with the ranges of each state.
func (s *shape) kept() int {
	const (
		partSize  = 160 // of syntax.Regexp
		stateSize = 80  // two instructions
		rangeSize = 4
		longest   = 1000 // instructions of the second form
	)
	n := partSize*s.parts + stateSize*s.states + rangeSize*s.ranges
	if s.states < longest {
		n += 3*rangeSize*s.copied + stateSize*s.states
	}
	return n
}
