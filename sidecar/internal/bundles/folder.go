package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// Versions that kept the bundles of each tenant in a folder had an index in it, and the exact bytes of each revision in
// a file named by its digest.

// readFolder reads such a folder. Without bundles and without an index there is nothing, and k is nil. Revisions
// that cannot be read are left out, but for the one that was in force.
func readFolder(dir string) (k *kept, bytes map[string][]byte, err error) {
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if files, _ := filepath.Glob(filepath.Join(dir, "*.tar.gz")); len(files) == 0 {
			return nil, nil, nil
		}
	}
	if err == nil {
		k, err = parseKept(index)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the index of the bundles in %s: %w", dir, err)
	}
	bytes = map[string][]byte{}
	for _, e := range k.All {
		raw, err := os.ReadFile(filepath.Join(dir, e.SHA256+".tar.gz"))
		if sum := sha256.Sum256(raw); err == nil && hex.EncodeToString(sum[:]) != e.SHA256 {
			err = errors.New("it was changed on disk")
		}
		if err == nil {
			bytes[e.SHA256] = raw
		} else if e.SHA256 == k.Active {
			return nil, nil, fmt.Errorf("the bundle that was in force, %s in %s: %w", e.Name(), dir, err)
		}
	}
	k.All = slices.DeleteFunc(k.All, func(e Entry) bool { return bytes[e.SHA256] == nil })
	for i := range k.All {
		if k.All[i].SHA256 != k.Active {
			k.All[i].LocalWrites = nil
		}
	}
	return k, bytes, nil
}

// TakeOver puts the bundles that a former version kept in folders below dir into the log, for each tenant whose folder
// has a higher serial than the log. It comes after Apply and before SetTenants. The folders stay, for a way back to the
// former version.
func (m *Manager) TakeOver(ctx context.Context, dir string, tenants []Tenant, record Record) {
	for _, t := range tenants {
		if err := m.takeOver(ctx, filepath.Join(dir, t.Name), t.Name, record); err != nil {
			m.folderFaults[t.Name] = err
			m.o.Logger.LogAttrs(ctx, slog.LevelError, "the bundles of a former version are not taken over",
				slog.String("tenant", t.Name), slog.String("error", err.Error()))
		}
	}
}

func (m *Manager) takeOver(ctx context.Context, dir, tenant string, record Record) error {
	k, bytes, err := readFolder(dir)
	if err != nil || k == nil || k.Active == "" {
		return err
	}
	for {
		m.mu.Lock()
		d := m.documents[tenant]
		m.mu.Unlock()
		if d.Version > 0 {
			if now, err := parseKept(d.Content); err != nil || now.Serial >= k.Serial {
				return err
			}
		}
		c, err := k.change(d.Version, bytes)
		if err != nil {
			return err
		}
		err = record(ctx, tenant, c)
		if err == nil {
			m.o.Logger.LogAttrs(ctx, slog.LevelInfo, "took over the policy bundles of a former version",
				slog.String("tenant", tenant), slog.String("revision", c.Name()), slog.String("from", dir))
		}
		if !errors.Is(err, ErrOvertaken) || ctx.Err() != nil {
			return err
		}
	}
}
