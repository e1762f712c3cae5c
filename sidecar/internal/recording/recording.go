// Package recording keeps what the rules of a tenant saw of its requests, so that another bundle can be tried on
// them. It is the only place with names and bodies of past requests: each entry is sealed with AES-256-GCM, and
// nothing in here writes one to a log. A tenant has at most so many bytes as it allows, and no entry of more than
// seven days.
package recording

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds.
const (
	maxAge    = 7 * 24 * time.Hour
	maxSpan   = 6 * time.Hour // of the entries in one file: a file goes as a whole
	maxEntry  = 256 << 10     // bytes of an entry
	segments  = 8             // files that a tenant's bytes are shared among
	waiting   = 1024          // entries that wait to be written,
	maxWaits  = 32 << 20      // and bytes of their documents: a slow disk must not fill the memory
	pruneTime = 10 * time.Minute
	extension = ".rec"
)

// Entry is what the rules saw of one request.
type Entry struct {
	ID       string          `json:"id"` // of the decision
	Time     time.Time       `json:"time"`
	Client   string          `json:"client"`
	Route    string          `json:"route"`
	Resource string          `json:"resource,omitempty"` // SCIM id
	Profile  string          `json:"profile"`
	Allowed  bool            `json:"allowed"`
	Rules    []string        `json:"rules,omitempty"` // that were violated and enforced
	Final    bool            `json:"final"`           // the document has the stored resource and the resulting one
	Document json.RawMessage `json:"document"`
}

// Options are what a Store needs. All are required.
type Options struct {
	Dir     string
	Key     []byte // 32 bytes
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Store is safe for concurrent use.
type Store struct {
	o       Options
	aead    cipher.AEAD
	entries *prometheus.CounterVec
	queue   chan item
	waits   atomic.Int64                       // bytes of the documents in queue
	on      atomic.Pointer[map[string]*tenant] // tenants, for requests

	mu      sync.Mutex // guards the map, and the files while they are written, read or removed
	tenants map[string]*tenant
}

type item struct {
	tenant string
	entry  Entry
}

// tenant is a tenant that records.
type tenant struct {
	max  int64
	open *os.File // nil: the next entry begins a file
	size int64
	from time.Time
}

// New makes a Store without tenants.
func New(o Options) (*Store, error) {
	block, err := aes.NewCipher(o.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the recordings: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("reading the key of the recordings: %w", err)
	}
	s := &Store{
		o: o, aead: aead, queue: make(chan item, waiting), tenants: map[string]*tenant{},
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scimward_policy_recordings_total",
			Help: "Requests whose rule input was to be recorded, by tenant and outcome: kept, dropped, too_large, failed.",
		}, []string{"tenant", "outcome"}),
	}
	o.Metrics.MustRegister(s.entries)
	s.on.Store(&s.tenants)
	return s, nil
}

// Configure names the tenants that record, and the bytes of each. The recordings of other tenants are removed.
func (s *Store) Configure(tenants map[string]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	next := map[string]*tenant{}
	for name, size := range tenants {
		if next[name] = s.tenants[name]; next[name] == nil {
			next[name] = &tenant{}
		}
		next[name].max = size
	}
	for name, t := range s.tenants {
		if next[name] == nil {
			errs = append(errs, t.close())
		}
	}
	s.tenants = next
	s.on.Store(&next)
	dirs, err := os.ReadDir(s.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, d := range dirs {
		if d.IsDir() && next[d.Name()] == nil {
			errs = append(errs, os.RemoveAll(filepath.Join(s.o.Dir, d.Name())))
		}
	}
	for name := range next {
		errs = append(errs, s.prune(name))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing recordings: %w", err)
	}
	return nil
}

// On reports whether a tenant records. It never waits.
func (s *Store) On(name string) bool { return (*s.on.Load())[name] != nil }

// Add records a request. It never waits: without room the entry is dropped and counted.
func (s *Store) Add(tenant string, e *Entry) {
	size := int64(len(e.Document))
	if size > maxEntry {
		s.entries.WithLabelValues(tenant, "too_large").Inc()
		return
	}
	if s.waits.Add(size) <= maxWaits {
		select {
		case s.queue <- item{tenant, *e}:
			return
		default:
		}
	}
	s.waits.Add(-size)
	s.entries.WithLabelValues(tenant, "dropped").Inc()
}

// Run writes entries, and removes what is too old, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(pruneTime)
	defer tick.Stop()
	for {
		select {
		case i := <-s.queue:
			s.write(ctx, &i)
		case <-tick.C:
			s.pruneAll(ctx)
		case <-ctx.Done():
			for len(s.queue) > 0 {
				i := <-s.queue
				s.write(context.WithoutCancel(ctx), &i)
			}
			return
		}
	}
}

// Close closes the files.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, t := range s.tenants {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}

func (t *tenant) close() error {
	if t.open == nil {
		return nil
	}
	err := t.open.Close()
	t.open = nil
	return err
}

// bound names the tenant that a sealed entry belongs to.
func bound(tenant string) []byte { return []byte("scimward recording\x00" + tenant) }

func (s *Store) write(ctx context.Context, i *item) {
	s.waits.Add(-int64(len(i.entry.Document)))
	outcome := "kept"
	raw, err := json.Marshal(&i.entry)
	if err == nil && len(raw) > maxEntry {
		outcome = "too_large"
	} else if err == nil {
		err = s.append(i.tenant, raw)
	}
	if err != nil {
		outcome = "failed"
		s.o.Logger.LogAttrs(ctx, slog.LevelError, "a rule input is not recorded", slog.String("tenant", i.tenant),
			slog.String("request_id", i.entry.ID), slog.Any("error", err))
	}
	s.entries.WithLabelValues(i.tenant, outcome).Inc()
}

// append seals an entry and writes it behind its length.
func (s *Store) append(name string, raw []byte) error {
	sealed := make([]byte, 4+s.aead.NonceSize(), 4+s.aead.NonceSize()+len(raw)+s.aead.Overhead())
	_, _ = rand.Read(sealed[4:])                               // never fails
	sealed = s.aead.Seal(sealed, sealed[4:], raw, bound(name)) //nolint:gosec // the nonce is random
	binary.BigEndian.PutUint32(sealed, uint32(len(sealed)-4))  // maxEntry bounds it
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[name]
	if t == nil {
		return nil // turned off meanwhile
	}
	if err := s.ready(name, t, int64(len(sealed))); err != nil {
		return err
	}
	if _, err := t.open.Write(sealed); err != nil {
		// A half entry hides what follows it. A full disk must not get a new file for each request either.
		if cut := t.open.Truncate(t.size); cut != nil {
			err = errors.Join(err, cut, t.close())
		}
		return err
	}
	t.size += int64(len(sealed))
	return nil
}

// ready begins a file if there is none with room for n bytes.
func (s *Store) ready(name string, t *tenant, n int64) error {
	now := s.o.Now()
	if t.open != nil && t.size+n <= t.max/segments && now.Sub(t.from) < maxSpan {
		return nil
	}
	dir := filepath.Join(s.o.Dir, name)
	if err := errors.Join(t.close(), os.MkdirAll(dir, 0o700)); err != nil {
		return err
	}
	files, err := s.files(name)
	if err != nil {
		return err
	}
	at := now
	if n := len(files); n > 0 && !at.After(begun(files[n-1])) { // the clock went back
		at = begun(files[n-1]).Add(1)
	}
	f, err := os.OpenFile(filepath.Join(dir, strconv.FormatInt(at.UnixNano(), 10)+extension),
		os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	t.open, t.size, t.from = f, 0, now
	return s.prune(name)
}

// files lists the files of a tenant, the oldest first, with the time of each.
func (s *Store) files(name string) (names []string, err error) {
	list, err := os.ReadDir(filepath.Join(s.o.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, f := range list {
		if strings.HasSuffix(f.Name(), extension) {
			names = append(names, filepath.Join(s.o.Dir, name, f.Name()))
		}
	}
	slices.SortFunc(names, func(a, b string) int { return begun(a).Compare(begun(b)) })
	return names, err
}

// begun returns the time in the name of a file; 1970 if there is none.
func begun(file string) time.Time {
	n, _ := strconv.ParseInt(strings.TrimSuffix(filepath.Base(file), extension), 10, 64) // 0 for another name
	return time.Unix(0, n)
}

// prune removes files that are too old, and the oldest ones while there are too many bytes. The caller holds mu.
func (s *Store) prune(name string) error {
	files, err := s.files(name)
	errs := []error{err}
	t := s.tenants[name]
	var total int64
	for i := len(files) - 1; i >= 0; i-- {
		info, err := os.Stat(files[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		total += info.Size()
		growing := t.open != nil && t.open.Name() == files[i]
		old := s.o.Now().Sub(begun(files[i])) > maxAge
		if old && growing {
			errs = append(errs, t.close())
		}
		// The file that grows may take its share of the bytes.
		if old || !growing && total > t.max-t.max/segments {
			errs = append(errs, os.Remove(files[i]))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) pruneAll(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.tenants)) {
		if err := s.prune(name); err != nil {
			s.o.Logger.LogAttrs(ctx, slog.LevelError, "removing old recordings", slog.String("tenant", name),
				slog.Any("error", err))
		}
	}
}

// Read calls fn for the entries of a tenant at since or later, the oldest first, and not for those that are written
// meanwhile. Unreadable ones, which another key has sealed or a crash has cut, are counted.
func (s *Store) Read(ctx context.Context, name string, since time.Time, fn func(*Entry) error) (bad int, err error) {
	if oldest := s.o.Now().Add(-maxAge); since.Before(oldest) {
		since = oldest
	}
	files, sizes, err := s.written(name)
	if err != nil {
		return 0, fmt.Errorf("reading recordings: %w", err)
	}
	for i, file := range files {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) { // it is too old meanwhile
			continue
		}
		n := 0
		if err == nil {
			n, err = s.readFile(ctx, name, io.LimitReader(f, sizes[i]), since, fn)
			_ = f.Close() // read only
		}
		bad += n
		if err != nil {
			return bad, fmt.Errorf("reading recordings: %w", err)
		}
	}
	return bad, nil
}

// written returns the files of a tenant, the oldest first, and the size of each while no entry is being written.
func (s *Store) written(name string) (files []string, sizes []int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if files, err = s.files(name); err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, nil, err
		}
		sizes = append(sizes, info.Size())
	}
	return files, sizes, nil
}

func (s *Store) readFile(
	ctx context.Context, name string, from io.Reader, since time.Time, fn func(*Entry) error,
) (bad int, err error) {
	for r := bufio.NewReader(from); ; {
		if err := ctx.Err(); err != nil {
			return bad, err
		}
		sealed, err := s.next(r)
		switch {
		case errors.Is(err, io.EOF):
			return bad, nil
		case errors.Is(err, errCut):
			return bad + 1, nil
		case err != nil:
			return bad, err
		}
		nonce := sealed[:s.aead.NonceSize()]
		raw, err := s.aead.Open(nil, nonce, sealed[len(nonce):], bound(name))
		var e Entry
		if err != nil || json.Unmarshal(raw, &e) != nil {
			bad++
			continue
		}
		if e.Time.Before(since) {
			continue
		}
		if err := fn(&e); err != nil {
			return bad, err
		}
	}
}

// errCut says that an entry is not complete, so that nothing behind it can be found.
var errCut = errors.New("the entry is cut")

// next reads a sealed entry. It returns io.EOF behind the last one.
func (s *Store) next(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errCut
	} else if err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n < s.aead.NonceSize() || n > maxEntry+64 {
		return nil, errCut
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r, sealed); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errCut
	} else if err != nil {
		return nil, err
	}
	return sealed, nil
}
