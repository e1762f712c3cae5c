package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/scimward/scimward/store/scim"
)

// Every value starts with its version byte. Rows are JSON after it; index values
// are the bare bytes; counters are those of [machine.Counter].
const valueVersion = 1

var errBadValue = errors.New("store: malformed value")

func sealValue(b []byte) []byte { return append([]byte{valueVersion}, b...) }

func openValue(v []byte) ([]byte, error) {
	if len(v) < 1 || v[0] != valueVersion {
		return nil, errBadValue
	}
	return v[1:], nil
}

func encodeRow(row any) ([]byte, error) {
	b, err := json.Marshal(row)
	if err != nil {
		return nil, fmt.Errorf("encoding a row: %w", err)
	}
	return sealValue(b), nil
}

func decodeRow(v []byte, row any) error {
	b, err := openValue(v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, row); err != nil {
		return fmt.Errorf("decoding a row: %w", err)
	}
	return nil
}

// resourceRow is the stored form of a user or group.
type resourceRow struct {
	Resource json.RawMessage `json:"r"`
	Created  time.Time       `json:"c"`
	Modified time.Time       `json:"m"`
}

func encodeResource(o scim.Object) (json.RawMessage, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encoding a resource: %w", err)
	}
	return b, nil
}

// decodeObject reads a resource this store wrote: integers come back as int64.
func decodeObject(b []byte) (scim.Object, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("decoding a resource: %w", err)
	}
	o, err := typed(m)
	if err != nil {
		return nil, err
	}
	obj, ok := o.(scim.Object)
	if !ok {
		return nil, errBadValue
	}
	return obj, nil
}

// typed gives decoded JSON the types of scim.Object.
func typed(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		o := make(scim.Object, len(v))
		for k, e := range v {
			if o[k], err = typed(e); err != nil {
				return nil, err
			}
		}
		return o, nil
	case []any:
		for i := range v {
			if v[i], err = typed(v[i]); err != nil {
				return nil, err
			}
		}
		return v, nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("decoding a number: %w", err)
		}
		return f, nil
	default:
		return v, nil
	}
}

func encodeU64(n uint64) []byte { return appendU64([]byte{valueVersion}, n) }

func decodeU64(v []byte) (uint64, error) {
	b, err := openValue(v)
	if err != nil {
		return 0, err
	}
	n, rest, err := cutU64(b)
	if err != nil || len(rest) != 0 {
		return 0, errBadValue
	}
	return n, nil
}
