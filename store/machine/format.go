package machine

import (
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/log/local"
)

// Reads is the newest format of the log that this version reads. A log is in one format: it has only kinds of records
// that every machine of this format reads and judges in the same way. A machine writes what is new in a format only
// once the log is in it, and a log gets into it by a record, see [Tx.Raise]. Until then the machines may be of
// different versions, and each can be replaced by the version before. A format never goes down.
//
//	1   what came before the format was recorded
//	2   records that raise the format, genesis records that name it
//
// A new log begins in the newest format.
const Reads = 2

// ErrNewer says that a log has a record that this version does not know. Its reader stops there, since no later record
// means the same without it.
var ErrNewer = errors.New("store: a newer version of scimward wrote this: " +
	"install the version that the other cores have")

func tooNew(format uint64) error {
	return fmt.Errorf("%w: the log is in format %d, and this version reads up to %d", ErrNewer, format, Reads)
}

// Format is the format of the log, at the newest record that readers see. It is zero while there is no record.
func (m *Machine) Format() uint64 { return m.format.Load() }

// Raise makes the log go on in a format, or does nothing when it is in this one or a newer one. Machines that do not
// read it stop at the record.
func (t *Tx) Raise(format uint64) {
	t.write(operation{kind: opRaise, key: local.GenesisKey(), delta: int64(format)})
}

// raise applies Raise. The genesis record that the state keeps names the format from then on. So a version that does
// not read it does not open the state either.
func (w *Writer) raise(format uint64) error {
	if format > Reads {
		return tooNew(format)
	}
	rec, err := local.KeptGenesis(w.txn)
	if err != nil {
		return err
	}
	g, err := ReadGenesis(rec)
	if err != nil || g.Format >= format {
		return err
	}
	g.Format, w.m.newest.format = format, format
	return local.KeepGenesis(w.txn, g.encode())
}

// readFormat finds the format of a log that was opened. A log without a genesis record has none.
func (m *Machine) readFormat() {
	rec, err := m.log.Genesis()
	if err != nil {
		return
	}
	if g, err := ReadGenesis(rec); err == nil {
		m.format.Store(g.Format)
	}
}
