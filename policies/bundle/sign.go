package bundle

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Signature returns the content of .signatures.json for an archive. Private is a PEM key for the algorithm, one of
// Algorithms. An old signature in the archive is not signed. Errors are *Error.
func Signature(raw []byte, keyID, algorithm, private string) ([]byte, error) {
	if slices.Contains(Algorithms(), algorithm) {
		if err := CheckKey(algorithm, private); err != nil {
			return nil, refuse("signature", "signing: %w", err)
		}
	}
	hash, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		return nil, refuse("signature", "%w", err)
	}
	var files []bundle.FileInfo
	if _, err := inspect(raw, func(name string, content []byte) error {
		if bundle.IsSignaturesFile(name) {
			return nil
		}
		var value any = content
		if bundle.IsStructuredDoc(name) { // signed by its value, whatever its spaces
			if err := util.Unmarshal(content, &value); err != nil {
				return refuse("parse", "%s: %w", name, err)
			}
		}
		sum, err := hash.HashFile(value)
		if err != nil {
			return refuse("signature", "%s: %w", name, err)
		}
		files = append(files, bundle.NewFile(name, hex.EncodeToString(sum), string(bundle.SHA256)))
		return nil
	}); err != nil {
		return nil, err
	}
	token, err := bundle.GenerateSignedToken(files, bundle.NewSigningConfig(private, algorithm, ""), keyID)
	if err != nil {
		return nil, refuse("signature", "signing: %w", err)
	}
	b, err := json.MarshalIndent(bundle.SignaturesConfig{Signatures: []string{token}}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the signature: %w", err)
	}
	return append(b, '\n'), nil
}

// Sign returns the archive with a signature, in place of an old one. See [Signature].
func Sign(raw []byte, keyID, algorithm, private string) ([]byte, error) {
	signature, err := Signature(raw, keyID, algorithm, private)
	if err != nil {
		return nil, err
	}
	var p packer
	if _, err := inspect(raw, func(name string, content []byte) error {
		if name == signatures {
			return nil
		}
		return p.add(name, content)
	}); err != nil {
		return nil, err
	}
	if err := p.add(signatures, signature); err != nil {
		return nil, err
	}
	return p.bytes()
}
