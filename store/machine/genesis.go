package machine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/local"
)

// Genesis is what the first record of a log says. A log begins empty at position 1, or it continues the state of
// another log at the position after the newest record of that log. So versions and positions go on, and nothing is
// given out twice.
type Genesis struct {
	ID       log.Incarnation
	Previous log.Incarnation // the log that it continues, zero for one that began empty
	Newest   [32]byte        // SHA-256 of the newest record of that log
	Shared   bool            // the new log is one of several machines
	Format   uint64          // of the log from this record on, see Reads; at least 1
}

// ErrOtherGenesis says that a genesis record does not continue the state that it is appended to.
var ErrOtherGenesis = errors.New("store: this genesis record continues another state")

// The bits of the form of a genesis record. A log that began empty in format 1 has none.
const (
	continuedAlone  = 1
	continuedShared = 2
	formatted       = 4 // the format follows, which is above 1
)

func (g *Genesis) encode() []byte {
	b := append([]byte{recordVersion, flagGenesis}, g.ID[:]...)
	form := byte(0)
	switch {
	case g.Previous == (log.Incarnation{}):
	case g.Shared:
		form = continuedShared
	default:
		form = continuedAlone
	}
	if g.Format > 1 {
		form |= formatted
	}
	if form == 0 {
		return b
	}
	b = append(b, form)
	if form&^formatted != 0 {
		b = append(append(b, g.Previous[:]...), g.Newest[:]...)
	}
	if form&formatted != 0 {
		b = binary.AppendUvarint(b, g.Format)
	}
	return b
}

// ReadGenesis reads a genesis record. It fails with ErrNewer for that of a log in a format above Reads.
func ReadGenesis(rec []byte) (Genesis, error) {
	var g Genesis
	d := decoder{b: rec}
	if d.byte() != recordVersion || d.byte() != flagGenesis {
		return Genesis{}, fmt.Errorf("%w: no genesis record", errBadRecord)
	}
	copy(g.ID[:], d.take(len(g.ID)))
	g.Format = 1
	if len(d.b) > 0 {
		d.form(&g)
	}
	switch {
	case g.Format > Reads:
		return Genesis{}, tooNew(g.Format)
	case d.newer:
		return Genesis{}, ErrNewer
	}
	if d.bad || len(d.b) > 0 {
		return Genesis{}, fmt.Errorf("%w: no genesis record", errBadRecord)
	}
	return g, nil
}

// form reads what follows the identity in a genesis record.
func (d *decoder) form(g *Genesis) {
	form := d.byte()
	switch form &^ formatted {
	case continuedAlone, continuedShared:
		copy(g.Previous[:], d.take(len(g.Previous)))
		copy(g.Newest[:], d.take(len(g.Newest)))
		g.Shared = form&continuedShared != 0
		d.bad = d.bad || g.Previous == (log.Incarnation{})
	case 0:
		d.bad = d.bad || form == 0
	default:
		d.unknown()
	}
	if form&formatted != 0 {
		g.Format = d.uvarint()
		d.bad = d.bad || g.Format < 2
	}
}

// Incarnation reads the identity out of a genesis record, for the driver of a log.
func Incarnation(rec []byte) (log.Incarnation, error) {
	g, err := ReadGenesis(rec)
	return g.ID, err
}

func newGenesis() Genesis {
	g := Genesis{Format: Reads}
	rand.Read(g.ID[:]) // never fails (crypto/rand)
	return g
}

// Began returns the genesis record of the log of the state if it is the newest record, otherwise nil.
func (m *Machine) Began() ([]byte, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.inflight.Done()
	rec, err := m.log.Read(m.log.Last())
	if err != nil {
		return nil, err
	}
	if len(rec) < 2 || rec[1] != flagGenesis {
		return nil, nil
	}
	return rec, nil
}

// Continue begins a new log with the state: it appends the genesis record of the new log to the old one. From then on
// the state is the copy of a shared log, or a store of its own again. The change is one commit. The machine must be a
// replica.
func (m *Machine) Continue(ctx context.Context, shared bool) (rec []byte, at Seq, err error) {
	if err := m.enter(); err != nil {
		return nil, 0, err
	}
	defer m.inflight.Done()
	b, err := m.log.Bounds(ctx)
	if err != nil {
		return nil, 0, err
	}
	newest, err := m.log.Read(b.Last)
	if err != nil {
		return nil, 0, err
	}
	next := newGenesis()
	next.Previous, next.Newest, next.Shared = b.ID, sha256.Sum256(newest), shared
	next.Format = m.Format()
	rec = next.encode()
	if at, err = m.log.Append(ctx, rec); err != nil {
		return nil, 0, fmt.Errorf("beginning a new log: %w", err)
	}
	m.publish(at)
	return rec, at, nil
}

// begin applies a genesis record.
func (m *Machine) begin(w *Writer, g *Genesis, rec []byte) error {
	m.newest.format = g.Format
	if w.seq == 1 && g.Previous == (log.Incarnation{}) {
		m.id = g.ID
		return nil
	}
	if w.seq == 1 || g.Previous != m.id {
		return fmt.Errorf("%w: record %d", ErrOtherGenesis, w.seq)
	}
	newest, err := m.log.Read(w.seq - 1)
	if err != nil {
		return err
	}
	if sha256.Sum256(newest) != g.Newest {
		return fmt.Errorf("%w: record %d is another", ErrOtherGenesis, w.seq-1)
	}
	if err := local.KeepGenesis(w.txn, rec); err != nil {
		return err
	}
	m.id = g.ID
	if !g.Shared {
		return w.forgetMarks()
	}
	hash, err := w.chain(rec)
	m.hash = hash
	return err
}

// forgetMarks removes the rows that only the copy of a shared log has.
func (w *Writer) forgetMarks() error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{Kind}
	it := w.txn.NewIterator(o)
	defer it.Close()
	var keys [][]byte
	for it.Rewind(); it.Valid(); it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	for _, k := range keys {
		if err := w.operation(&operation{kind: opDelete, key: k}, 0); err != nil {
			return err
		}
	}
	return nil
}

// chain adds a record to the hash of all marked records.
func (w *Writer) chain(rec []byte) (hash [32]byte, err error) {
	before, err := w.Get(hashKey())
	if err != nil {
		return hash, err
	}
	if before == nil {
		before = make([]byte, 8+len(hash))
	}
	if len(before) != 8+len(hash) {
		return hash, fmt.Errorf("%w: the hash of the log", errBadRecord)
	}
	end := binary.BigEndian.AppendUint64(nil, uint64(w.seq))
	sum := sha256.New()
	for _, part := range [][]byte{before[8:], end, rec} {
		sum.Write(part)
	}
	sum.Sum(hash[:0])
	return hash, w.Set(hashKey(), append(end, hash[:]...))
}
