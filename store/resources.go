package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
)

// resourceRow is the stored form of a user or group.
type resourceRow struct {
	Resource json.RawMessage `json:"r"`
	Created  time.Time       `json:"c"`
	Modified time.Time       `json:"m"`
}

// resource is a decoded row of a user or group.
type resource struct {
	object            scim.Object
	created, modified time.Time
	version           Seq
}

// resource reads a user or group, or returns ErrNotFound. A Tx decodes each row once, so
// the caller must not change the object.
func (r *Reader) resource(kind byte, id string) (resource, error) {
	k := key(kind, r.tenant, id)
	if res, ok := r.decoded[string(k)]; ok {
		return res, nil
	}
	v, seq, err := r.snap.Get(k)
	if err != nil {
		return resource{}, err
	}
	res, err := decodeResource(v, seq)
	if err != nil {
		return resource{}, fmt.Errorf("reading the resource %s: %w", id, err)
	}
	if r.decoded != nil {
		r.decoded[string(k)] = res
	}
	return res, nil
}

// own returns an object that the caller may change.
func (r *Reader) own(o scim.Object) scim.Object {
	if r.decoded == nil {
		return o
	}
	return o.Clone()
}

func decodeResource(v []byte, version Seq) (resource, error) {
	var row resourceRow
	if err := decodeRow(v, &row); err != nil {
		return resource{}, err
	}
	o, err := decodeObject(row.Resource)
	return resource{object: o, created: row.Created, modified: row.Modified, version: version}, err
}

// decodeObject reads a resource that this store wrote. Integers become int64.
func decodeObject(b []byte) (scim.Object, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("decoding a resource: %w", err)
	}
	for k, v := range m {
		m[k] = typed(v)
	}
	return m, nil
}

// typed converts decoded JSON to the types of scim.Object, in place.
func typed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = typed(e)
		}
		return scim.Object(v)
	case []any:
		for i, e := range v {
			v[i] = typed(e)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // this store wrote it from a float64
		return f
	}
	return v
}

// putResource writes the row of a user or group.
func (t *Tx) putResource(k []byte, o scim.Object, created, modified time.Time) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding a resource: %w", err)
	}
	if len(raw) > maxResource {
		return &LimitError{Attribute: largest(o), Limit: maxResource, Unit: "bytes in a resource of all attributes"}
	}
	delete(t.decoded, string(k))
	t.putRow(k, resourceRow{Resource: raw, Created: created, Modified: modified})
	return nil
}

// maxResource bounds the stored form of a user or group, without members. One record has it
// twice, with the lock and the jobs of the user.
const maxResource = 512 << 10

// largest returns the name of the attribute with the longest stored form.
func largest(o scim.Object) (name string) {
	most := -1
	for _, attr := range slices.Sorted(maps.Keys(o)) {
		raw, err := json.Marshal(o[attr])
		if err == nil && len(raw) > most {
			name, most = attr, len(raw)
		}
	}
	return name
}

// changedAttributes returns the sorted names of the top-level attributes that differ.
// Values with the same stored form are equal, such as the decimals 3.0 and 3.
func changedAttributes(before, after scim.Object) (names []string, err error) {
	all := scim.Object{}
	maps.Copy(all, before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, had := before[name]
		is, has := after[name]
		if had == has && reflect.DeepEqual(was, is) {
			continue
		}
		x, err := json.Marshal(was)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		y, err := json.Marshal(is)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		if had != has || !bytes.Equal(x, y) {
			names = append(names, name)
		}
	}
	return names, nil
}

// each calls fn for the resources of a kind, in the order of ids after after (""
// means all), until fn returns false.
func each[T any](r *Reader, kind byte, after string, decode decoder[T], fn func(T) bool) error {
	prefix := key(kind, r.tenant)
	return r.snap.Scan(prefix, afterKey(prefix, after), true, func(e machine.Entry) (bool, error) {
		v, err := decodeEntry(e, len(prefix), decode)
		if err != nil {
			return false, err
		}
		return fn(v), nil
	})
}

// page returns the resources offset, offset+1, … of a kind in the order of ids, at most
// limit. It reads only the keys of the skipped ones.
func page[T any](r *Reader, kind byte, offset, limit int, decode decoder[T]) (out []T, err error) {
	if limit <= 0 {
		return nil, nil
	}
	prefix := key(kind, r.tenant)
	start, n := []byte(nil), 0
	if err := r.snap.Scan(prefix, nil, false, func(e machine.Entry) (bool, error) {
		if n++; n <= offset {
			return true, nil
		}
		start = bytes.Clone(e.Key)
		return false, nil
	}); err != nil || start == nil {
		return nil, err
	}
	err = r.snap.Scan(prefix, start, true, func(e machine.Entry) (bool, error) {
		v, err := decodeEntry(e, len(prefix), decode)
		out = append(out, v)
		return len(out) < limit, err
	})
	return out, err
}

type decoder[T any] func(id string, res resource) (T, error)

func decodeEntry[T any](e machine.Entry, prefix int, decode decoder[T]) (v T, err error) {
	id, err := lastPart(e.Key, prefix)
	if err != nil {
		return v, err
	}
	res, err := decodeResource(e.Value, e.Version)
	if err != nil {
		return v, fmt.Errorf("reading the resource %s: %w", id, err)
	}
	return decode(id, res)
}

// afterKey returns the start of the range after an id, nil for the whole range.
func afterKey(prefix []byte, after string) []byte {
	if after == "" {
		return nil
	}
	return append(appendPart(bytes.Clone(prefix), after), 0)
}

// createResource writes the row of a new user or group.
func (t *Tx) createResource(kind byte, id string, o scim.Object) error {
	k := key(kind, t.tenant, id)
	taken, err := t.snap.Exists(k)
	if err != nil {
		return err
	}
	if taken {
		return &UniquenessError{Attribute: "id"}
	}
	return t.putResource(k, o, t.now, t.now)
}

// deleteResource removes the row, the index keys and the memberships of a user or group.
func (t *Tx) deleteResource(kind byte, id string, names []name) error {
	k := key(kind, t.tenant, id)
	delete(t.decoded, string(k))
	t.w.Delete(k)
	if err := t.moveIndexes(id, names, nil); err != nil {
		return err
	}
	return t.removeMemberships(id)
}
