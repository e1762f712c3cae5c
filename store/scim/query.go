package scim

import (
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Query is the query of a list or read request (RFC 7644 §3.4.2, §3.9).
type Query struct {
	Filter     Filter   // nil without a filter
	StartIndex int      // from 1
	Count      int      // at least 0; only valid with HasCount
	HasCount   bool     // if false, the server chooses the page size
	Attributes []string // trimmed; nil if absent or empty
	Excluded   []string // never together with Attributes

	Deviations []Deviation // of the filter, also of one that is an error
}

// ParseQuery reads raw, the part of a request target after '?', still percent-encoded.
// Parameter names compare case-insensitively. It refuses a known parameter that appears
// twice and ignores unknown ones (RFC 7644 §3.4.2). It ignores sortBy too, because sorting
// is not supported. Errors are 400 invalidFilter, 400 invalidValue for a count or
// startIndex that is no integer, and 400 invalidSyntax for the rest. m says which deviations a filter may have.
func ParseQuery(t *ResourceType, raw string, l Limits, m Mode) (Query, *Error) {
	q := Query{StartIndex: 1}
	params, err := queryParams(raw, l)
	if err != nil {
		return q, err
	}
	if text, ok := params["filter"]; ok {
		var codes []string
		q.Filter, codes, err = parseFilter(t, text, l, m)
		for _, code := range codes {
			q.Deviations = append(q.Deviations, Deviation{Code: code, Op: -1})
		}
		if err != nil {
			return q, err
		}
	}
	if text, ok := params["startindex"]; ok {
		if q.StartIndex, err = queryInt("startIndex", text); err != nil {
			return q, err
		}
		q.StartIndex = max(q.StartIndex, 1)
	}
	if text, ok := params["count"]; ok {
		if q.Count, err = queryInt("count", text); err != nil {
			return q, err
		}
		q.Count, q.HasCount = max(q.Count, 0), true
	}
	if q.Attributes, err = nameList(params["attributes"], l); err != nil {
		return q, err
	}
	if q.Excluded, err = nameList(params["excludedattributes"], l); err != nil {
		return q, err
	}
	if q.Attributes != nil && q.Excluded != nil {
		return q, Errorf(400, TypeInvalidValue, "send either attributes or excludedAttributes, not both")
	}
	return q, nil
}

// queryParams returns the known parameters by folded name.
func queryParams(raw string, l Limits) (map[string]string, *Error) {
	// A percent escape has three bytes. 8 KiB are for the other parameters.
	if limit := 3*l.FilterBytes + 8<<10; len(raw) > limit {
		return nil, Errorf(400, TypeInvalidSyntax, "the query is longer than %d bytes", limit)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, Errorf(400, TypeInvalidSyntax, "the query is not percent-encoded key=value pairs joined by &")
	}
	known := map[string]string{}
	for name, list := range values {
		folded := foldName(name)
		switch folded {
		case "filter", "startindex", "count", "attributes", "excludedattributes":
		default:
			continue
		}
		if _, twice := known[folded]; twice || len(list) != 1 {
			return nil, Errorf(400, TypeInvalidSyntax, "query parameter %s appears twice; send it once", folded)
		}
		if !utf8.ValidString(list[0]) {
			return nil, Errorf(400, TypeInvalidSyntax, "query parameter %s is not UTF-8", folded)
		}
		known[folded] = list[0]
	}
	return known, nil
}

// queryInt reads a decimal integer. It replaces a value that is too large or negative by
// the nearest allowed value (RFC 7644 §3.4.2.4).
func queryInt(name, text string) (int, *Error) {
	number := strings.TrimPrefix(text, "-")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, Errorf(400, TypeInvalidValue, "%s must be an integer", name)
	}
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err == nil:
		return int(n), nil
	case text[0] == '-':
		return 0, nil
	}
	return math.MaxInt32, nil
}

func nameList(text string, l Limits) ([]string, *Error) {
	if strings.Count(text, ",") >= l.Members {
		return nil, Errorf(400, TypeInvalidSyntax, "a query names more than %d attributes", l.Members)
	}
	var names []string
	for _, name := range strings.Split(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}
