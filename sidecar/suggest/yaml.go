package suggest

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// decodeYAML returns objects, lists, texts and nil. The library's own decoding takes time with the square of an
// object's size, and copies what an alias names; here both are shared.
func decodeYAML(b []byte) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("empty")
	}
	return (&yamlReader{made: map[*yaml.Node]any{}}).value(doc.Content[0], 0)
}

type yamlReader struct {
	made   map[*yaml.Node]any // what has an anchor; nil while it is being made
	merged int
}

func (r *yamlReader) value(n *yaml.Node, depth int) (v any, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: nested too deeply", n.Line)
	}
	if n.Kind == yaml.AliasNode {
		v, known := r.made[n.Alias]
		if known && v == nil {
			return nil, fmt.Errorf("line %d: %s contains itself", n.Line, short(n.Value))
		} else if known {
			return v, nil
		}
		n = n.Alias
	}
	if n.Anchor != "" {
		r.made[n] = nil
		defer func() { r.made[n] = v }()
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.object(n, depth)
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, e := range n.Content {
			if l[i], err = r.value(e, depth+1); err != nil {
				return nil, err
			}
		}
		return l, nil
	default:
		if n.ShortTag() == "!!null" {
			return nil, nil //nolint:nilnil // the value is null
		}
		return n.Value, nil
	}
}

// object reads a mapping. Keys that are no text, such as 200, become text. Merged keys (<<) give way to the others.
func (r *yamlReader) object(n *yaml.Node, depth int) (map[string]any, error) {
	o := make(map[string]any, len(n.Content)/2)
	var merged []any
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		v, err := r.value(n.Content[i+1], depth+1)
		switch {
		case err != nil:
			return nil, err
		case key.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("line %d: a key is no text", key.Line)
		case key.ShortTag() == "!!merge":
			merged = append(merged, v)
			continue
		}
		if _, twice := o[key.Value]; twice {
			return nil, fmt.Errorf("line %d: duplicate key %s", key.Line, short(key.Value))
		}
		o[key.Value] = v
	}
	return o, r.merge(o, merged)
}

// maxMerged bounds the keys that are merged in a document.
const maxMerged = 1_000_000

func (r *yamlReader) merge(o map[string]any, values []any) error {
	for _, v := range values {
		for _, from := range append(list(v), v) {
			for k, e := range object(from) {
				if _, set := o[k]; !set {
					o[k] = e
				}
				r.merged++
			}
			if r.merged++; r.merged > maxMerged {
				return fmt.Errorf("more than %d keys are merged with <<", maxMerged)
			}
		}
	}
	return nil
}
