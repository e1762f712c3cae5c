// Package recipe has what an administrator pastes into an identity provider, for each provider and each way
// to connect it, and fills in the values of a tenant.
//
// A [Recipe] is data: the files in recipes/. The pages of docs/identity-providers show the same text as
// `scimward client recipe`; a test compares them.
package recipe

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
)

//go:embed recipes/*.json
var files embed.FS

// Recipe connects one identity provider in one way. Its texts may contain the names of [Values] as ${name}.
type Recipe struct {
	Name  string `json:"name"`  // "okta-oin", also the name of the file
	Title string `json:"title"` // the provider and the way
	Page  string `json:"page"`  // the page of docs/identity-providers that explains it, "okta.md"
	// Client is the proposed name of the client.
	Client string `json:"client"`
	// Scimward are the steps at scimward, before those at the provider: commands and parts of the configuration.
	Scimward []string `json:"scimward"`
	// StaticTokens means that the tenant has to allow static tokens.
	StaticTokens bool `json:"static_tokens,omitempty"`
	// Profile is the profile that the tenant needs. Empty: any.
	Profile string `json:"profile,omitempty"`
	// Where is the place of the fields at the provider. Empty: the provider has none.
	Where  string  `json:"where,omitempty"`
	Fields []Field `json:"fields"`
	// Attributes maps attributes of the provider to those of SCIM.
	Attributes []Attribute `json:"attributes,omitempty"`
	// AttributesOf names the recipe with the attributes, if this one has none of its own.
	AttributesOf string `json:"attributes_of,omitempty"`
	// Sequence plays what the provider sends: a name of package scimtest.
	Sequence string `json:"sequence"`
	// URL is the base URL of the SCIM service. For sets it.
	URL string `json:"url,omitempty"`
}

// Field is one value to paste.
type Field struct {
	Label string `json:"label"`
	Value string `json:"value"`
}

// Attribute is one row of an attribute mapping.
type Attribute struct {
	From string `json:"from"` // at the provider
	To   string `json:"to"`   // SCIM
	Note string `json:"note,omitempty"`
}

// Values are the values of one tenant.
type Values struct {
	Tenant       string // its name
	URL          string // its external URL, also the issuer of its tokens
	Profile      string // its policy profile
	StaticTokens bool   // the tenant allows them
}

// SCIM is the base URL of the SCIM service, also the audience of access tokens.
func (v Values) SCIM() string { return v.URL + "/scim/v2" }

func (v Values) fill(client string) *strings.Replacer {
	return strings.NewReplacer("${tenant}", v.Tenant, "${client}", client, "${scim}", v.SCIM(),
		"${issuer}", v.URL, "${token_endpoint}", v.URL+"/oauth/token")
}

// All returns the recipes, sorted by name. It panics when an embedded file is damaged.
func All() []Recipe {
	names, err := fs.Glob(files, "recipes/*.json")
	if err != nil {
		panic(fmt.Sprintf("recipe: listing the embedded recipes: %v", err))
	}
	out := make([]Recipe, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		var r Recipe
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			err = d.Decode(&r)
		}
		if err != nil {
			panic(fmt.Sprintf("recipe: reading the embedded %s: %v", name, err))
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Recipe) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Names returns the names of the recipes, sorted.
func Names() []string {
	var names []string
	for _, r := range All() {
		names = append(names, r.Name)
	}
	return names
}

// Find returns the recipe of a name. The error lists the names that exist.
func Find(name string) (Recipe, error) {
	all := All()
	i := slices.IndexFunc(all, func(r Recipe) bool { return r.Name == name })
	if i < 0 {
		return Recipe{}, fmt.Errorf("there is no recipe %q; there are %s", name, strings.Join(Names(), ", "))
	}
	return all[i], nil
}

// For fills in the values of a tenant. client replaces the proposed name, unless it is empty.
func (r Recipe) For(v Values, client string) Recipe {
	if client != "" {
		r.Client = client
	}
	fill := v.fill(r.Client)
	steps := make([]string, len(r.Scimward))
	for i, s := range r.Scimward {
		steps[i] = fill.Replace(s)
	}
	fields := make([]Field, len(r.Fields))
	for i, f := range r.Fields {
		fields[i] = Field{f.Label, fill.Replace(f.Value)}
	}
	r.Scimward, r.Fields, r.Where, r.URL = steps, fields, fill.Replace(r.Where), v.SCIM()
	return r
}

// Missing says what the configuration of the tenant lacks for the recipe, one sentence each.
func (r Recipe) Missing(v Values) []string {
	var out []string
	if r.StaticTokens && !v.StaticTokens {
		out = append(out, fmt.Sprintf("tenant %s refuses static tokens: write static_tokens: allow", v.Tenant))
	}
	if r.Profile != "" && r.Profile != v.Profile {
		out = append(out, fmt.Sprintf("tenant %s has the profile %s: write profile: %s", v.Tenant, v.Profile, r.Profile))
	}
	return out
}

// Text prints a recipe that For has filled in.
func (r Recipe) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (docs/identity-providers/%s)\n\nAt scimward:\n", r.Title, r.Page)
	for _, s := range r.Scimward {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(s, "\n", "\n  "))
	}
	if r.Where != "" {
		fmt.Fprintf(&b, "\nAt the provider: %s\n", r.Where)
	}
	rows := make([][]string, 0, len(r.Fields))
	for _, f := range r.Fields {
		rows = append(rows, []string{f.Label, f.Value})
	}
	table(&b, rows)
	if r.AttributesOf != "" {
		fmt.Fprintf(&b, "\nAttributes: as `scimward client recipe %s` has them\n", r.AttributesOf)
	} else {
		b.WriteString("\nAttributes:\n")
	}
	rows = rows[:0]
	for _, a := range r.Attributes {
		rows = append(rows, []string{a.From, a.To, a.Note})
	}
	table(&b, rows)
	fmt.Fprintf(&b, "\nTest, in a scratch tenant:\n  scimward conformance idp --profile %s --url %s --token-file FILE\n",
		r.Sequence, r.URL)
	return b.String()
}

// table writes aligned columns, without spaces at the end of a line.
func table(b *strings.Builder, rows [][]string) {
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(tw, "  "+strings.Join(row, "\t")) // writes to memory
	}
	_ = tw.Flush()
	for line := range strings.Lines(text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}
