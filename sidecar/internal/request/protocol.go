package request

import (
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/headers"
)

// fromProtocols reads the members of the Sec-WebSocket-Protocol list. A browser cannot set another
// header of a WebSocket, so applications take credentials there: "bearer.TOKEN".
func (s *Sources) fromProtocols(r *Request, _ *Path, out *[]Credential) *Problem {
	for _, start := range s.protocols {
		v, p := r.Headers.protocolValue(start)
		if p != nil {
			return p
		}
		if v == "" {
			continue
		}
		c, p := s.only(InProtocol, start, "the WebSocket protocol "+start, v)
		if p != nil {
			return p
		}
		*out = append(*out, *c)
	}
	return nil
}

// protocolValue returns what follows start in the only member that starts with it, "" when there is
// none. It finds such a member in any letter case, and accepts only a token.
func (h Headers) protocolValue(start string) (string, *Problem) {
	folded, value, seen := foldCase(start), "", false
	for _, line := range h["sec-websocket-protocol"] {
		for member := range strings.SplitSeq(line, ",") {
			if !mentionsProtocol(member, folded) {
				continue
			}
			member = strings.Trim(member, " \t")
			v, ok := strings.CutPrefix(member, start)
			if seen || !ok || !headers.IsToken(member) || v == "" {
				return "", problem(400, ReasonCredential,
					"send exactly one WebSocket protocol that starts with "+start+", as a token")
			}
			seen, value = true, v
		}
	}
	return value, nil
}

// mentionsProtocol takes every byte that is no UTF-8 for a blank, as it may be one of Latin-1.
func mentionsProtocol(member, folded string) bool {
	blank := func(r rune) bool { return strings.ContainsRune(";\"'", r) || blank(r) || r == utf8.RuneError }
	for part := range strings.FieldsFuncSeq(member, blank) {
		if strings.HasPrefix(foldCase(part), folded) {
			return true
		}
	}
	return false
}
