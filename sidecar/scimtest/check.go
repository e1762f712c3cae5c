package scimtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

var errAbsent = errors.New("there is nothing at the pointer")

// at returns the value at a JSON Pointer (RFC 6901).
func at(doc any, pointer string) (any, error) {
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, errAbsent
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, errAbsent
			}
			doc = v[i]
		default:
			return nil, errAbsent
		}
	}
	return doc, nil
}

// fault says what is wrong with the document, "" for nothing.
func (c *Check) fault(doc any, vars map[string]string) string {
	got, err := at(doc, c.At)
	list, _ := got.([]any)
	empty := err != nil || got == nil || list != nil && len(list) == 0
	switch {
	case c.Absent && !empty:
		return fmt.Sprintf("the answer has %s at %s, want nothing", show(got), c.At)
	case c.Present && empty:
		return fmt.Sprintf("the answer has nothing at %s", c.At)
	case c.Count != nil && len(list) != *c.Count:
		return fmt.Sprintf("the answer has %d element(s) at %s, want %d", len(list), c.At, *c.Count)
	case c.Is != nil:
		want := c.Is
		if text, ok := want.(string); ok {
			want = expand(text, vars)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			return fmt.Sprintf("the answer has %s at %s, want %s", show(got), c.At, show(want))
		}
	}
	return ""
}

// show prints a value as JSON, at most 200 characters of it.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if text := []rune(string(b)); len(text) > 200 {
		return string(text[:200]) + "…"
	}
	return string(b)
}
