package policies

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/scimward/scimward/store/scim"
)

//go:embed overlays/*.json
var overlayFiles embed.FS

// Overlay is what one kind of identity service needs beyond a profile, as data: a file of overlays/.
type Overlay struct {
	Name  string `json:"-"`     // of the file without its ending, "entra"
	Title string `json:"title"` // "Microsoft Entra ID with its default settings"
	// Parse says what the parser accepts although it needs a guess.
	Parse scim.Mode `json:"parse"`
	// Rules has, by profile, the mode of each rule that is not enforced.
	Rules map[string]map[string]Mode `json:"rules"`
	// Notes say for people what it accepts.
	Notes []Note `json:"notes"`
}

// Note is one thing that an overlay accepts.
type Note struct {
	Accepts string `json:"accepts"`
	Why     string `json:"why"`
	Cost    string `json:"cost"` // in safety
}

// Overlays returns the shipped overlays, sorted by name. They are read-only. It panics when an embedded file is
// damaged.
func Overlays() []Overlay { return slices.Clone(shippedOverlays()) }

// shippedOverlays reads the files once.
//
//nolint:gochecknoglobals // never changes
var shippedOverlays = sync.OnceValue(readOverlays)

func readOverlays() []Overlay {
	files, err := overlayFiles.ReadDir("overlays")
	if err != nil {
		panic(fmt.Sprintf("policies: reading the embedded overlays: %v", err))
	}
	var out []Overlay
	for _, f := range files {
		text, err := overlayFiles.ReadFile("overlays/" + f.Name())
		o := Overlay{Name: strings.TrimSuffix(f.Name(), ".json")}
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			err = d.Decode(&o)
		}
		if err != nil {
			panic(fmt.Sprintf("policies: reading the embedded overlay %s: %v", f.Name(), err))
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Overlay) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// OverlayNames names the shipped overlays, sorted.
func OverlayNames() []string {
	var names []string
	for _, o := range Overlays() {
		names = append(names, o.Name)
	}
	return names
}

// Dialect is how a profile applies to one client: a profile with the overlays of the client. It does not
// change. Nil is the profile without overlays.
type Dialect struct {
	profile  string
	overlays []string
	parse    scim.Mode
	modes    map[string]Mode
	encoded  []byte // modes as a writer writes them
}

// NewDialect joins overlays of a profile: the client may do what any of them allows. The error names an
// unknown overlay.
func NewDialect(profile string, overlays ...string) (*Dialect, error) {
	d := &Dialect{profile: profile, overlays: slices.Sorted(slices.Values(overlays)), modes: map[string]Mode{}}
	shipped := Overlays()
	for _, name := range overlays {
		i := slices.IndexFunc(shipped, func(o Overlay) bool { return o.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("policies: there is no overlay %q; the overlays are %s",
				name, strings.Join(OverlayNames(), ", "))
		}
		d.parse = d.parse.Merge(shipped[i].Parse)
		for rule, mode := range shipped[i].Rules[profile] {
			if rank(mode) > rank(d.modes[rule]) {
				d.modes[rule] = mode
			}
		}
	}
	d.encoded = encodeModes(d.modes)
	return d, nil
}

func encodeModes(modes map[string]Mode) []byte {
	var w writer
	w.open('{')
	for _, rule := range slices.Sorted(maps.Keys(modes)) {
		w.put(kindText, rule)
		w.put(kindText, string(modes[rule]))
	}
	w.shut('}')
	return w.buf
}

// encodedModes returns what the rules see of d.
func (d *Dialect) encodedModes() []byte {
	if d == nil {
		return []byte("{}")
	}
	return d.encoded
}

// Accepting names the overlays whose mode of the parser passes a test, sorted.
func Accepting(passes func(scim.Mode) bool) []string {
	var names []string
	for _, o := range Overlays() {
		if passes(o.Parse) {
			names = append(names, o.Name)
		}
	}
	return names
}

// relaxing lists, by profile and rule, the overlays under which the rule is not enforced, sorted.
func relaxing() map[string]map[string][]string {
	out := map[string]map[string][]string{}
	for _, o := range Overlays() {
		for profile, rules := range o.Rules {
			if out[profile] == nil {
				out[profile] = map[string][]string{}
			}
			for rule := range rules {
				out[profile][rule] = append(out[profile][rule], o.Name)
			}
		}
	}
	return out
}

// Overlays names the overlays, sorted.
func (d *Dialect) Overlays() []string {
	if d == nil {
		return nil
	}
	return d.overlays
}

// Parse says what the parser accepts although it needs a guess.
func (d *Dialect) Parse() scim.Mode {
	if d == nil {
		return scim.Mode{}
	}
	return d.parse
}

// Modes has the mode of each rule that is not enforced. The map is read-only.
func (d *Dialect) Modes() map[string]Mode {
	if d == nil {
		return nil
	}
	return d.modes
}
