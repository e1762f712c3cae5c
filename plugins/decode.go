package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/scimward/scimward/store/strictjson"
)

// maxManifestDepth bounds the nesting of a manifest.
const maxManifestDepth = 16

// decodeManifest decodes b, one strict JSON document, into m. A name must not appear twice in one object,
// even in another letter case. encoding/json would take the last one and read a different document than a
// reviewer does. Errors give the line and column in b.
func decodeManifest(b []byte, m *Manifest) error {
	_, fault := strictjson.Decode[map[string]any](b, strictjson.Rules{
		Depth: maxManifestDepth, Nesting: maxManifestDepth + 1, Members: maxManifest, Values: maxManifest,
		Lossy: true, FoldName: strings.ToLower,
	})
	if fault != nil {
		return atOffset(b, fault.Offset, fault)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return shapeFault(b, err)
	}
	return nil
}

// shapeFault adds the place to the error of a document that is JSON but no manifest.
func shapeFault(b []byte, err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return atOffset(b, typ.Offset, fmt.Errorf("%s must not be a JSON %s", typ.Field, typ.Value))
	}
	// encoding/json does not say where an unknown field is.
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok && bytes.Count(b, []byte(quoted)) == 1 {
		return atOffset(b, int64(bytes.Index(b, []byte(quoted))+len(quoted)), fmt.Errorf("unknown field %s", quoted))
	}
	return err
}

// atOffset gives the line and column of the byte at offset in b, both from 1.
func atOffset(b []byte, offset int64, err error) error {
	head := b[:min(max(offset, 0), int64(len(b)))]
	line, column := 1+bytes.Count(head, []byte("\n")), len(head)-bytes.LastIndexByte(head, '\n')
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}
