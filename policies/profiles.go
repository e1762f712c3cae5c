package policies

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

//go:embed lib/*.rego ipsie/il1/*.rego ipsie/al/*.rego scim/interop/*.rego rfc7644/*.rego
var embedded embed.FS

// profile names an entrypoint and the directories of its Rego.
type profile struct {
	name       string
	entrypoint string
	dirs       []string
	traits     Traits
	contents   bool // its rules read contents, so that an outline is not enough
}

// Traits are what a profile asks of the directory and of the parser, beyond its rules.
type Traits struct {
	// UniqueExternalID says that no two users have the same externalId (IL1 §3.2.3).
	UniqueExternalID bool
	// OAuthOnly says that no other credential than an OAuth access token may open SCIM (IL1 §3.2.1).
	OAuthOnly bool
	// Interop says that the profile includes the SCIM interoperability profile. There the replace of a
	// complex attribute clears the sub-attributes that its value omits
	// (draft-zollner-scim-interop-profile-01 §6.5.2.1). RFC 7644 §3.5.2.3 leaves them unchanged.
	Interop bool
}

// TraitsOf returns the traits of a shipped profile.
func TraitsOf(name string) Traits {
	for _, p := range shipped() {
		if p.name == name {
			return p.traits
		}
	}
	return Traits{}
}

// DefaultProfile is the profile of a tenant that names none.
const DefaultProfile = "ipsie-il1"

// Profiles that others are measured by: SCIM itself, and the interoperability profile.
const (
	baseProfile    = "rfc7644"
	interopProfile = "scim-interop-01"
)

// source reads the Rego of a directory: file path to text.
type source func(dir string) (map[string]string, error)

func shipped() []profile {
	return []profile{
		{
			name: DefaultProfile, entrypoint: "data.ipsie.il1.verdict", dirs: []string{"ipsie/il1", "lib"},
			traits: Traits{UniqueExternalID: true, OAuthOnly: true},
		},
		{
			name: "ipsie-al-draft-00", entrypoint: "data.ipsie.al.verdict",
			dirs:   []string{"ipsie/al", "lib", "rfc7644", "scim/interop"},
			traits: Traits{UniqueExternalID: true, OAuthOnly: true, Interop: true},
		},
		{
			name: interopProfile, entrypoint: "data.scim.interop.verdict",
			dirs:   []string{"lib", "rfc7644", "scim/interop"},
			traits: Traits{Interop: true},
		},
		{name: baseProfile, entrypoint: "data.rfc7644.verdict", dirs: []string{"lib", "rfc7644"}},
	}
}

// Profiles names the shipped profiles, sorted.
func Profiles() []string {
	var names []string
	for _, p := range shipped() {
		names = append(names, p.name)
	}
	slices.Sort(names)
	return names
}

// Revision identifies the rules of a shipped profile: its name, an at sign and the first
// twelve hex digits of the SHA-256 over its Rego sources. It is the revision in every
// verdict of that profile, and "" for an unknown one.
func Revision(name string) string {
	for _, p := range shipped() {
		if p.name != name {
			continue
		}
		files, err := p.read(sources)
		if err != nil {
			return ""
		}
		return revision(p.name, files)
	}
	return ""
}

// sources reads the embedded rules of one directory, without their tests.
func sources(dir string) (map[string]string, error) {
	entries, err := fs.ReadDir(embedded, dir)
	if err != nil {
		return nil, fmt.Errorf("reading rules of %s: %w", dir, err)
	}
	out := make(map[string]string, len(entries))
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "_test.rego") {
			continue
		}
		file := path.Join(dir, entry.Name())
		b, err := embedded.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading rules of %s: %w", dir, err)
		}
		out[file] = string(b)
	}
	return out, nil
}

func (p profile) read(src source) (map[string]string, error) {
	all := map[string]string{}
	for _, dir := range p.dirs {
		files, err := src(dir)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
}

// revision hashes path and text of every file, each with its length so that no two sets
// of files read the same.
func revision(name string, files map[string]string) string {
	h := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(files)) {
		text := files[file]
		h.Write(fmt.Appendf(nil, "%d:%s%d:%s", len(file), file, len(text), text)) // hash.Hash never returns an error
	}
	return name + "@" + hex.EncodeToString(h.Sum(nil))[:12]
}

// prepare compiles the profiles with one compiler and prepares the query of each.
func prepare(profiles []profile, src source) (*activation, error) {
	texts := make([]map[string]string, len(profiles))
	modules := map[string]*ast.Module{}
	for i, p := range profiles {
		files, err := p.read(src)
		if err != nil {
			return nil, err
		}
		texts[i] = files
		for file, text := range files {
			if modules[file] != nil {
				continue
			}
			m, err := ast.ParseModuleWithOpts(file, text, ast.ParserOptions{
				ProcessAnnotation: true, RegoVersion: ast.RegoV1, Capabilities: capabilities(),
			})
			if err != nil {
				return nil, fmt.Errorf("parsing %s: %w", file, err)
			}
			modules[file] = m
		}
	}
	compiler := ast.NewCompiler().WithStrict(true).WithCapabilities(capabilities())
	if compiler.Compile(modules); compiler.Failed() {
		return nil, fmt.Errorf("compiling policies: %w", compiler.Errors)
	}
	a := &activation{
		compiler: compiler, data: inmem.New(), profiles: make(map[string]*prepared, len(profiles)), patterns: newPatterns(),
	}
	for i, p := range profiles {
		query, err := compiler.QueryCompiler().Compile(ast.MustParseBody(answerVar + " = " + p.entrypoint))
		if err != nil {
			return nil, fmt.Errorf("preparing profile %s: %w", p.name, err)
		}
		memo, err := newMemo(maxMemo, maxMemoKey)
		if err != nil {
			return nil, err
		}
		a.profiles[p.name] = &prepared{
			set: a, query: query, revision: revision(p.name, texts[i]), memo: memo,
			view: view{reads: readsOf(compiler, p.entrypoint), outline: !p.contents},
		}
	}
	return a, nil
}
