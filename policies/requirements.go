package policies

// Requirement is one normative line of the IPSIE IL1 SCIM profile.
type Requirement struct {
	ID      string   `json:"id"`
	Section string   `json:"section"`
	Level   string   `json:"level"`
	Text    string   `json:"text"`
	Where   []string `json:"where"`
	Rules   []string `json:"rules,omitempty"`
	Tests   []string `json:"tests,omitempty"`
	Missing string   `json:"missing,omitempty"`
}

// Requirements lists every requirement of the profile in the order of its text.
func Requirements() []Requirement { return nil }
