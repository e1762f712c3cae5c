package bundles

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
)

// maxKept is how many revisions of a tenant stay, the active one among them.
const maxKept = 10

// maxWrites bounds the local writes of the active bundle in a document, in bytes of JSON.
const maxWrites = 128 << 10

// kept is what every process of an installation knows of the bundles of a tenant: a document of the log. It does not
// change.
type kept struct {
	Active string  `json:"active"`           // digest of the bundle in force, "" for none
	Serial uint64  `json:"serial"`           // the highest that was ever in force
	Pinned bool    `json:"pinned,omitempty"` // by a rollback: a fetched bundle needs a higher serial than Serial
	After  string  `json:"after,omitempty"`  // revision that this rollback removed, "" for none
	All    []Entry `json:"revisions"`        // the newest last

	version uint64 // of the document; zero: there is none
}

// Entry is a revision that was in force.
type Entry struct {
	SHA256    string    `json:"sha256"`
	Revision  string    `json:"revision"`
	Serial    uint64    `json:"serial"`
	Signed    bool      `json:"signed"`
	Activated time.Time `json:"activated"`
	// LocalWrites are the routes that the bundle denies in the applications. Only the active one has them.
	LocalWrites policies.LocalWrites `json:"local_writes,omitempty"`
	// RolledBack says that a rollback removed it. It comes back only by its name.
	RolledBack bool `json:"rolled_back,omitempty"`
}

// Name is the name of the bundle in decisions, as in bundle.Bundle.
func (e *Entry) Name() string { return e.Revision + "@" + e.SHA256[:min(12, len(e.SHA256))] }

// parseKept reads a document. One without its members is none: it must not look like that of a tenant that never had
// a bundle.
func parseKept(document []byte) (*kept, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		return nil, fmt.Errorf("reading what is known of the bundles: %w", err)
	}
	for _, name := range []string{"active", "serial", "revisions"} {
		if members[name] == nil {
			return nil, fmt.Errorf("what is known of the bundles has no %q", name)
		}
	}
	k := &kept{}
	if err := json.Unmarshal(document, k); err != nil {
		return nil, fmt.Errorf("reading what is known of the bundles: %w", err)
	}
	never := k.Active == "" && k.Serial == 0 && len(k.All) == 0
	if !never && k.index(k.Active) < 0 {
		return nil, errors.New("what is known of the bundles does not list the one in force")
	}
	return k, nil
}

// index returns the place of a revision in All, -1 if it is not kept.
func (k *kept) index(sum string) int {
	return slices.IndexFunc(k.All, func(e Entry) bool { return e.SHA256 == sum })
}

// active returns the revision in force, the zero value for none.
func (k *kept) active() Entry {
	if i := k.index(k.Active); i >= 0 && k.Active != "" {
		return k.All[i]
	}
	return Entry{}
}

// with returns the state after e comes into force.
func (k *kept) with(e Entry, pinned bool) *kept {
	next := &kept{Active: e.SHA256, Serial: max(k.Serial, e.Serial), Pinned: pinned}
	next.All = slices.DeleteFunc(slices.Clone(k.All), func(o Entry) bool { return o.SHA256 == e.SHA256 })
	if i := k.index(k.Active); pinned && i >= 0 && k.Active != e.SHA256 {
		next.After = k.All[i].Revision
		for j := range next.All {
			next.All[j].RolledBack = next.All[j].RolledBack || next.All[j].SHA256 == k.Active
		}
	}
	for j := range next.All {
		next.All[j].LocalWrites = nil
	}
	next.All = append(next.All, e)
	if over := len(next.All) - maxKept; over > 0 {
		next.All = slices.Delete(next.All, 0, over)
	}
	return next
}

// rolledBack reports whether an operator went back from this bundle. It is no news if the source still has it.
func (k *kept) rolledBack(sum string) bool { return k.Pinned && k.index(sum) >= 0 }

// earlier returns the place of the revision that a rollback without a name brings: of those with a lower serial than
// the active one, the highest that no rollback removed. -1 is none.
func (k *kept) earlier() int {
	best, active := -1, k.index(k.Active)
	for i, e := range k.All {
		lower := e.SHA256 != k.Active && (active < 0 || e.Serial < k.All[active].Serial)
		if lower && !e.RolledBack && (best < 0 || e.Serial > k.All[best].Serial) {
			best = i
		}
	}
	return best
}

// minDigest is how many characters of a digest name a revision.
const minDigest = 6

// named returns the place of the newest revision with this name, or else of the one whose digest begins with it. -1 is
// none.
func (k *kept) named(name string) int {
	found := -1
	for i, e := range slices.Backward(k.All) {
		if e.Revision == name {
			return i
		}
		if len(name) >= minDigest && strings.HasPrefix(e.SHA256, name) {
			found = i
		}
	}
	return found
}

// change describes the change to the state k, for the log.
func (k *kept) change(version uint64, bytes map[string][]byte) (Change, error) {
	document, err := json.Marshal(k)
	if err != nil {
		return Change{}, fmt.Errorf("writing what is known of the bundles: %w", err)
	}
	c := Change{Entry: k.active(), Rollback: k.Pinned, Bundles: bytes, Document: document, Version: version}
	for i := range k.All {
		c.Keep = append(c.Keep, k.All[i].SHA256)
	}
	return c, nil
}
