package policies

import (
	"math/bits"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// textCost is that of what reads texts once, and makes a text of them: of up to four bytes for one.
func textCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		c.made += 4 * len(textOf(t))
	}
	return c
}

// cutCost is that of what looks for each of some characters, or for a text, at each character of another one.
func cutCost(o []*ast.Term) cost { return cost{steps: len(textOf(o[0])) * len(textOf(o[1]))} }

// searchSteps is how many steps the search for a text takes. It looks at each byte once, unless an attacker chose texts
// with equal hashes, which are at least of this length.
func searchSteps(text, what string) int {
	const shortest = 256
	return len(text) * (1 + len(what)/shortest)
}

// toNumberCost refuses what JSON does not write. The engine takes "0x1p-1000000" for a number too, and needs a minute
// to compute with it.
func toNumberCost(o []*ast.Term) cost {
	text := textOf(o[0])
	if strings.ContainsAny(text, "xXpP_") {
		return cost{wrong: "the text is no number as JSON writes it"}
	}
	return cost{digits: len(text)}
}

// concatCost counts a text as often as it is in the list.
func concatCost(o []*ast.Term) cost {
	return cost{made: weigh(o[1], flat, maxMade) + sizeOf(o[1])*sizeOf(o[0])}
}

// affixCost is that of strings.any_prefix_match and strings.any_suffix_match, which copy and sort the texts.
func affixCost(o []*ast.Term) cost {
	c := cost{}
	for _, t := range o {
		c.made += 4 * weigh(t, flat, maxMade)
		c.steps += partsIn(t, flat) * bits.Len(uint(sizeOf(t)))
	}
	return c
}

// What fmt may make of a verb and its operand.
const (
	maxPerByte = 6   // "%# x" makes five of one
	maxPerVerb = 400 // "%f" of the largest number
	maxWidth   = 1e6 // of fmt
)

func sprintfCost(o []*ast.Term) cost {
	format := textOf(o[0])
	c := cost{made: len(format)}
	longest := 0
	if args, ok := o[1].Value.(*ast.Array); ok {
		args.Foreach(func(t *ast.Term) {
			n := sizeOf(t)
			if isCollection(t) {
				n = textSizeOf(t)
			}
			longest = max(longest, n)
			c.made += n
		})
	}
	width := 0
	for _, r := range format {
		switch {
		case r == '%':
			c.made += maxPerByte*longest + maxPerVerb
		case r == '*':
			c.made += maxWidth
		case r >= '0' && r <= '9':
			width = min(10*width+int(r-'0'), maxWidth)
			continue
		}
		c.made += width
		width = 0
	}
	return c
}

// replaceCost counts that the engine compares what is replaced with itself before, to find it faster.
func replaceCost(o []*ast.Term) cost {
	text, old := textOf(o[0]), textOf(o[1])
	c := cost{steps: (len(text) + len(old)) * len(old)}
	if c.steps <= maxSteps {
		c.made = len(text) + strings.Count(text, old)*sizeOf(o[2])
	}
	return c
}

func splitCost(o []*ast.Term) cost {
	text, by := textOf(o[0]), textOf(o[1])
	c := cost{steps: searchSteps(text, by)}
	if c.steps <= maxSteps {
		c.made = len(text) + textSize*strings.Count(text, by)
	}
	return c
}

// maxDelimiters bounds those of glob.match. Each part of a pattern keeps them.
const maxDelimiters = 16

// globCost bounds the pattern too: the engine keeps up to 100 of them.
func globCost(o []*ast.Term) cost {
	pattern := textOf(o[0])
	switch {
	case len(pattern) > maxPattern:
		return cost{wrong: patternTooLong}
	case sizeOf(o[1]) > maxDelimiters:
		return cost{wrong: "the delimiters are more than 16"}
	}
	return cost{steps: globSteps(pattern, sizeOf(o[2]))}
}

// globSteps returns how often a search may look at a character of the pattern: each star may end at each character of
// the text, and each list in braces is tried for each of its words.
func globSteps(pattern string, text int) int {
	steps, words := len(pattern)+1, 1
	times := func(n int) { steps = min(steps*n, maxSteps+1) }
	for i := range len(pattern) {
		switch c := pattern[i]; {
		case c == '*' && (i == 0 || pattern[i-1] != '*'):
			times(text + 1)
		case c == '{':
			words = 1
		case c == ',':
			words++
		case c == '}':
			times(words)
		}
	}
	return max(steps, min((len(pattern)+1)*text, maxSteps+1))
}
