package local

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/scimward/scimward/store/log"
)

// Witness is what a log keeps about its end outside the database: the newest durable
// record when it was written. A log that ends before its witness has lost records.
type Witness struct {
	N           uint64          `json:"n"` // counts the writes; the larger of two slots is the newer
	Incarnation log.Incarnation `json:"incarnation"`
	Position    log.Seq         `json:"position"`
	Hash        []byte          `json:"hash"` // SHA-256 of the record at Position
	Time        time.Time       `json:"time"`
	Notes       []Note          `json:"notes,omitempty"` // the newest notes, oldest first
}

// Note names a change, for the message that says what was lost. The content of the log
// decides which changes have one.
type Note struct {
	Seq    log.Seq   `json:"seq"`
	Tenant string    `json:"tenant"`
	ID     string    `json:"id"`
	What   string    `json:"what"`
	Time   time.Time `json:"time"`
}

// MaxNotes is the number of notes in a witness.
const MaxNotes = 256

// The witness file has two slots, which are written in turn. So a write that a crash
// tears leaves the other slot.
//
//	slot = SHA-256 of the rest(32) length(4) JSON
const (
	slotSize     = 128 << 10
	slotHead     = sha256.Size + 4
	witnessEvery = 500 * time.Millisecond
)

// WitnessPath is the path of the witness of the database in dir.
func WitnessPath(dir string) string { return filepath.Clean(dir) + ".witness" }

// ReadWitness returns the witness of the database in dir. It returns fs.ErrNotExist if
// there is no file, and another error if neither slot is valid.
func ReadWitness(dir string) (Witness, error) {
	f, err := os.Open(WitnessPath(dir))
	if err != nil {
		return Witness{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, 2*slotSize))
	if err != nil {
		return Witness{}, fmt.Errorf("reading the witness: %w", err)
	}
	var newest Witness
	for from := 0; from < len(b); from += slotSize {
		if w, ok := decodeSlot(b[from:min(from+slotSize, len(b))]); ok && w.N > newest.N {
			newest = w
		}
	}
	if newest.N == 0 {
		return Witness{}, fmt.Errorf("reading the witness: %s is damaged", WitnessPath(dir))
	}
	return newest, nil
}

func decodeSlot(b []byte) (Witness, bool) {
	var w Witness
	if len(b) < slotHead {
		return w, false
	}
	n := int64(binary.BigEndian.Uint32(b[sha256.Size:]))
	if n > int64(len(b)-slotHead) {
		return w, false
	}
	body := b[sha256.Size : slotHead+n]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[:sha256.Size]) {
		return w, false
	}
	return w, json.Unmarshal(body[4:], &w) == nil
}

// encodeSlot leaves out the oldest notes of a witness that is too large.
func encodeSlot(w *Witness) ([]byte, error) {
	for {
		doc, err := json.Marshal(w)
		if err != nil {
			return nil, fmt.Errorf("encoding the witness: %w", err)
		}
		if len(doc) <= slotSize-slotHead || len(w.Notes) == 0 {
			body := append(binary.BigEndian.AppendUint32(nil, uint32(len(doc))), doc...)
			sum := sha256.Sum256(body)
			return append(sum[:], body...), nil
		}
		w.Notes = w.Notes[(len(w.Notes)+1)/2:]
	}
}

// Witnessed returns the witness that Open found, for the content to continue its notes.
// The zero Witness means that there was none.
func (l *Log) Witnessed() Witness { return l.found }

// WitnessLag is how long the newest record has waited for its witness, and the last
// error of writing it. It does not wait for a write.
func (l *Log) WitnessLag() (lag time.Duration, err error) {
	since := l.behind.Load()
	if since == 0 {
		return 0, nil
	}
	if failed := l.witnessErr.Load(); failed != nil {
		err = *failed
	}
	return time.Since(time.Unix(0, since)), err
}

// keepWitness writes the witness while the log is open. It is not on the commit path:
// the position is durable first, and the witness follows.
func (l *Log) keepWitness(stop <-chan struct{}) {
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			l.tryWitness()
		}
	}
}

// tryWitness logs the first of several failures.
func (l *Log) tryWitness() {
	err := l.WriteWitness()
	if err == nil {
		l.witnessErr.Store(nil)
		return
	}
	if l.witnessErr.Swap(&err) == nil {
		l.opts.Logger.Error("the witness of the store was not written: a loss of the records since then would not "+
			"be noticed", slog.Any("err", err))
	}
}

// WriteWitness writes the witness of the newest durable record, unless it is written.
func (l *Log) WriteWitness() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	last := l.Last()
	if l.opts.InMemory || l.opts.Offline || last == 0 || l.witness.Position == last && l.wfile != nil {
		return nil
	}
	l.behind.CompareAndSwap(0, time.Now().UnixNano())
	w, err := l.describe(last)
	if err != nil {
		return err
	}
	if err := l.store(&w); err != nil {
		return fmt.Errorf("writing the witness %s: %w", WitnessPath(l.opts.Dir), err)
	}
	l.witness = w
	l.behind.Store(0)
	return nil
}

// describe returns the next witness, of the record at last.
func (l *Log) describe(last log.Seq) (Witness, error) {
	rec, err := l.Read(last)
	if err != nil {
		return Witness{}, err
	}
	txn := l.db.NewTransactionAt(uint64(last), false)
	defer txn.Discard()
	id, err := l.incarnation(txn)
	if err != nil {
		return Witness{}, err
	}
	sum := sha256.Sum256(rec)
	w := Witness{
		N: l.witness.N + 1, Incarnation: id, Position: last, Hash: sum[:], Time: time.Now().UTC(),
	}
	if l.opts.Notes != nil {
		w.Notes = slices.DeleteFunc(l.opts.Notes(), func(n Note) bool { return n.Seq > last })
		w.Notes = w.Notes[max(0, len(w.Notes)-MaxNotes):]
	}
	return w, nil
}

// store writes the slot of w and syncs it. The first write of a process replaces the whole
// file, so the file always has a valid slot.
func (l *Log) store(w *Witness) (err error) {
	slot, err := encodeSlot(w)
	if err != nil {
		return err
	}
	if l.wfile != nil {
		if _, err := l.wfile.WriteAt(slot, int64(w.N%2)*slotSize); err != nil {
			return err
		}
		return l.wfile.Sync()
	}
	path := WitnessPath(l.opts.Dir)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(slot, int64(w.N%2)*slotSize)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.wfile = f
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LostError says that records are missing that were durable.
type LostError struct {
	Dir     string
	End     log.Seq // the newest record that is left
	Witness Witness
}

// Lost returns the notes of the lost records. It returns false if there may be more, which
// the witness does not have any more.
func (e *LostError) Lost() (notes []Note, all bool) { return e.Witness.After(e.End) }

// After returns the notes after a position. It returns false if there may be more, which
// the witness does not have any more.
func (w *Witness) After(seq log.Seq) (notes []Note, all bool) {
	i, _ := slices.BinarySearchFunc(w.Notes, seq+1, func(n Note, at log.Seq) int { return cmp.Compare(n.Seq, at) })
	return w.Notes[i:], i > 0 || len(w.Notes) < MaxNotes
}

func (e *LostError) Error() string {
	return fmt.Sprintf("local: %s ends at record %d, but record %d was durable at %s: records %d to %d are lost",
		e.Dir, e.End, e.Witness.Position, e.Witness.Time.Format(time.RFC3339), e.End+1, e.Witness.Position)
}

// Unwrap makes a LostError an ErrDamaged.
func (e *LostError) Unwrap() error { return ErrDamaged }

// readFound reads the witness that an earlier process left. Without one, a store is opened
// with a warning.
func (l *Log) readFound() error {
	w, err := ReadWitness(l.opts.Dir)
	switch {
	case err == nil:
		l.found, l.witness = w, w
	case errors.Is(err, fs.ErrPermission):
		return err
	case !errors.Is(err, fs.ErrNotExist):
		l.opts.Logger.Warn("the witness of the store cannot be read, so a loss of its newest records is not noticed "+
			"at this start", slog.Any("err", err))
	}
	return nil
}

// compare compares the open database with the witness.
func (l *Log) compare() error {
	w := &l.found
	last := l.Last()
	if w.N == 0 {
		if last > 1 {
			l.opts.Logger.Warn("the store has no witness, so a loss of its newest records is not noticed at this start; "+
				"this is normal once, after an upgrade from a version without it",
				slog.String("witness", WitnessPath(l.opts.Dir)))
		}
		return nil
	}
	if last < w.Position {
		return &LostError{Dir: l.opts.Dir, End: last, Witness: *w}
	}
	txn := l.db.NewTransactionAt(uint64(last), false)
	defer txn.Discard()
	id, err := l.incarnation(txn)
	if err != nil {
		return err
	}
	if id != w.Incarnation {
		return fmt.Errorf("%w: %s is not the store that the witness %s was written for", ErrDamaged, l.opts.Dir,
			WitnessPath(l.opts.Dir))
	}
	rec, err := l.Read(w.Position)
	if errors.Is(err, log.ErrTrimmed) {
		if bounds, berr := l.bounds(); berr == nil && bounds.First > w.Position {
			return nil // trimmed since
		}
	}
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(rec); !bytes.Equal(sum[:], w.Hash) {
		return fmt.Errorf("%w: record %d of %s is not the record that was durable at %s", ErrDamaged, w.Position,
			l.opts.Dir, w.Time.Format(time.RFC3339))
	}
	return nil
}
