package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/store"
)

func newBackup() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "backup -o FILE",
		Short: "copy the store of a running scimward to a file",
		Long: `Asks the running scimward for one consistent copy while it serves, checks every hash
of it, and writes the file with mode 0600. The file contains the users and the signing
keys of all tenants: protect it like the data folder, and encrypt it before it leaves
the machine. It does not overwrite.`,
		Args: noArgs,
	}
	file := configFlag(c)
	c.Flags().StringVarP(&to, "output", "o", "", "the backup `FILE` to write; required")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if to == "" {
			return usage(errors.New("-o FILE is missing: name the backup"))
		}
		client, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		m, err := client.backup(c.Context(), to)
		if err != nil {
			return err
		}
		return result(c, *asJSON, m, fmt.Sprintf("%s: record %d at %s, %d keys, tenants %v\n",
			to, m.Position, m.Time.Format(time.RFC3339), m.Keys, m.Tenants))
	}
	return c
}

// backup writes a backup to a file that does not exist yet.
func (c *adminClient) backup(ctx context.Context, to string) (m store.Manifest, err error) {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%s exists, and a backup does not overwrite: choose another name", to)
	}
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".part-") // mode 0600
	if err != nil {
		return m, fmt.Errorf("making the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	body, err := c.stream(ctx, "/v1/backup")
	if err != nil {
		return m, err
	}
	defer body.Close() //nolint:errcheck // read only
	m, err = store.CheckBackup(ctx, io.TeeReader(body, f))
	if err != nil {
		return m, hinted(fmt.Errorf("receiving the backup: %w", err), "see the log of scimward, then ask again")
	}
	if err = f.Sync(); err != nil {
		return m, fmt.Errorf("writing the backup: %w", err)
	}
	if err = os.Link(f.Name(), to); err != nil { // unlike a rename, a link does not overwrite
		return m, fmt.Errorf("naming the backup: %w", err)
	}
	return m, errors.Join(f.Close(), os.Remove(f.Name()))
}

func newRestore() *cobra.Command {
	var compare, records, moment string
	c := &cobra.Command{
		Use:   "restore FILE DIR [--until RECORD|TIME [--log OLD]]",
		Short: "make the store of a data folder from a backup",
		Long: `Checks the whole backup, makes the store in the data folder DIR, and verifies it like
` + "`scimward store verify`" + `. It overwrites nothing: move an old store and its witness away first.

Who was deactivated after the backup has access again until the identity service sends
the deactivation again. Operators' locks, clients, static tokens, pauses and signing keys
are those of the backup too: end again what you ended later. With --compare the command
reads these users and clients from the old data folder, as far as it can be read. It stays
as it is.

With --until it makes the store as it was after a record, or before the first change after
a time such as 2026-01-31T03:00:00Z: from the backup and the records in the old data folder
--log, or from the records in the backup alone if it has all since the first. It lists who
was deactivated after that. If the moment cannot be reached, it names the nearest ones.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("write `%s FILE DIR`: the backup and the data folder", c.CommandPath())
			}
			return nil
		},
	}
	asJSON := jsonFlag(c)
	c.Flags().StringVar(&compare, "compare", "", "the old data folder `OLD`, damaged or not")
	c.Flags().StringVar(&moment, "until", "", "as it was after a `RECORD` or before a time (RFC 3339)")
	c.Flags().StringVar(&records, "log", "", "with --until: the old data folder `OLD` with the records after the backup")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case moment != "" && compare != "":
			return usage(errors.New("--compare and --until: with --until, --log names the old data folder"))
		case moment != "":
			return restoreUntil(c, args[0], args[1], records, moment, *asJSON)
		case records != "":
			return usage(errors.New("--log is for --until; without it, --compare names the old data folder"))
		}
		return restore(c, args[0], args[1], compare, *asJSON)
	}
	return c
}

func restore(c *cobra.Command, file, dir, compare string, asJSON bool) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	m, err := sidecar.Restore(c.Context(), f, dir, operator())
	if errors.Is(err, store.ErrBadBackup) {
		return hinted(fmt.Errorf("restoring %s: %w", file, err), "use another backup; nothing was written")
	}
	if err != nil {
		return fmt.Errorf("restoring %s: %w", file, err)
	}
	at := m.Time.Format(time.RFC3339)
	doc := map[string]any{"restored": m}
	text := fmt.Sprintf("restored and verified: record %d at %s, %d keys, tenants %v\n", m.Position, at, m.Keys, m.Tenants)
	if compare == "" {
		return result(c, asJSON, doc, text+fmt.Sprintf("Whoever was deactivated or locked after %s has access again, and so "+
			"have clients, static tokens and signing keys that were ended later. Compare with "+
			"the old data folder (--compare) to see who, and let the identity service push all users "+
			"before you open Envoy.\n", at))
	}
	later, err := sidecar.LocksAfter(c.Context(), compare, m)
	if err != nil {
		return fmt.Errorf("comparing with %s: %w", compare, err)
	}
	doc["locks_after"], doc["complete"], doc["up_to"] = later.Locks, later.All, later.To
	return result(c, asJSON, doc, text+laterText(compare, &later))
}

// momentOf reads the value of --until: a record or a time.
func momentOf(text string) (store.Moment, error) {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
		return store.Moment{Record: store.Seq(n)}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return store.Moment{}, usage(fmt.Errorf("--until %q is neither a record, such as 4711, nor a time, such as "+
			"2026-01-31T03:00:00Z", text))
	}
	return store.Moment{Time: at}, nil
}

func restoreUntil(c *cobra.Command, file, dir, old, moment string, asJSON bool) error {
	until, err := momentOf(moment)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	m, later, err := sidecar.RestoreUntil(c.Context(), f, dir, old, until, operator(), version())
	if err != nil {
		return fmt.Errorf("restoring %s: %w", file, unreachable(err))
	}
	doc := map[string]any{"restored": m, "locks_after": later.Locks, "complete": later.All, "up_to": later.To}
	return result(c, asJSON, doc, fmt.Sprintf("restored and verified: record %d, its newest change of %s, %d keys, "+
		"tenants %v\n", m.Position, m.Time.Format(time.RFC3339), m.Keys, m.Tenants)+laterText(old, &later))
}

// unreachable adds what to do to the error of a moment that cannot be reached.
func unreachable(err error) error {
	var cannot *store.UnreachableError
	if errors.As(err, &cannot) {
		return hinted(err, "choose one of the nearest moments, or name an older backup or a folder with more records")
	}
	return err
}

// laterText says who was deactivated after the backup, as far as the old data folder knows.
func laterText(old string, later *store.Later) string {
	text := ""
	if later.Err != nil {
		text = fmt.Sprintf("%s cannot be read (%v), so the list is from its witness.\n", old, later.Err)
	}
	return text + fmt.Sprintf("after the backup, up to record %d: changes that the restored store does not have\n"+
		"%s\nLet the identity service push all users before you open Envoy. Lock, disable and pause again what is "+
		"listed, and drop signing keys again that you dropped.\n", later.To, lockChanges(later.Locks, later.All))
}
