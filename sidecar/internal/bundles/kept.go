package bundles

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/durable"
)

// extension ends the name of a kept bundle.
const extension = ".tar.gz"

// maxKept is how many revisions of a tenant stay, the active one among them.
const maxKept = 10

// kept is the state of a tenant on disk: the exact bytes of each revision in a file of their own, named by their
// digest, and this index. The index is replaced at once, after the bytes are durable.
type kept struct {
	dir  string
	disk durable.Disk

	Active string  `json:"active"`           // digest of the bundle in force, "" for none
	Serial uint64  `json:"serial"`           // the highest that was ever in force
	Pinned bool    `json:"pinned,omitempty"` // by a rollback: a fetched bundle needs a higher serial than Serial
	After  string  `json:"after,omitempty"`  // revision that this rollback removed, "" for none
	All    []Entry `json:"revisions"`        // the newest last
}

// Entry is a revision that was in force.
type Entry struct {
	SHA256    string    `json:"sha256"`
	Revision  string    `json:"revision"`
	Serial    uint64    `json:"serial"`
	Signed    bool      `json:"signed"`
	Activated time.Time `json:"activated"`
	// LocalWrites are the routes that the bundle denies in the applications.
	LocalWrites policies.LocalWrites `json:"local_writes,omitempty"`
	// RolledBack says that a rollback removed it. It comes back only by its name.
	RolledBack bool `json:"rolled_back,omitempty"`
}

// readKept reads the state of a tenant, and reports whether there is any: a folder without bundles and without an
// index has none. If the index of bundles is lost, it returns an error, and the bundles without one in force.
func readKept(dir string, disk durable.Disk) (k *kept, found bool, err error) {
	k = &kept{dir: dir, disk: disk}
	b, err := os.ReadFile(k.indexFile())
	if errors.Is(err, fs.ErrNotExist) && len(k.files()) == 0 {
		return k, false, nil
	}
	if err == nil {
		err = k.parse(b)
	}
	if err == nil {
		return k, true, nil
	}
	k = &kept{dir: dir, disk: disk}
	k.list()
	return k, true, fmt.Errorf("the index of the kept bundles is lost: %w. `scimward policy status --tenant %s` lists "+
		"the bundles: put one in force with `scimward policy rollback`, or push one with a higher serial. "+
		"Or restore index.json and restart scimward", err, filepath.Base(dir))
}

// parse reads an index. One without its members is none: it must not look like that of a tenant that never had a
// bundle.
func (k *kept) parse(index []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(index, &members); err != nil {
		return err
	}
	for _, name := range []string{"active", "serial", "revisions"} {
		if members[name] == nil {
			return fmt.Errorf("index.json has no %q", name)
		}
	}
	if err := json.Unmarshal(index, k); err != nil {
		return err
	}
	never := k.Active == "" && k.Serial == 0 && len(k.All) == 0
	if !never && k.index(k.Active) < 0 {
		return errors.New("index.json does not list the bundle in force")
	}
	return nil
}

// files are the bundles of the folder.
func (k *kept) files() []string {
	names, err := filepath.Glob(k.file("*"))
	if err != nil {
		return nil
	}
	return names
}

// list takes the bundles of the folder over without an index, by their serials. A damaged one is left out.
func (k *kept) list() {
	for _, name := range k.files() {
		raw, err := k.read(strings.TrimSuffix(filepath.Base(name), extension))
		if err != nil {
			continue
		}
		b, err := bundle.ReadUnverified(raw) // a rollback verifies it
		if err != nil {
			continue
		}
		e := Entry{SHA256: b.SHA256, Revision: b.Revision, Serial: b.Serial, Signed: b.Signed}
		if info, err := os.Stat(name); err == nil {
			e.Activated = info.ModTime().UTC()
		}
		k.All, k.Serial = append(k.All, e), max(k.Serial, b.Serial)
	}
	slices.SortFunc(k.All, func(a, b Entry) int { return cmp.Compare(a.Serial, b.Serial) })
}

func (k *kept) indexFile() string { return filepath.Join(k.dir, "index.json") }

func (k *kept) file(sum string) string { return filepath.Join(k.dir, sum+extension) }

// index returns the place of a revision in All, -1 if it is not kept.
func (k *kept) index(sum string) int {
	return slices.IndexFunc(k.All, func(e Entry) bool { return e.SHA256 == sum })
}

// read returns the bytes of a revision. They are those that came into force, or it fails.
func (k *kept) read(sum string) ([]byte, error) {
	raw, err := os.ReadFile(k.file(sum))
	if err != nil {
		return nil, fmt.Errorf("reading a kept bundle: %w", err)
	}
	if got := sha256.Sum256(raw); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("the kept bundle %s was changed on disk", k.file(sum))
	}
	return raw, nil
}

// with returns the state after e comes into force.
func (k *kept) with(e Entry, pinned bool) *kept {
	next := &kept{dir: k.dir, disk: k.disk, Active: e.SHA256, Serial: max(k.Serial, e.Serial), Pinned: pinned}
	next.All = slices.DeleteFunc(slices.Clone(k.All), func(o Entry) bool { return o.SHA256 == e.SHA256 })
	if i := k.index(k.Active); pinned && i >= 0 && k.Active != e.SHA256 {
		next.After = k.All[i].Revision
		for j := range next.All {
			next.All[j].RolledBack = next.All[j].RolledBack || next.All[j].SHA256 == k.Active
		}
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

// begin writes the index of a tenant that never had a bundle. It comes before the audit record of the first one, so
// that a crash in between does not look like a loss.
func (k *kept) begin() error {
	if err := k.disk.MakeDir(k.dir); err != nil {
		return err
	}
	return k.saveIndex()
}

// save writes the bytes of the active revision and then the index, both durably. It removes what the index does not
// name any more. Wherever it stops, the folder has the former state or the new one.
func (k *kept) save(raw []byte) error {
	if err := k.disk.MakeDir(k.dir); err != nil {
		return err
	}
	if err := k.disk.Replace(k.file(k.Active), raw); err != nil {
		return err
	}
	if err := k.saveIndex(); err != nil {
		return err
	}
	k.sweep()
	return nil
}

func (k *kept) saveIndex() error {
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return k.disk.Replace(k.indexFile(), append(b, '\n'))
}

// sweep removes what the index does not name. What stays is removed the next time.
func (k *kept) sweep() {
	for _, pattern := range []string{"*" + extension, "*" + durable.New} {
		files, err := filepath.Glob(filepath.Join(k.dir, pattern))
		if err != nil {
			return
		}
		for _, f := range files {
			named := func(e Entry) bool { return k.file(e.SHA256) == f }
			if slices.ContainsFunc(k.All, named) {
				continue
			}
			_ = k.disk.Remove(f)
		}
	}
}
