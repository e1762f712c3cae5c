package policies

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
)

// parser makes the value that rules see from the bytes of a writer.
type parser struct {
	names *memberTerms
	buf   []byte
}

// parse returns the document that a writer wrote.
func (t *memberTerms) parse(doc []byte) ast.Value {
	p := parser{t, doc}
	return p.term().Value
}

func (p *parser) term() *ast.Term {
	kind := p.buf[0]
	p.buf = p.buf[1:]
	switch kind {
	case kindNull:
		return ast.InternedNullTerm
	case kindTrue, kindFalse:
		return ast.InternedTerm(kind == kindTrue)
	case kindText:
		return ast.InternedTerm(p.text())
	case kindNumber:
		text := p.text()
		if n, err := strconv.Atoi(text); err == nil && n >= -1 {
			return ast.InternedTerm(n)
		}
		return ast.NumberTerm(json.Number(text))
	case '[':
		return p.array()
	case '{':
		return p.object()
	default:
		panic("policies: a document has a value of no kind")
	}
}

func (p *parser) text() string {
	n, width := binary.Uvarint(p.buf)
	end := width + int(n)
	text := string(p.buf[width:end])
	p.buf = p.buf[end:]
	return text
}

func (p *parser) array() *ast.Term {
	var terms []*ast.Term
	for p.buf[0] != ']' {
		terms = append(terms, p.term())
	}
	p.buf = p.buf[1:]
	return ast.ArrayTerm(terms...)
}

func (p *parser) object() *ast.Term {
	pairs := make([][2]*ast.Term, 0, 16)
	for p.buf[0] != '}' {
		var name *ast.Term
		if m := p.buf[0]; m >= kindMember {
			name, p.buf = p.names[m-kindMember], p.buf[1:]
		} else {
			name = p.term()
		}
		pairs = append(pairs, [2]*ast.Term{name, p.term()})
	}
	p.buf = p.buf[1:]
	return ast.ObjectTerm(pairs...)
}
