package plugins

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/scimward/scimward/plugins/abi"
)

const (
	secretMinLen = 4 // shorter ones would turn every answer into asterisks
	redacted     = "***"
)

// known is a secret that no guest may read. The name is for people. It never contains the value.
type known struct{ name, value string }

// redactor replaces secrets in texts for a guest, a log or the evidence. It finds the values and their hex
// and base64 forms, alone or within a longer text such as user:password. Letter case makes no difference,
// and neither do escapes of JSON, HTML and URLs, also several of them on top of each other (see [view]).
//
// Redaction may remove a secret from a text, but must never change a name: the lock of "rob-***" does not
// exist. So whoever reads a name from a text asks touches first.
type redactor struct {
	patterns []pattern
	heads    map[[secretMinLen]byte][]int // the patterns that begin with these bytes
	filter   [1 << 10]uint64              // a bit for the hash of each head, to skip most of the text
}

// pattern is one form of a secret as a view of a text shows it.
type pattern struct {
	name string
	form []byte
}

func newRedactor(secrets ...known) *redactor {
	r := &redactor{heads: map[[secretMinLen]byte][]int{}}
	for _, s := range secrets {
		forms := append(within(s.value), s.value, hex.EncodeToString([]byte(s.value)),
			base64.StdEncoding.EncodeToString([]byte(s.value)), base64.URLEncoding.EncodeToString([]byte(s.value)))
		for _, form := range forms {
			// A value may look like an escape itself, and then a view decodes it too.
			for v := range views([]byte(form)) {
				r.add(pattern{s.name, v.text})
			}
		}
	}
	return r
}

func (r *redactor) add(p pattern) {
	if len(p.form) < secretMinLen || slices.ContainsFunc(r.patterns, func(have pattern) bool {
		return string(have.form) == string(p.form)
	}) {
		return
	}
	head := [secretMinLen]byte(p.form)
	r.heads[head] = append(r.heads[head], len(r.patterns))
	h := headHash(head[:])
	r.filter[h>>6] |= 1 << (h & 63)
	r.patterns = append(r.patterns, p)
}

// headHash returns 16 bits of the first bytes of b.
func headHash(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9e3779b1 >> 16 }

// within returns the base64 digits that every text around v has in common, for each offset of v modulo 3.
// It drops the digits at both ends, because v shares them with its neighbours.
func within(v string) []string {
	var out []string
	for before := range 3 {
		if before+len(v) < 6 {
			continue // too few digits belong to v alone
		}
		text := append(make([]byte, before), v...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			s := enc.EncodeToString(text)
			if len(text)%3 != 0 {
				s = s[:len(s)-1]
			}
			out = append(out, s[(before*8+5)/6:])
		}
	}
	return out
}

// found is a part of a text with a secret.
type found struct {
	start, end int
	name       string
}

// find returns the parts of text with a secret, in order. Parts that overlap or touch are one.
func (r *redactor) find(text []byte) []found {
	var all []found
	if len(r.patterns) == 0 || len(text) < secretMinLen {
		return nil
	}
	for v := range views(text) {
		for i := 0; i+secretMinLen <= len(v.text); i++ {
			if h := headHash(v.text[i:]); r.filter[h>>6]&(1<<(h&63)) == 0 {
				continue
			}
			for _, n := range r.heads[[secretMinLen]byte(v.text[i:])] {
				if p := r.patterns[n]; len(p.form) <= len(v.text)-i && string(v.text[i:i+len(p.form)]) == string(p.form) {
					all = append(all, found{v.start(i), v.end(i + len(p.form)), p.name})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(a.start-b.start, b.end-a.end) })
	out := all[:0]
	for _, f := range all {
		if n := len(out); n > 0 && f.start <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, f.end)
			continue
		}
		out = append(out, f)
	}
	return out
}

// touches returns the name of a secret in text, "" if there is none.
func (r *redactor) touches(text string) string {
	if all := r.find([]byte(text)); len(all) > 0 {
		return all[0].name
	}
	return ""
}

// bytes returns b without secrets, and the name of the first that it removed.
func (r *redactor) bytes(b []byte) (clean []byte, name string) {
	all := r.find(b)
	if len(all) == 0 {
		return b, ""
	}
	var out []byte
	last := 0
	for _, f := range all {
		out = append(append(out, b[last:f.start]...), redacted...)
		last = f.end
	}
	return append(out, b[last:]...), all[0].name
}

func (r *redactor) text(s string) string {
	b, _ := r.bytes([]byte(s))
	return string(b)
}

// outcome removes the secrets from all texts of a guest.
func (r *redactor) outcome(out outcome) outcome {
	out.note = r.text(out.note)
	out.output, _ = r.bytes(out.output)
	for i := range out.reports {
		out.reports[i], _ = r.bytes(out.reports[i])
	}
	return out
}

// mark keeps the first name that it gets.
type mark struct{ name atomic.Pointer[string] }

func (m *mark) set(name string) {
	if name != "" {
		m.name.CompareAndSwap(nil, &name)
	}
}

func (m *mark) get() string {
	if name := m.name.Load(); name != nil {
		return *name
	}
	return ""
}

// changedBy returns the name of the secret whose removal changed name, "" if name is as the application
// gave it. A name from an answer with a secret contains asterisks. A guest that knows the name from
// elsewhere, such as its configuration, gives it with the secret in it.
func (s *session) changedBy(name string) string {
	if secret := s.redact.touches(name); secret != "" {
		s.changed.set(secret)
	}
	if strings.Contains(name, redacted) {
		s.changed.set(s.removed.get())
	}
	return s.changed.get()
}

// denyChanged refuses a request that contains what is left of a text with a secret. It would be about
// another user, and the 404 for that user would look like "nothing to revoke" or "unknown".
func (s *session) denyChanged(req abi.HTTPRequest, body []byte) *refusal {
	secret := s.removed.get()
	if secret == "" {
		return nil
	}
	texts := [][]byte{[]byte(req.URL), body}
	for _, value := range req.Headers {
		texts = append(texts, []byte(value))
	}
	for _, text := range texts {
		for v := range views(text) {
			if bytes.Contains(v.text, []byte(redacted)) {
				s.changed.set(secret)
				return &refusal{errno: abi.ErrnoDenied, code: abi.CodeRedacted, message: redactedName(secret)}
			}
		}
	}
	return nil
}

// redactError removes the secrets from a fault of the guest.
func (s *session) redactError(err error) error {
	var fault *Error
	if errors.As(err, &fault) {
		return &Error{Code: s.redact.text(fault.Code), Message: s.redact.text(fault.Message)}
	}
	return err
}

// redactedName says what is wrong with a name and what to do.
func redactedName(secret string) string {
	return fmt.Sprintf("a name that the application gave contains the value of the %s: give the %s another value",
		secret, secret)
}
