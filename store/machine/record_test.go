package machine_test

import (
	"bytes"
	"testing"

	"github.com/scimward/scimward/store/machine"
)

// FuzzRecord: encoding a decoded record gives bytes that decode and encode to themselves.
func FuzzRecord(f *testing.F) {
	for _, rec := range machine.SampleRecords(f) {
		f.Add(rec)
	}
	f.Fuzz(func(t *testing.T, rec []byte) {
		again, ok := machine.ReencodeRecord(t, rec)
		if !ok {
			return
		}
		twice, ok := machine.ReencodeRecord(t, again)
		if !ok || !bytes.Equal(again, twice) {
			t.Errorf("encoding the record %x again = %x (decoded: %t), want the same bytes", again, twice, ok)
		}
	})
}

// TestDecodeRecordRefuses: malformed records are errors, whatever is wrong with them.
func TestDecodeRecordRefuses(t *testing.T) {
	for name, rec := range map[string][]byte{
		"empty": nil, "version": {2, 0, 0}, "flags": {1, 9, 0}, "no body": {1, 0}, "count beyond": {1, 0, 200},
		"rest": {1, 0, 0, 1}, "torn zstd": {1, 1, 40, 181}, "short genesis": {1, 2, 0},
	} {
		if _, ok := machine.ReencodeRecord(t, rec); ok {
			t.Errorf("%s: decoding the record %x succeeded, want an error", name, rec)
		}
	}
}
