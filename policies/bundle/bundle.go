// Package bundle reads the policy bundle of a tenant: an OPA bundle with the tenant's own requirements. It
// checks size, files, signature and manifest before it parses any of it.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/scimward/scimward/policies"
)

// Bounds of a bundle.
const (
	MaxBytes    = 1 << 20   // of the archive
	MaxUnpacked = 2 << 20   // of all files together; in memory, data takes many times its size
	MaxRules    = 256 << 10 // of the Rego files: the compiler cannot be stopped
	MaxFiles    = 500
)

// signatures is the file with the signature of the others.
const signatures = ".signatures.json"

// Root is the only root of a bundle: every package and every data file is under it.
const Root = "policy"

// Key is a public key that may sign a tenant's bundles.
type Key struct {
	ID        string // "kid" of the signature
	Algorithm string // one of Algorithms
	PEM       string // the public key
}

// Algorithms are those that may sign a bundle. HMAC is none: who verifies could sign.
func Algorithms() []string { return []string{"ES256", "ES384", "PS256", "PS384", "RS256", "RS384"} }

// Trust says whose bundles are accepted. The zero value accepts none.
type Trust struct {
	Keys     []Key
	Unsigned bool // also accept a bundle without a signature; a bad signature is refused
}

// Bundle is a bundle whose bytes were checked. It is not compiled.
type Bundle struct {
	Raw      []byte // the exact bytes, for safekeeping
	SHA256   string // hex digest of Raw
	Revision string // from the manifest
	Serial   uint64 // metadata.serial of the manifest; a lower one than before is a replay
	Signed   bool

	modules map[string]*ast.Module // the rules by path
	tests   map[string]*ast.Module
	data    map[string]any
}

// Error says why a bundle is refused, for the person who wrote it. Stage is one of "size", "archive",
// "signature", "manifest", "parse", "compile", "test", "smoke", "serial", "local_writes".
type Error struct {
	Stage string
	Err   error
}

func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func refuse(stage, format string, args ...any) *Error {
	return &Error{Stage: stage, Err: fmt.Errorf(format, args...)}
}

// guard turns a panic of the engine into an error: the bundle of one tenant must not end the process.
func guard(stage string, err *error) {
	if p := recover(); p != nil {
		*err = refuse(stage, "the policy engine failed: %.200v", p)
	}
}

// Read checks an archive (tar.gz). Errors are *Error.
func Read(raw []byte, trust Trust) (*Bundle, error) { return read(raw, &trust) }

// ReadUnverified is Read without a look at the signature: for tools that put nothing in force.
func ReadUnverified(raw []byte) (*Bundle, error) { return read(raw, nil) }

// read checks the signature only if there is a trust.
func read(raw []byte, trust *Trust) (_ *Bundle, err error) {
	defer guard("parse", &err)
	if len(raw) > MaxBytes {
		return nil, refuse("size", "the bundle has more than %d bytes", MaxBytes)
	}
	files := map[string][]byte{}
	signed, err := inspect(raw, func(name string, content []byte) error {
		files[name] = content
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, described := files[".manifest"]; !described {
		return nil, refuse("manifest", `the bundle has no .manifest at its top: write `+
			`{"revision": "1", "roots": ["%s"], "rego_version": 1, "metadata": {"serial": 1}}`, Root)
	}
	if trust != nil && !signed && !trust.Unsigned {
		return nil, refuse("signature", "the bundle has no .signatures.json: sign it with `scimward policy sign`")
	}
	r := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(raw), "")).
		WithSizeLimitBytes(MaxUnpacked).WithRegoVersion(ast.RegoV1).WithProcessAnnotations(true).
		WithCapabilities(policies.BundleCapabilities())
	if trust != nil && signed {
		config := trust.config()
		if err := verify(files, config); err != nil {
			return nil, refuse("signature", "%w", trust.explain(err))
		}
		r = r.WithBundleVerificationConfig(config) // the bytes that are read are those that were signed
	} else {
		r = r.WithSkipBundleVerification(true)
	}
	content, err := r.Read()
	if err != nil {
		return nil, refuse(stageOf(err), "%w", err)
	}
	sum := sha256.Sum256(raw)
	b := &Bundle{Raw: raw, SHA256: hex.EncodeToString(sum[:]), Signed: signed, data: content.Data}
	if err := b.fill(&content); err != nil {
		return nil, err
	}
	return b, nil
}

// config returns the keys as the engine takes them.
func (t *Trust) config() *bundle.VerificationConfig {
	keys := map[string]*bundle.KeyConfig{}
	for _, k := range t.Keys {
		keys[k.ID] = &bundle.KeyConfig{Key: k.PEM, Algorithm: k.Algorithm}
	}
	return bundle.NewVerificationConfig(keys, "", "", nil)
}

// verify checks the signature and that it has each of the files and no other. The engine does so too when it reads the
// bundle, but its errors do not tell a fault of the signature from one of a file.
func verify(files map[string][]byte, config *bundle.VerificationConfig) error {
	var of bundle.SignaturesConfig
	if err := json.Unmarshal(files[signatures], &of); err != nil {
		return fmt.Errorf("reading .signatures.json: %w", err)
	}
	left, err := bundle.VerifyBundleSignature(of, config)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == signatures {
			continue
		}
		if err := bundle.VerifyBundleFile(name, *bytes.NewBuffer(files[name]), left); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(left) > 0 { // the engine takes out each file that it has verified
		return fmt.Errorf("it names files that the bundle lacks: %s",
			strings.Join(slices.Sorted(maps.Keys(left)), ", "))
	}
	return nil
}

// stageOf tells a fault of the manifest from one of the other files. Errors of Rego begin with the name of a file,
// which its author chooses.
func stageOf(err error) string {
	var rego ast.Errors
	if !errors.As(err, &rego) && (strings.HasPrefix(err.Error(), "manifest ") ||
		strings.HasPrefix(err.Error(), "bundle load failed on manifest decode")) {
		return "manifest"
	}
	return "parse"
}

// explain says what to do about a signature that cannot be verified.
func (t *Trust) explain(err error) error {
	var ids []string
	for _, k := range t.Keys {
		ids = append(ids, k.ID)
	}
	keys := strings.Join(ids, ", ")
	switch text := err.Error(); {
	case strings.Contains(text, "digest mismatch") || strings.Contains(text, "not included in bundle") ||
		strings.Contains(text, "it names files that the bundle lacks"):
		return fmt.Errorf("the files changed after the bundle was signed: sign it again (%w)", err)
	case len(ids) == 0:
		return errors.New("the bundle is signed, and tenants[].policy.keys names no key: add the public key")
	case strings.Contains(text, "key corresponding to ID"):
		return fmt.Errorf("no key of tenants[].policy.keys has the id of the signature: sign with --key-id, one of %s, or "+
			"add the key (%w)", keys, err)
	case strings.Contains(text, "failed to verify JWT"):
		return fmt.Errorf("the key that the signature names, one of %s, does not verify it: another private key or another "+
			"algorithm signed the bundle. Sign it with the private key that belongs to the public one (%w)", keys, err)
	}
	return err
}

// fill takes manifest, rules and tests.
func (b *Bundle) fill(read *bundle.Bundle) error {
	m := &read.Manifest
	if m.Roots == nil || !slices.Equal(*m.Roots, []string{Root}) {
		return refuse("manifest", `roots must be ["%s"]`, Root)
	}
	if m.Revision == "" || len(m.Revision) > 128 || strings.ContainsFunc(m.Revision, notPrintable) {
		return refuse("manifest", "revision must be 1 to 128 printable characters without spaces")
	}
	b.Revision = m.Revision
	serial, err := serialOf(m.Metadata)
	if err != nil {
		return err
	}
	b.Serial = serial
	if _, err := ast.InterfaceToValue(read.Data); err != nil { // such as a number with a huge exponent
		return refuse("parse", "the data files: %w", err)
	}
	b.modules, b.tests = map[string]*ast.Module{}, map[string]*ast.Module{}
	for i := range read.Modules {
		f := &read.Modules[i]
		to := b.modules
		if strings.HasSuffix(f.Path, "_test.rego") {
			to = b.tests
		}
		to[strings.TrimPrefix(f.Path, "/")] = f.Parsed
	}
	return nil
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

func serialOf(metadata map[string]any) (uint64, error) {
	var n uint64
	switch v := metadata["serial"].(type) {
	case json.Number:
		if err := json.Unmarshal([]byte(v), &n); err != nil {
			return 0, refuse("manifest", "metadata.serial must be a whole number")
		}
	case float64:
		n = uint64(max(v, 0))
	}
	if n == 0 {
		return 0, refuse("manifest", "metadata.serial must be a whole number from 1, higher for each new bundle")
	}
	return n, nil
}
