package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/machine"
)

// What operators do with the shared log while no core runs. A log begins with the state of a store: that of one
// process, when it moves to several, or the copy of a core or a backup, when the log was lost. The log has a new
// identity each time, and its positions continue those of the store.

// reachLog is how long a command waits for the servers of the log.
const reachLog = 30 * time.Second

// errNoLog says that a configuration has no shared log.
var errNoLog = errors.New("cluster.role is not core, so there is no shared log: name the file of a core")

// LogCommand is what the commands of the shared log need.
type LogCommand struct {
	Config   *config.Config // of a core
	Operator string
	Version  string       // of the program
	Logger   *slog.Logger // nil: discard
}

// Serve runs the server of the log of this host, and nothing else, until ctx ends.
func (c *LogCommand) Serve(ctx context.Context) error {
	conf, err := c.conf()
	if err != nil {
		return err
	}
	if c.Config.Cluster.Log.Member.Listen == "" {
		return errors.New("cluster.log.member is empty: the servers of the log run elsewhere")
	}
	member, err := conf.startMember(ctx, c.Config, c.Logger)
	if err != nil {
		return err
	}
	c.Logger.InfoContext(ctx, "serving the shared log", slog.String("listen", c.Config.Cluster.Log.Member.Listen))
	<-ctx.Done()
	member.Stop()
	return nil
}

func (c *LogCommand) conf() (logConf, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if !c.Config.Cluster.Shared() {
		return logConf{}, errNoLog
	}
	return logConfOf(c.Config)
}

// connect reaches the log without beginning one.
func (c *LogCommand) connect(ctx context.Context) (*jetstream.Log, error) {
	conf, err := c.conf()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachLog)
	defer cancel()
	l, err := jetstream.OpenIdle(ctx, conf.options(c.Config, c.Logger))
	if err != nil {
		return nil, fmt.Errorf("no answer from most of the servers of the log within %s; is `scimward log serve` or a core "+
			"running on their hosts? %w", reachLog, err)
	}
	return l, nil
}

// ErrLogNotEmpty says that there is a shared log, so none begins in its place.
var ErrLogNotEmpty = jetstream.ErrNotEmpty

// LogState is what the servers have of the shared log.
type LogState struct {
	jetstream.State
	ID       string // of the log in hexadecimal, empty when none has begun
	Previous string // of the log that it continues, empty for one that began empty
}

func logState(ctx context.Context, l *jetstream.Log) (LogState, error) {
	s, err := l.State(ctx)
	if err != nil || s.Genesis == nil {
		return LogState{State: s}, err
	}
	g, err := machine.ReadGenesis(s.Genesis)
	if err != nil {
		return LogState{}, err
	}
	out := LogState{State: s, ID: fmt.Sprintf("%x", g.ID)}
	if g.Previous != (machine.Genesis{}).Previous {
		out.Previous = fmt.Sprintf("%x", g.Previous)
	}
	return out, nil
}

// Status asks the servers what they have of the log.
func (c *LogCommand) Status(ctx context.Context) (s LogState, err error) {
	l, err := c.connect(ctx)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return logState(ctx, l)
}

// Beginning is what [LogCommand.Migrate] or [LogCommand.Recover] does, or would do.
type Beginning struct {
	Store  string          // the folder of the store that the log begins with
	Backup *store.Manifest // the backup from which the store is made, or nil
	Last   store.Seq       // the newest record of the store before
	ID     string          // of the new log in hexadecimal; empty for a plan
	At     store.Seq       // its first record; zero for a plan
	Before LogState        // the log that was there
	Aside  string          // where a former copy was moved, or empty
	Kept   string          // the backup of the moment that was asked for, or empty
	Later  *store.Later    // what changed after that moment, or nil
}

// Migrate makes an empty shared log begin with the store in the data folder from, or with the backup from. Of a backup
// it makes the copy of this core. It can be repeated after a failure. It fails with ErrLogNotEmpty when there is a
// log, and with store.ErrInUse while a process has the store open.
func (c *LogCommand) Migrate(ctx context.Context, from string) (b Beginning, err error) {
	return c.begin(ctx, from, false, func(b *Beginning, o *store.Origin) error {
		if b.Before.Empty() && (b.Before.ID == "" || o != nil && bytes.Equal(o.Began, b.Before.Genesis)) {
			if b.Before.Begun {
				return errors.New("the shared log has lost its records since the migration: recover it from the copy of a core")
			}
			return nil
		}
		if o != nil && o.Began != nil && bytes.Equal(o.Began, b.Before.Genesis) {
			return nil // begun, Begin finds the same
		}
		return fmt.Errorf("%w: %s", jetstream.ErrNotEmpty, describeLog(&b.Before))
	})
}

// Recover makes the shared log begin anew with the copy of a core in the data folder from, or with the backup from, and
// deletes the former log and its snapshots. With plan it changes nothing and says what it would do.
func (c *LogCommand) Recover(ctx context.Context, from string, plan bool) (b Beginning, err error) {
	b, err = c.begin(ctx, from, true, func(*Beginning, *store.Origin) error {
		if plan {
			return errPlan
		}
		return nil
	})
	if errors.Is(err, errPlan) {
		err = nil
	}
	return b, err
}

var errPlan = errors.New("only a plan")

func describeLog(s *LogState) string {
	if s.Empty() {
		return fmt.Sprintf("the log %s without a record", s.ID)
	}
	return fmt.Sprintf("the log %s with the records %d to %d", s.ID, s.First, s.Last)
}

// begin begins the log, if allowed agrees. o is nil as long as the store of a backup is not made.
func (c *LogCommand) begin(ctx context.Context, from string, replace bool,
	allowed func(b *Beginning, o *store.Origin) error,
) (b Beginning, err error) {
	l, err := c.connect(ctx)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if b.Before, err = logState(ctx, l); err != nil {
		return b, err
	}
	origin, err := c.origin(ctx, &b, from)
	if err != nil {
		return b, err
	}
	if err := allowed(&b, origin); err != nil {
		return b, err
	}
	if origin == nil {
		if err := c.fill(ctx, &b, from, replace); err != nil {
			return b, err
		}
	}
	// An attempt that the servers know goes on. A log that may have been followed does not begin twice.
	same := origin != nil && bytes.Equal(origin.Began, b.Before.Genesis) && (!replace || !b.Before.Begun)
	return b, c.beginWith(ctx, l, &b, !same, replace)
}

// beginWith makes the store of b the beginning of the log.
func (c *LogCommand) beginWith(ctx context.Context, l *jetstream.Log, b *Beginning, anew, replace bool) (err error) {
	if err := os.MkdirAll(c.Config.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	file, err := os.CreateTemp(c.Config.DataDir, "snapshot-")
	if err != nil {
		return fmt.Errorf("making a file for the snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	action, text := "store.migrate", fmt.Sprintf("this store of one process, up to record %d, became a shared log", b.Last)
	if replace {
		action, text = "log.recover", fmt.Sprintf("the shared log began again after record %d; records behind it are lost",
			b.Last)
	}
	began, err := store.BeginShared(ctx, b.Store, c.tenants(), cause(c.Operator, action), text, anew, file, c.Version)
	if err != nil {
		return err
	}
	g, err := machine.ReadGenesis(began.Genesis)
	if err != nil {
		return err
	}
	b.ID, b.At = fmt.Sprintf("%x", g.ID), began.At
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	err = l.Begin(ctx, jetstream.Beginning{
		Genesis: began.Genesis, At: began.At, Snapshot: cluster.SnapshotName(began.At), Content: file, Replace: replace,
	})
	if err != nil {
		return fmt.Errorf("beginning the shared log, repeat the command: %w", err)
	}
	return nil
}

func (c *LogCommand) tenants() (names []string) {
	for i := range c.Config.Tenants {
		names = append(names, c.Config.Tenants[i].Name)
	}
	return names
}

// origin finds the store that the log begins with. It is nil for a backup whose store is not made yet.
func (c *LogCommand) origin(ctx context.Context, b *Beginning, from string) (*store.Origin, error) {
	stat, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("looking for the data folder or the backup: %w", err)
	}
	b.Store = storeIn(from)
	if !stat.IsDir() {
		b.Store = StoreDir(c.Config)
		m, err := checkBackupFile(ctx, from)
		if err != nil {
			return nil, err
		}
		b.Backup, b.Last = &m, m.Position
	}
	o, err := store.Inspect(ctx, b.Store)
	if b.Backup == nil {
		b.Last = o.Last
		return &o, err
	}
	if err != nil {
		return nil, nil //nolint:nilerr // there is none yet, or fill says what is wrong with it
	}
	if o.Began != nil { // an earlier attempt made it from this backup
		g, err := machine.ReadGenesis(o.Began)
		notes := store.Seq(len(c.tenants()))
		if err == nil && g.Previous == b.Backup.Incarnation && o.Last > b.Last && o.Last <= b.Last+notes+1 {
			return &o, nil
		}
	}
	if o.ID == b.Backup.Incarnation && o.Last == b.Last && !o.Shared {
		return &o, nil
	}
	return nil, nil
}

func checkBackupFile(ctx context.Context, path string) (store.Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return store.Manifest{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	m, err := store.CheckBackup(ctx, f)
	if err != nil {
		return store.Manifest{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

// fill makes the store of this core from a backup. aside lets it move a former copy aside.
func (c *LogCommand) fill(ctx context.Context, b *Beginning, from string, aside bool) error {
	if _, err := os.Stat(b.Store); err == nil && aside {
		to, err := store.SetAside(ctx, b.Store)
		if err != nil && !errors.Is(err, store.ErrEmpty) {
			return fmt.Errorf("moving the copy of this core aside: %w", err)
		}
		b.Aside = to
	}
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	if _, err := store.RestoreCopy(ctx, f, b.Store); err != nil {
		return fmt.Errorf("making the store of this core from %s: %w", from, err)
	}
	return nil
}

// Leave makes a store of one process in the data folder to, which has none yet, from the copy of a core in the data
// folder from or, if from is empty, from the shared log itself. It refuses while cores write to the log: they would
// know changes that the new store does not have. In the log it looks for a lease whether one does. Of a copy it knows
// only which cores have not left, and refuses then, unless force is set.
func (c *LogCommand) Leave(ctx context.Context, from, to string, force bool) (m store.Manifest, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(to)), "leaving-")
	if err != nil {
		return m, fmt.Errorf("making a folder for the copy: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir := storeIn(from)
	if from == "" {
		dir = filepath.Join(temp, "store")
		if err := c.fetch(ctx, dir); err != nil {
			return m, err
		}
	}
	o, err := store.Inspect(ctx, dir)
	if err != nil {
		return m, err
	}
	if !o.Shared {
		return m, fmt.Errorf("%s is no copy of a shared log: it is a store of one process already", dir)
	}
	if from != "" && len(o.Cores) > 0 && !force {
		return m, &CoresError{Cores: o.Cores}
	}
	file, err := os.Create(filepath.Join(temp, "backup"))
	if err != nil {
		return m, fmt.Errorf("making a file for the copy: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := store.BackupOf(ctx, dir, c.tenants(), file, c.Version); err != nil {
		return m, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	return store.Restore(ctx, file, storeIn(to), cause(c.Operator, "store.migrate"))
}

// CoresError says that cores have not left the log.
type CoresError struct{ Cores []store.Core }

func (e *CoresError) Error() string {
	names := make([]string, len(e.Cores))
	for i, core := range e.Cores {
		names[i] = core.Name
	}
	return fmt.Sprintf("the cores %q have not left the shared log", names)
}

// fetch makes a copy of the whole shared log in dir: the newest snapshot and the records behind it.
func (c *LogCommand) fetch(ctx context.Context, dir string) (err error) {
	idle, err := c.connect(ctx)
	if err != nil {
		return err
	}
	s, err := idle.State(ctx)
	if err := errors.Join(err, idle.Close()); err != nil {
		return err
	}
	if s.Empty() {
		return errors.New("the shared log has no records")
	}
	conf, err := c.conf()
	if err != nil {
		return err
	}
	l, err := jetstream.Open(ctx, conf.options(c.Config, c.Logger))
	if err != nil {
		return fmt.Errorf("connecting to the shared log: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if s.First > 1 {
		all, err := cluster.ListSnapshots(ctx, l)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return cluster.ErrNoSnapshot
		}
		if err := cluster.ReadSnapshot(ctx, l, all[len(all)-1].Name, dir); err != nil {
			return err
		}
	}
	o := storeOptions(c.Config)
	o.Dir, o.Shared, o.Logger, o.SweepEvery = dir, l, c.Logger, 24*time.Hour // it only reads
	opened, err := store.Open(ctx, o)
	if err != nil {
		return fmt.Errorf("reading the shared log: %w", err)
	}
	return errors.Join(silent(ctx, opened), opened.Close())
}

// silent returns nil when no core writes to the log: none sends a heartbeat for the lease of those that have not left.
func silent(ctx context.Context, s *store.Store) error {
	_, before, err := s.Cores(ctx)
	if err != nil || len(before) == 0 {
		return err
	}
	lease := time.Duration(0)
	seen := map[string]uint64{}
	for _, core := range before {
		lease, seen[core.ID] = max(lease, core.Lease), core.Number
	}
	wait := time.NewTimer(lease + lease/50)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, after, err := s.Cores(ctx)
	if err != nil {
		return err
	}
	var alive []store.Core
	for _, core := range after {
		if n, known := seen[core.ID]; !known || n != core.Number {
			alive = append(alive, core)
		}
	}
	if len(alive) > 0 {
		return &CoresError{Cores: alive}
	}
	return nil
}
