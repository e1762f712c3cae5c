package extauthz

import (
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protowire"

	ourheaders "github.com/scimward/scimward/sidecar/headers"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// allow encodes the answer of an allowed request. Most answers are one, and the generated
// messages of the metadata cost more than the decision.
//
//	status                       CheckResponse 1, code 0
//	ok_response                  CheckResponse 3
//	  headers                    OkHttpResponse 2
//	    header.key, header.value HeaderValueOption 1, HeaderValue 1 and 2
//	    append_action            HeaderValueOption 3
//	  headers_to_remove          OkHttpResponse 5
//	dynamic_metadata.fields      CheckResponse 4, Struct 1, a map
//
// It returns nil when a text is not UTF-8, as proto.Marshal refuses it.
func allow(d *authz.Decision) reply {
	w := writer{b: make([]byte, 0, 512)}
	w.message(1, func() {})
	w.message(3, func() {
		for _, k := range slices.Sorted(maps.Keys(d.SetHeaders)) {
			w.message(2, func() {
				w.message(1, func() {
					w.text(1, k)
					w.text(2, d.SetHeaders[k])
				})
				w.number(3, uint64(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
			})
		}
		for _, k := range d.RemoveHeaders {
			// Envoy removes headers after it has set them: a name in both lists would vanish.
			if _, set := d.SetHeaders[k]; !set {
				w.text(5, k)
			}
		}
	})
	if d.ID != "" || d.Surface == request.SurfaceApp {
		w.message(4, func() { w.metadata(d) })
	}
	if w.bad {
		return nil
	}
	return w.b
}

// metadata names the decision, for Envoy's access log, and the caller of a request, for the leash. Every allowed
// application request gets it. So a leash that finds none knows that Envoy does not forward it, and refuses.
func (w *writer) metadata(d *authz.Decision) {
	if d.ID != "" {
		w.entry(ourheaders.DecisionKey, d.ID)
	}
	if d.Surface != request.SurfaceApp {
		return
	}
	leash := "no"
	if d.Caller.Known() { // on every route: which of them are leashed is Envoy's configuration
		leash = "yes"
	}
	w.entry(metaTenant, d.Tenant)
	w.entry(metaApp, d.App)
	w.entry(metaLeash, leash)
	var kinds []subject.Name
	for kind := range d.Caller.Names() {
		if slices.Contains(kinds, kind) {
			continue
		}
		kinds = append(kinds, kind)
		w.entry(metaPrefix+string(kind), namesOf(&d.Caller, kind)...)
	}
	if at := d.Caller.IssuedAt; !at.IsZero() {
		w.entry(metaIssued, at.UTC().Format(time.RFC3339Nano))
	}
}

func namesOf(c *authz.Caller, kind subject.Name) (out []string) {
	for k, value := range c.Names() {
		if k == kind {
			out = append(out, value)
		}
	}
	return out
}

// entry writes an entry of Struct.fields: a string, or a list when there are several.
//
//	key, value    1, 2
//	string_value  Value 3
//	list_value    Value 6, ListValue 1
func (w *writer) entry(key string, values ...string) {
	w.message(1, func() {
		w.text(1, key)
		w.message(2, func() {
			if len(values) == 1 {
				w.text(3, values[0])
				return
			}
			w.message(6, func() {
				for _, v := range values {
					w.message(1, func() { w.text(3, v) })
				}
			})
		})
	})
}

// writer appends fields in the wire format of protobuf.
type writer struct {
	b   []byte
	bad bool // a text is not UTF-8
}

func (w *writer) text(n protowire.Number, s string) {
	w.bad = w.bad || !utf8.ValidString(s)
	w.b = protowire.AppendString(protowire.AppendTag(w.b, n, protowire.BytesType), s)
}

func (w *writer) number(n protowire.Number, v uint64) {
	w.b = protowire.AppendVarint(protowire.AppendTag(w.b, n, protowire.VarintType), v)
}

// message writes a message with the fields that content writes, and then its length before them.
func (w *writer) message(n protowire.Number, content func()) {
	w.b = protowire.AppendTag(w.b, n, protowire.BytesType)
	at := len(w.b)
	content()
	var length [10]byte
	w.b = slices.Insert(w.b, at, protowire.AppendVarint(length[:0], uint64(len(w.b)-at))...)
}
