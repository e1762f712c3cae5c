package policies

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// maxDepth bounds the nesting of a value that a rule reads. Package scim refuses deeper
// values long before; this bound protects the recursion when a caller does not use it.
const maxDepth = 64

var errDepth = errors.New("value nested too deeply")

// The input document of one decision is first written as bytes: the members of schemas/policy-input.v1.json that the
// rules read, and no others. These bytes are the key of the memo, and the value that the rules see is made from
// them alone (see parser). So the rules cannot read what the key does not have.
//
//	null, true, false   one byte each
//	number, text        kind, length, bytes
//	array               '[' elements ']'
//	object              '{' names and values '}'
//	name                0x80 + member, or a text
const (
	kindNull   = 'z'
	kindTrue   = 't'
	kindFalse  = 'f'
	kindNumber = 'n'
	kindText   = 's'
	kindMember = 0x80
)

// writer appends documents to buf.
type writer struct {
	buf []byte
	// outline writes forms for contents: see outline.go.
	outline bool
}

// maxBuffer bounds what a writer keeps for the next decision.
const maxBuffer = 64 << 10

// writer returns one of the engine's writers. The caller releases it.
func (e *Engine) writer() *writer {
	if w, ok := e.writers.Get().(*writer); ok {
		return w
	}
	return &writer{buf: make([]byte, 0, maxMemoKey)}
}

// release takes a writer back. Nobody may read its documents afterwards.
func (e *Engine) release(w *writer) {
	if cap(w.buf) <= maxBuffer {
		w.buf = w.buf[:0]
		e.writers.Put(w)
	}
}

// write returns what the rules read of in. An error says that a value has no form in JSON.
func (v *view) write(w *writer, in *Input) ([]byte, error) {
	start := len(w.buf)
	w.outline = v.outline
	r := &v.reads
	w.open('{')
	w.number(r, mVersion, InputVersion)
	w.text(r, mProfile, in.Profile)
	w.text(r, mTenant, in.Tenant)
	if c := w.object(r, mClient); c != nil {
		w.content(c, mID, in.Client.ID)
		w.content(c, mIssuer, in.Client.Issuer)
		w.texts(c, mScopes, in.Client.Scopes)
		w.shut('}')
	}
	if w.name(r, mModes) != nil {
		w.buf = append(w.buf, in.Dialect.encodedModes()...)
	}
	w.text(r, mMethod, in.Method)
	w.text(r, mRoute, in.Route)
	w.text(r, mResourceType, in.ResourceType)
	w.text(r, mResourceID, in.ResourceID)
	if err := w.operations(r, in); err != nil {
		return nil, err
	}
	w.query(r, in.Query)
	w.facts(r, in)
	for _, o := range [...]struct {
		m     member
		value scim.Object
	}{{mResource, in.Resource}, {mStored, in.Stored}, {mResult, in.Result}} {
		if o.value == nil {
			continue
		}
		if err := w.value(r, o.m, o.value); err != nil {
			return nil, fmt.Errorf("building the resource: %w", err)
		}
	}
	w.shut('}')
	return w.buf[start:], nil
}

// operations writes what was sent, what it means, and what the parser changed. What is absent from an operation is
// absent from the document.
func (w *writer) operations(r *reads, in *Input) error {
	if list := w.list(r, mRaw); list != nil {
		for i := range in.Raw {
			op := &in.Raw[i]
			w.open('{')
			if err := w.operation(list, op.Op, op.Path, op.HasPath, op.Value, op.HasValue); err != nil {
				return fmt.Errorf("building raw operation %d: %w", i, err)
			}
			w.shut('}')
		}
		w.shut(']')
	}
	if list := w.list(r, mCanonical); list != nil {
		for i := range in.Canonical {
			op := &in.Canonical[i]
			var path string
			if list.of(mPath) != nil || list.of(mHasPath) != nil {
				path = op.Path.String()
			}
			w.open('{')
			if err := w.operation(list, string(op.Kind), path, path != "", op.Value, op.HasValue); err != nil {
				return fmt.Errorf("building canonical operation %d: %w", i, err)
			}
			w.text(list, mTarget, op.Target)
			w.number(list, mRaw, op.Raw)
			w.shut('}')
		}
		w.shut(']')
	}
	if list := w.list(r, mDeviations); list != nil {
		for _, d := range in.Deviations {
			w.open('{')
			w.text(list, mCode, d.Code)
			w.number(list, mOp, d.Op)
			w.shut('}')
		}
		w.shut(']')
	}
	return nil
}

func (w *writer) operation(r *reads, op, path string, hasPath bool, value any, hasValue bool) error {
	w.text(r, mOp, op)
	w.boolean(r, mHasPath, hasPath)
	w.boolean(r, mHasValue, hasValue)
	if hasPath {
		if r := w.name(r, mPath); r != nil {
			w.put(kindText, w.pathForm(r, path))
		}
	}
	if !hasValue {
		return nil
	}
	return w.value(r, mValue, value)
}

func (w *writer) query(r *reads, q *scim.Query) {
	if r = w.object(r, mQuery); r == nil {
		return
	}
	if q == nil {
		q = &scim.Query{}
	}
	var filter, shape string
	if q.Filter != nil && r.of(mFilter) != nil {
		filter = q.Filter.String()
	}
	if q.Filter != nil && r.of(mFilterShape) != nil {
		shape = scim.Shape(q.Filter) // "userName eq", "emails[value eq]", "other"
	}
	w.text(r, mFilter, filter)
	w.text(r, mFilterShape, shape)
	w.texts(r, mAttributes, q.Attributes)
	w.texts(r, mExcluded, q.Excluded)
	w.shut('}')
}

// facts writes what the service knows that applies a change.
func (w *writer) facts(r *reads, in *Input) {
	if !in.Received.IsZero() {
		w.text(r, mReceived, in.Received.UTC().Format(time.RFC3339))
	}
	if g := in.Groups; g != nil {
		if list := w.list(r, mGroups); list != nil {
			for _, one := range g.List {
				w.open('{')
				w.text(list, mID, one.ID)
				w.text(list, mDisplayName, one.DisplayName)
				w.shut('}')
			}
			w.shut(']')
		}
		w.boolean(r, mGroupsComplete, g.Complete)
	}
	if m := in.Members; m != nil {
		if r := w.object(r, mMemberCount); r != nil {
			w.number(r, mStored, m.Stored)
			w.number(r, mResult, m.Result)
			w.shut('}')
		}
	}
	if in.Counts == nil {
		return
	}
	if r := w.object(r, mCounts); r != nil {
		c := in.Counts
		w.number(r, mUsers, c.Users)
		w.recent(r, mCreates, c.Creates)
		w.recent(r, mDeactivations, c.Deactivations)
		w.recent(r, mDeletions, c.Deletions)
		w.recent(r, mGroupChanges, c.GroupChanges)
		w.boolean(r, mComplete, c.Complete)
		w.shut('}')
	}
}

func (w *writer) recent(r *reads, m member, n Recent) {
	if r = w.object(r, m); r != nil {
		w.number(r, mMinute, n.Minute)
		w.number(r, mTenMinutes, n.TenMinutes)
		w.number(r, mHour, n.Hour)
		w.shut('}')
	}
}

// value writes the member m if rules read it.
func (w *writer) value(r *reads, m member, v any) error {
	if r = w.name(r, m); r == nil {
		return nil
	}
	return w.any(r, v, 0)
}

// any writes a JSON value. One of a type that no [scim.Object] contains is the caller's fault and denies the request.
func (w *writer) any(r *reads, v any, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch v := v.(type) {
	case nil:
		w.buf = append(w.buf, kindNull)
	case bool:
		w.bool(v)
	case string:
		w.put(kindText, w.form(r, v))
	case int64:
		w.put(kindNumber, w.formOfNumber(r, strconv.FormatInt(v, 10)))
	case int:
		w.put(kindNumber, w.formOfNumber(r, strconv.Itoa(v)))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return errors.New("number is not finite")
		}
		w.put(kindNumber, w.formOfNumber(r, strconv.FormatFloat(v, 'g', -1, 64)))
	case scim.Object:
		return w.members(r, v, depth)
	case map[string]any:
		return w.members(r, v, depth)
	case []any:
		return w.elements(r, v, depth)
	default:
		return fmt.Errorf("no JSON type: %T", v)
	}
	return nil
}

func (w *writer) members(r *reads, v map[string]any, depth int) error {
	names := make([]string, 0, 16)
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	w.open('{')
	for _, name := range names {
		c := r.named(name)
		if c == nil {
			continue
		}
		w.put(kindText, name)
		if err := w.any(c, v[name], depth+1); err != nil {
			return err
		}
	}
	w.shut('}')
	return nil
}

func (w *writer) elements(r *reads, list []any, depth int) error {
	w.open('[')
	if r = r.element(); r != nil {
		last := len(w.buf)
		for i, v := range list {
			start := len(w.buf)
			if err := w.any(r, v, depth+1); err != nil {
				return err
			}
			if w.outline && i > 0 && string(w.buf[last:start]) == string(w.buf[start:]) {
				w.buf = w.buf[:start] // of the same form as the element before
				continue
			}
			last = start
		}
	}
	w.shut(']')
	return nil
}

// name writes the name of the member m if rules read it, and returns what they read of it.
func (w *writer) name(r *reads, m member) *reads {
	if r = r.of(m); r != nil {
		w.buf = append(w.buf, kindMember|byte(m))
	}
	return r
}

func (w *writer) object(r *reads, m member) *reads {
	if r = w.name(r, m); r != nil {
		w.open('{')
	}
	return r
}

// list begins an array of objects. If rules read nothing of its elements, it is empty.
func (w *writer) list(r *reads, m member) *reads {
	if r = w.name(r, m); r == nil {
		return nil
	}
	w.open('[')
	if r = r.element(); r == nil {
		w.shut(']')
	}
	return r
}

func (w *writer) open(kind byte) { w.buf = append(w.buf, kind) }

func (w *writer) shut(kind byte) { w.buf = append(w.buf, kind) }

func (w *writer) text(r *reads, m member, s string) {
	if r = w.name(r, m); r != nil {
		w.put(kindText, r.shown(s))
	}
}

// content is a text that is outlined.
func (w *writer) content(r *reads, m member, s string) {
	if r = w.name(r, m); r != nil {
		w.put(kindText, w.form(r, s))
	}
}

func (w *writer) texts(r *reads, m member, list []string) {
	if w.name(r, m) == nil {
		return
	}
	w.open('[')
	for _, s := range list {
		w.put(kindText, s)
	}
	w.shut(']')
}

func (w *writer) number(r *reads, m member, n int) {
	if w.name(r, m) != nil {
		w.put(kindNumber, strconv.Itoa(n))
	}
}

func (w *writer) boolean(r *reads, m member, v bool) {
	if w.name(r, m) != nil {
		w.bool(v)
	}
}

func (w *writer) bool(v bool) {
	if v {
		w.buf = append(w.buf, kindTrue)
	} else {
		w.buf = append(w.buf, kindFalse)
	}
}

// put writes a text with its length before it, so that no two documents have the same bytes.
func (w *writer) put(kind byte, s string) {
	w.buf = append(w.buf, kind)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(s)))
	w.buf = append(w.buf, s...)
}
