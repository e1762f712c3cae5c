package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"

	"github.com/scimward/scimward/store/log"
)

// The engine drops what it cannot read at the end of its journals, deletes the tables
// that its manifest does not name, and ends the process at other damage. So Open reads the
// files first, changes nothing, and leaves a damaged database as it is.

// errMissing is damage that AcceptLoss accepts: the engine can read what is left.
var errMissing = fmt.Errorf("%w: it does not have the records", ErrDamaged)

// inspect returns the newest record in the files of a database. It returns ErrDamaged if
// records are missing between files, or a file cannot be read. With blocks it also checks
// every block of every table.
func inspect(dir string, blocks bool) (end log.Seq, err error) {
	end, err = tables(dir, blocks)
	if err != nil {
		return 0, err
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return 0, fmt.Errorf("listing journals: %w", err)
	}
	slices.SortFunc(journals, func(a, b string) int { return number(a) - number(b) })
	for _, path := range journals {
		first, last, err := journal(path)
		if err != nil {
			return 0, err
		}
		if first > end+1 {
			return 0, fmt.Errorf("%w %d to %d before %s", errMissing, end+1, first-1, path)
		}
		end = max(end, last)
	}
	return end, nil
}

// number is the number of an engine's file. The engine itself fails for a name without one.
func number(path string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
	if err != nil {
		return -1
	}
	return n
}

// tables opens every table that the manifest names and returns the newest version in them.
func tables(dir string, blocks bool) (end log.Seq, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		left, err := filepath.Glob(filepath.Join(dir, "*.sst"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%w: %s has %d tables and no %s", ErrDamaged, dir, len(left), badger.ManifestFilename)
		}
		return 0, err
	}
	if err != nil {
		return 0, fmt.Errorf("opening the manifest: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrDamaged, f.Name(), err)
	}
	var errs []error
	for id, t := range manifest.Tables {
		newest, err := inspectTable(table.NewFilename(id, dir), t.Compression, blocks)
		if err != nil {
			errs = append(errs, err)
		}
		end = max(end, log.Seq(newest))
	}
	return end, errors.Join(errs...)
}

// inspectTable opens a table the way the engine does, and returns its newest version.
func inspectTable(path string, c options.CompressionType, blocks bool) (newest uint64, err error) {
	defer func() {
		if r := recover(); r != nil { // the table package panics at some damage
			err = fmt.Errorf("%w: %s cannot be read", ErrDamaged, path)
		}
	}()
	b, unmap, err := mapped(path)
	if err != nil {
		return 0, fmt.Errorf("%w: opening a table: %w", ErrDamaged, err)
	}
	defer unmap()
	o := badger.DefaultOptions("")
	t, err := table.OpenInMemoryTable(b, 0, &table.Options{
		ReadOnly: true, BlockSize: o.BlockSize, BloomFalsePositive: o.BloomFalsePositive, Compression: c,
		ChkMode: options.OnBlockRead,
	})
	if err == nil && blocks {
		err = t.VerifyChecksum()
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return t.MaxVersion(), nil
}

// mapped maps a file into memory, to read it only.
func mapped(path string) (b []byte, unmap func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, func() {}, err
	}
	b, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	return b, func() { _ = unix.Munmap(b) }, nil // read only
}

// The marks of entries in a journal.
const (
	entryDelete = 1 << 0
	entryTxn    = 1 << 6
	entryFin    = 1 << 7
)

const journalHead = 20 // the id of the encryption key and the IV

// journal returns the first and the last record in a journal, zero for none. It stops where
// the engine's replay stops, at the first entry that is torn or damaged.
func journal(path string) (first, last log.Seq, err error) {
	b, unmap, err := mapped(path)
	if err != nil {
		return 0, 0, fmt.Errorf("opening a journal: %w", err)
	}
	defer unmap()
	if len(b) < journalHead {
		return 0, 0, nil
	}
	r := replay{path: path}
	for rest := b[journalHead:]; ; {
		e, ok := cutEntry(&rest)
		if !ok || len(e.key) == 0 {
			return r.first, r.last, nil
		}
		if more, err := r.entry(&e); err != nil || !more {
			return r.first, r.last, err
		}
	}
}

// replay follows the transactions of a journal like the engine.
type replay struct {
	path        string
	at, record  uint64 // the open transaction, and the log record in it
	first, last log.Seq
}

// entry returns false where the engine stops.
func (r *replay) entry(e *entry) (more bool, err error) {
	switch {
	case e.meta&entryTxn != 0:
		ts, ok := e.version()
		if !ok || r.at != 0 && r.at != ts {
			return false, nil
		}
		if r.at = ts; e.record() == ts {
			r.record = ts
		}
		return true, nil
	case e.meta&entryFin != 0:
		ts, err := strconv.ParseUint(string(e.value), 10, 64)
		if err != nil || ts != r.at {
			return false, nil //nolint:nilerr // the engine stops at a malformed end of a transaction
		}
		return true, r.commit()
	}
	return r.at == 0, nil // an entry outside a transaction
}

// commit ends a transaction. That of a trim has no record.
func (r *replay) commit() error {
	seq := log.Seq(r.record)
	if r.at, r.record = 0, 0; seq == 0 {
		return nil
	}
	if r.last != 0 && seq > r.last+1 {
		return fmt.Errorf("%w %d to %d in %s", errMissing, r.last+1, seq-1, r.path)
	}
	if r.last = seq; r.first == 0 {
		r.first = seq
	}
	return nil
}

// entry is one entry of a journal.
type entry struct {
	meta       byte
	key, value []byte
}

// version is the timestamp at the end of the key.
func (e *entry) version() (uint64, bool) {
	if len(e.key) < 8 {
		return 0, false
	}
	return ^binary.BigEndian.Uint64(e.key[len(e.key)-8:]), true
}

// record is the position of the log record that the entry writes, zero for another entry.
func (e *entry) record() uint64 {
	if e.meta&entryDelete != 0 || len(e.key) != 1+8+8 || e.key[0] != kindLog {
		return 0
	}
	return binary.BigEndian.Uint64(e.key[1:])
}

// cutEntry reads one entry off the front of b. It returns false for a damaged one.
//
//	entry = meta usermeta keylen valuelen expiry key value crc32c      lengths are uvarints
func cutEntry(b *[]byte) (e entry, ok bool) {
	all := *b
	if len(all) < 2 {
		return entry{}, false
	}
	at := 2
	var n [3]uint64 // the lengths of key and value, and the expiry
	for i := range n {
		v, w := binary.Uvarint(all[at:])
		if w <= 0 {
			return entry{}, false
		}
		n[i], at = v, at+w
	}
	key, value := uint64(uint32(n[0])), uint64(uint32(n[1])) // the engine cuts them like this
	if key > 1<<16 || key+value+crc32.Size > uint64(len(all)-at) {
		return entry{}, false
	}
	end := at + int(key+value)
	if crc32.Checksum(all[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(all[end:]) {
		return entry{}, false
	}
	*b = all[end+crc32.Size:]
	return entry{all[0], all[at : at+int(key)], all[at+int(key) : end]}, true
}
