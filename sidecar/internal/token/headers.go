package token

import "strings"

const (
	maxHeaders     = 64
	maxHeaderBytes = 512 // of a header that is remembered
)

// headers remembers headers by their text, because all tokens of one key have the same. It has only headers
// of tokens whose signature was valid, so a stranger cannot fill it. A nil *headers has none.
type headers struct{ cache lazyCache[string, header] }

func newHeaders() *headers { return &headers{lazyCache[string, header]{most: maxHeaders}} }

func (h *headers) find(text string) (header, bool) {
	if h == nil || len(text) > maxHeaderBytes {
		return header{}, false
	}
	return h.cache.get(text)
}

// add remembers the header of a token with a valid signature.
func (h *headers) add(t *unverified) {
	if len(t.head) > maxHeaderBytes {
		return
	}
	if _, known := h.cache.get(t.head); !known {
		h.cache.add(strings.Clone(t.head), t.header) // a clone does not keep the token in memory
	}
}
