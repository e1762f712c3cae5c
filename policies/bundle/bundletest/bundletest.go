// Package bundletest makes policy bundles for tests: good ones, and one for each way in which a bundle is bad.
package bundletest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/scimward/scimward/policies/bundle"
)

// Signer is a key that signs bundles.
type Signer struct {
	Key     bundle.Key // its public half
	private string
}

// NewSigner makes a key.
func NewSigner(id string) *Signer {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return &Signer{
		Key: bundle.Key{
			ID: id, Algorithm: "ES256", PEM: text("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&key.PublicKey))),
		},
		private: text("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))),
	}
}

// Trust trusts the key and nothing else.
func (s *Signer) Trust() bundle.Trust { return bundle.Trust{Keys: []bundle.Key{s.Key}} }

// Sign packs the files and signs them.
func (s *Signer) Sign(files map[string]string) []byte {
	return must(bundle.Sign(Pack(files), s.Key.ID, s.Key.Algorithm, s.private))
}

// signBad is Sign for files that may have no signature, because they cannot be read: they get a signature of others.
func (s *Signer) signBad(files map[string]string) []byte {
	raw := Pack(files)
	if signed, err := bundle.Sign(raw, s.Key.ID, s.Key.Algorithm, s.private); err == nil {
		return signed
	}
	of := must(bundle.Signature(Pack(Files(1, "other")), s.Key.ID, s.Key.Algorithm, s.private))
	return Pack(With(files, ".signatures.json", string(of)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("bundletest: " + err.Error())
	}
	return v
}

// Names of the files of [Files].
const (
	Manifest = ".manifest"
	Rules    = "policy/rules.rego"
	Tests    = "policy/rules_test.rego"
)

// Files returns the files of a good bundle: nobody may create a user whose displayName is its word. Its revision is
// the serial.
func Files(serial int, word string) map[string]string {
	return map[string]string{
		Manifest: fmt.Sprintf(`{"revision":"%[1]d","roots":["policy"],"rego_version":1,"metadata":{"serial":%[1]d}}`, serial),
		Rules: fmt.Sprintf(`package policy

requirements["word"] := {"message": "nobody has the name %[1]s", "fix": "choose another one"} if {
	input.resource.displayName == %[1]q
}

satisfied contains "word" if input.resource.displayName != %[1]q
`, word),
		Tests: fmt.Sprintf(`package policy.test

import data.policy

test_word if "word" in object.keys(policy.requirements) with input as {"resource": {"displayName": %q}}
`, word),
	}
}

// With returns the files with another content of some, without those whose content is empty.
func With(files map[string]string, change ...string) map[string]string {
	out := maps.Clone(files)
	for pair := range slices.Chunk(change, 2) {
		if out[pair[0]] = pair[1]; pair[1] == "" {
			delete(out, pair[0])
		}
	}
	return out
}

// Pack packs files as they are, in the order of their names.
func Pack(files map[string]string) []byte {
	var entries []tar.Header
	var contents []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, tar.Header{Name: name, Typeflag: tar.TypeReg})
		contents = append(contents, files[name])
	}
	return pack(entries, contents)
}

func pack(entries []tar.Header, contents []string) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for i := range entries {
		h := entries[i]
		h.Mode, h.Size = 0o644, int64(len(contents[i]))
		must(0, w.WriteHeader(&h))
		must(w.Write([]byte(contents[i])))
	}
	must(0, w.Close())
	must(0, zip.Close())
	return out.Bytes()
}

// withEntry packs files and one more entry.
func withEntry(files map[string]string, h tar.Header, content string) []byte {
	var entries []tar.Header
	var contents []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entries = append(entries, tar.Header{Name: name, Typeflag: tar.TypeReg})
		contents = append(contents, files[name])
	}
	return pack(append(entries, h), append(contents, content))
}

// Bad is a bundle that must not come into force.
type Bad struct {
	Name  string
	Stage string // of the refusal
	Says  string // a part of it
	Raw   []byte
}

// AllBad returns one for each way, signed by s where that matters. Serial is higher than that of the bundle in force.
func AllBad(s *Signer, serial int) []Bad {
	files := Files(serial, "bad")
	good := s.Sign(files)
	out := slices.Concat(badArchives(files, good), badSignatures(s, files, good))
	for _, c := range []struct{ name, stage, says, file, content string }{
		{"other roots", "manifest", "roots", Manifest, strings.Replace(files[Manifest], `"policy"`, `"policy","scim"`, 1)},
		{"no serial", "manifest", "serial", Manifest, `{"revision":"1","roots":["policy"]}`},
		{"half a serial", "manifest", "serial", Manifest, `{"revision":"1","roots":["policy"],"metadata":{"serial":0.5}}`},
		{"no revision", "manifest", "revision", Manifest, `{"roots":["policy"],"metadata":{"serial":9}}`},
		{"a broken manifest", "parse", "", Manifest, `{`},
		{"no manifest", "manifest", "roots", Manifest, ""},
		{"a rule outside the root", "manifest", "scim", "scim/allow.rego", "package scim\n\nallow := true\n"},
		{"data outside the root", "manifest", "scim", "scim/data.json", `{"allow":true}`},
		{"no Rego", "parse", "rules.rego", Rules, "this is no rule"},
		{"no Rego, in a file with words of other faults", "parse", "verify.rego", "policy/manifest/verify.rego", "x"},
		{"a long number", "compile", "1000 digits", "policy/n.rego", "package policy\n\nx := " + strings.Repeat("9", 2000)},
		{"a long number in data", "compile", "1000 digits", "policy/x/data.json", "[" + strings.Repeat("9", 2000) + "]"},
		{"deep nesting", "parse", "recursion", Rules, "package policy\n\nx := " + strings.Repeat("[", 200_000)},
		{"a huge number in data", "parse", "number", "policy/limits/data.json", `{"most":1e999999999}`},
		{"data of deep nesting", "parse", "JSON", "policy/limits/data.json", strings.Repeat("[", 1_000_000)},
		{"YAML of deep nesting", "parse", "depth", "policy/limits/data.yaml", strings.Repeat("[", 1_000_000)},
		{"data that grows", "parse", "alias", "policy/limits/data.yaml", growing()},
		{"data that repeats a long text", "parse", "alias", "policy/limits/data.yml", repeating(100, 100)},
		{"data in the place of a rule", "compile", "conflict", "policy/requirements/data.json", `{"word":{}}`},
		{"other data in the place of a rule", "compile", "conflict", "policy/data.json", `{"satisfied":["word"]}`},
		{"no requirements", "compile", "requirements", Rules, "package policy\n\nsatisfied contains 1 if false\n"},
		{
			"a default in their place", "compile", "requirements", Rules,
			"package policy\n\ndefault requirements := {}\n\nsatisfied contains 1 if false\n",
		},
		{"failing tests", "test", "test_word", Tests, "package policy.test\n\ntest_word if false\n"},
		{"no tests", "test", "no tests", Tests, ""},
		{"a test that fails to end", "test", "test_slow", Tests, "package policy.test\n\n" + Slow + "\ntest_slow if slow\n"},
		{"rules that fail to end", "smoke", "", "policy/slow.rego", "package policy\n\n" + Slow +
			"\nrequirements[\"slow\"] := {\"message\": \"slow\"} if slow\n"},
	} {
		out = append(out, Bad{c.name, c.stage, c.says, s.signBad(With(files, c.file, c.content))})
	}
	for _, call := range []string{
		`http.send({"method": "get", "url": "http://127.0.0.1/"})`, "opa.runtime()", `rand.intn("x", 2)`, "time.now_ns()",
		`net.lookup_ip_addr("localhost")`, `uuid.rfc4122("x")`, "numbers.range(1, 1000000000)",
		`io.jwt.decode("x")`, `crypto.x509.parse_certificates("x")`, `trace("x")`, `strings.render_template("x", {})`,
		`json.unmarshal("1")`, `units.parse("1")`, `graph.reachable({}, {})`, `walk(input)`, `rego.parse_module("a", "b")`,
	} {
		name, _, _ := strings.Cut(call, "(")
		raw := s.Sign(With(files, "policy/call.rego", "package policy\n\ncalled := "+call+"\n"))
		out = append(out, Bad{"a call of " + name, "compile", name, raw})
	}
	return out
}

// Slow defines a rule slow that takes longer than any time limit.
const Slow = `numbers := [n | some c in split(sprintf("%1000d", [1]), ""); n := count(c)]

slow if {
	some a in numbers
	some b in numbers
	some c in numbers
	a + b + c == 99
}
`

// growing is YAML whose aliases stand for 10¹² values.
func growing() string {
	text := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return text
}

// repeating is YAML that stands for a text of some bytes, many times.
func repeating(size, times int) string {
	return "a: &a " + strings.Repeat("x", size) + "\nb: [" + strings.Repeat("*a,", times) + "]\n"
}

// sparse is an archive with a file of size zeros that are not in the archive.
func sparse(size int64) []byte {
	record := func(key, value string) string {
		r := fmt.Sprintf(" %s=%s\n", key, value)
		return fmt.Sprintf("%d%s", len(r)+2, r) // each has 10 to 97 bytes
	}
	extended := record("GNU.sparse.major", "0") + record("GNU.sparse.minor", "1") +
		record("GNU.sparse.name", "policy/data.json") + record("GNU.sparse.numblocks", "1") +
		record("GNU.sparse.map", fmt.Sprintf("%d,0", size)) + record("GNU.sparse.size", strconv.FormatInt(size, 10))
	block := func(name string, kind byte, size int) []byte {
		b := make([]byte, 512)
		for at, s := range map[int]string{0: name, 124: fmt.Sprintf("%011o", size), 148: "        ", 257: "ustar\x0000"} {
			copy(b[at:], s)
		}
		b[156] = kind
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00", sum))
		return b
	}
	content := append([]byte(extended), make([]byte, 512-len(extended)%512)...)
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	must(zip.Write(slices.Concat(block("extended", tar.TypeXHeader, len(extended)), content,
		block("policy/data.json", tar.TypeReg, 0), make([]byte, 1024))))
	must(0, zip.Close())
	return out.Bytes()
}

func badArchives(files map[string]string, good []byte) []Bad {
	noise := make([]byte, bundle.MaxBytes)
	must(rand.Read(noise))
	many := maps.Clone(files)
	for i := range bundle.MaxFiles {
		many[fmt.Sprintf("policy/r%d.rego", i)] = "package policy\n"
	}
	regular := func(name, content string) []byte {
		return withEntry(files, tar.Header{Name: name, Typeflag: tar.TypeReg}, content)
	}
	return []Bad{
		{"nothing", "archive", "tar.gz", []byte{}},
		{"a page", "archive", "tar.gz", []byte("<html>It works!</html>")},
		{"half a bundle", "archive", "", good[:len(good)/2]},
		{"too large", "size", "bytes", Pack(With(files, "policy/big/data.json", string(noise)))},
		{"too large when unpacked", "size", "bytes", Pack(With(files, "policy/big/data.json", strings.Repeat(" ", 64<<20)))},
		{"too large, with holes", "size", "bytes", sparse(bundle.MaxUnpacked + 1)},
		{"too many rules", "size", "Rego", Pack(With(files, "policy/big.rego", strings.Repeat("# \n", bundle.MaxRules/3+1)))},
		{"too many files", "size", "files", Pack(many)},
		{"a symbolic link", "archive", "plain", withEntry(files,
			tar.Header{Name: "policy/passwd.rego", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, "")},
		{"a hard link", "archive", "plain", withEntry(files,
			tar.Header{Name: "policy/passwd.rego", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, "")},
		{"a device", "archive", "plain", withEntry(files, tar.Header{Name: "policy/null.rego", Typeflag: tar.TypeChar}, "")},
		{"a path that leaves it", "archive", "inside", regular("policy/../../x.rego", "package policy\n")},
		{"a path with a backslash", "archive", "inside", regular(`policy\..\..\x.rego`, "package policy\n")},
		{"a file twice", "archive", "twice", regular(Rules, files[Rules])},
		{"a file twice by another name", "archive", "twice", regular("./policy/x/../rules.rego", files[Rules])},
		{"a delta bundle", "archive", "patch.json", regular("patch.json", `{"data":[]}`)},
		{"a wasm module", "archive", "policy.wasm", regular("policy.wasm", "\x00asm")},
		{"a program", "archive", "run.sh", regular("run.sh", "#!/bin/sh\n")},
		{"a second manifest", "archive", ".manifest", regular("policy/.manifest", files[Manifest])},
	}
}

func badSignatures(s *Signer, files map[string]string, good []byte) []Bad {
	signed := must(bundle.Signature(good, s.Key.ID, s.Key.Algorithm, s.private))
	resigned := func(change ...string) []byte {
		return Pack(With(With(files, change...), ".signatures.json", string(signed)))
	}
	named := *NewSigner(s.Key.ID)
	unknown := *NewSigner("unknown")
	none := "eyJhbGciOiJub25lIn0.eyJmaWxlcyI6W119."
	return []Bad{
		{"unsigned", "signature", "sign it", Pack(files)},
		{"signed by another key", "signature", "", named.Sign(files)},
		{"signed by an unknown key", "signature", "", unknown.Sign(files)},
		{
			"signed with a shared secret", "signature", "",
			must(bundle.Sign(Pack(files), s.Key.ID, "HS256", s.Key.PEM)),
		},
		{"changed after it was signed", "signature", "", resigned(Rules, files[Rules]+"\n# changed\n")},
		{"with a file that is not signed", "signature", "", resigned("policy/more.rego", "package policy\n")},
		{"with a manifest that grows in place of the signed one", "parse", "JSON", resigned(Manifest, repeating(100, 100))},
		{"with text after the signed manifest", "parse", "JSON", resigned(Manifest, files[Manifest]+"\n# changed\n")},
		{"without a file that is signed", "signature", "", resigned(Tests, "")},
		{"with an empty signature", "signature", "", Pack(With(files, ".signatures.json", `{"signatures":[]}`))},
		{"with the algorithm none", "signature", "", Pack(With(files, ".signatures.json", `{"signatures":["`+none+`"]}`))},
	}
}
