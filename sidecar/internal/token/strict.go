package token

import "github.com/scimward/scimward/store/strictjson"

// Bounds of the JSON inside a token. Real tokens stay far below them.
const (
	maxJSONDepth  = 8
	maxJSONValues = 512
)

// strictObject decodes one JSON object. A repeated name at any depth is an error, because two
// readers may choose different members (RFC 8725 §2.4). U+FFFD is an error too: another program may
// have written it for two different invalid names. Numbers stay json.Number.
func strictObject(b []byte) (map[string]any, error) {
	o, err := strictjson.Decode[map[string]any](b, strictjson.Rules{
		Depth: maxJSONDepth, Nesting: maxJSONDepth + 1, Members: maxJSONValues, Values: maxJSONValues, NoFFFD: true,
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}
