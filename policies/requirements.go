package policies

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:embed requirements/*.json
var requirementFiles embed.FS

// Requirement is one normative line of the text of a profile, in our own words.
type Requirement struct {
	ID      string   `json:"id"`      // "IL1-3.3.3-op"; the id of the rule that enforces it, if any
	Section string   `json:"section"` // of the profile's text, "3.3.3"
	Level   string   `json:"level"`   // the word of the text: "must", "shall", "should" or "may"
	Text    string   `json:"text"`    // one sentence
	Where   []Place  `json:"where"`   // what enforces it, in the order of a request
	Rules   []string `json:"rules,omitempty"`
	Tests   []string `json:"tests,omitempty"`   // "sidecar/internal/oauth:TestMetadata"
	Missing string   `json:"missing,omitempty"` // what is not proved yet; may be empty
}

// Place is a part of the system that enforces a requirement.
type Place string

// The places.
const (
	PlaceRego     Place = "rego"     // a rule of the profile
	PlaceAuthz    Place = "authz"    // the decision on a request
	PlaceToken    Place = "token"    // validation of access tokens
	PlaceOAuth    Place = "oauth"    // the authorization server
	PlaceSCIMHTTP Place = "scimhttp" // the SCIM service
	PlaceStore    Place = "store"    // the record that makes the change
	PlaceRevoke   Place = "revoke"   // revocation in the application
	PlaceEnvoy    Place = "envoy"    // the proxy's configuration
	PlaceDocs     Place = "docs"     // guidance for operators
	PlaceClient   Place = "client"   // the identity service; no service can enforce it
)

// ClientOnly reports whether the requirement binds the identity service alone, so that
// scimward can neither enforce nor prove it.
func (r Requirement) ClientOnly() bool {
	return !slices.ContainsFunc(r.Where, func(p Place) bool { return p != PlaceClient })
}

// Requirements lists every requirement of a shipped profile in the order of its text. The result belongs to
// the caller. It panics for an unknown profile and when the embedded list is damaged.
func Requirements(profile string) []Requirement {
	text, err := requirementFiles.ReadFile("requirements/" + profile + ".json")
	var list []Requirement
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		panic(fmt.Sprintf("policies: reading the embedded requirements of %s: %v", profile, err))
	}
	return list
}
