package machine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/scimward/scimward/store/log"
)

// mark is what a record of a shared log says beside its transactions. It lets every machine skip a record that
// was appended twice, and notice that the copy of another machine is not its own.
type mark struct {
	incarnation log.Incarnation // of the log that the writer follows
	writer      writerID
	number      uint64   // of the writer's records, from 1; a record that is appended again keeps it
	at          Seq      // the newest marked record that the writer had applied, zero for none,
	hash        [32]byte // and the hash of all marked records up to that one
}

// writerID is one run of one machine.
type writerID [16]byte

func (k *mark) append(b []byte) []byte {
	b = append(b, k.incarnation[:]...)
	b = append(b, k.writer[:]...)
	b = binary.AppendUvarint(b, k.number)
	b = binary.AppendUvarint(b, uint64(k.at))
	return append(b, k.hash[:]...)
}

func (d *decoder) mark() *mark {
	k := &mark{}
	copy(k.incarnation[:], d.take(len(k.incarnation)))
	copy(k.writer[:], d.take(len(k.writer)))
	k.number, k.at = d.uvarint(), Seq(d.uvarint())
	copy(k.hash[:], d.take(len(k.hash)))
	return k
}

// Kind is the first byte of the machine's own keys. A log without marks has none.
//
//	Mh         -> be64(position) hash     the newest marked record, and the hash of all of them
//	Mw writer  -> be64(number)            the newest record of a writer
const Kind = 'M'

func hashKey() []byte { return []byte{Kind, 'h'} }

func writerKey(id writerID) []byte { return append([]byte{Kind, 'w'}, id[:]...) }

// The rows of writers that have written nothing for writerAge records are removed every writerSweep records. No
// writer retries a record for that long.
const (
	writerAge   = 1 << 20
	writerSweep = 1 << 12
)

// mark applies the mark of record w.seq. repeated means that an earlier record with the same transactions was
// applied, whose verdict stands, or that the record was written for another log than that with this id, by a process
// that does not know yet that its log has ended. Nobody gets an answer from such a record, and it changes nothing.
// hash is the new end of the chain.
func (w *Writer) mark(k *mark, id log.Incarnation, rec []byte) (repeated bool, hash [32]byte, err error) {
	if hash, err = w.chain(rec); err != nil {
		return false, hash, err
	}
	if k.incarnation != id {
		return true, hash, nil
	}
	last, err := w.Get(writerKey(k.writer))
	if err != nil {
		return false, hash, err
	}
	if last != nil && binary.BigEndian.Uint64(last) >= k.number {
		return true, hash, nil
	}
	if err := w.Set(writerKey(k.writer), binary.BigEndian.AppendUint64(nil, k.number)); err != nil {
		return false, hash, err
	}
	if w.seq%writerSweep == 0 && w.seq > writerAge {
		err = w.sweepWriters(w.seq - writerAge)
	}
	return false, hash, err
}

// sweepWriters removes the rows of writers that have written nothing since before.
func (w *Writer) sweepWriters(before Seq) error {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{Kind, 'w'}
	it := w.txn.NewIterator(o)
	defer it.Close()
	var old [][]byte
	for it.Rewind(); it.Valid(); it.Next() {
		if Seq(it.Item().Version()) < before {
			old = append(old, it.Item().KeyCopy(nil))
		}
	}
	for _, k := range old {
		if err := w.operation(&operation{kind: opDelete, key: k}, 0); err != nil {
			return err
		}
	}
	return nil
}

// ErrDiverged says that this machine's copy of the shared log is not the one of the others.
var ErrDiverged = errors.New("store: this copy of the shared log differs from the others")

// remembered is how many hashes of its own a machine compares with the marks of others.
const remembered = 1 << 12

// comparison compares the hashes in the marks of other machines with the own ones. It is local to a machine and
// decides nothing about the state. It is not safe for concurrent use.
type comparison struct {
	hashes map[Seq][32]byte
	oldest []Seq // the keys of hashes in their order

	// Since a mark contradicted this machine. An agreement about an earlier record says nothing about a later one.
	from   Seq               // the first contradicted record, zero for none
	agrees map[writerID]bool // the newest verdict of each other machine about a record from there on
	marks  int
}

// patience is how many marks a machine reads before it believes a single other one that contradicts it.
const patience = 32

func newComparison() *comparison {
	return &comparison{hashes: map[Seq][32]byte{}, agrees: map[writerID]bool{}}
}

func (c *comparison) remember(seq Seq, hash [32]byte) {
	if _, known := c.hashes[seq]; !known {
		c.oldest = append(c.oldest, seq)
	}
	c.hashes[seq] = hash
	if len(c.oldest) > remembered {
		delete(c.hashes, c.oldest[0])
		c.oldest = c.oldest[1:]
	}
}

// add compares a mark of another machine. It returns ErrDiverged if more machines contradict this one than agree
// with it. Among three, the one that differs so finds itself; among two that differ, both do.
func (c *comparison) add(k *mark) error {
	ours, known := c.hashes[k.at]
	if !known {
		return nil // from before this machine's start, or too old
	}
	same := ours == k.hash
	switch {
	case same && (c.from == 0 || k.at < c.from):
		return nil
	case !same && (c.from == 0 || k.at < c.from):
		c.from = k.at
	}
	c.agrees[k.writer] = same
	c.marks++
	agree, contradict := 0, 0
	for _, same := range c.agrees {
		if same {
			agree++
		} else {
			contradict++
		}
	}
	if contradict > agree && (contradict > 1 || c.marks >= patience) {
		return fmt.Errorf("%w: at record %d; stop this process and remove the folder store of its data_dir, not the others, "+
			"and it gets a new copy", ErrDiverged, c.from)
	}
	return nil
}
