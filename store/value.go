package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Every value starts with its version byte. After it, rows are JSON and index values are
// plain bytes. Counters have the form of [machine.Counter].
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
