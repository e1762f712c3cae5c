package machine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// The form of a log record. Numbers are uvarints. Byte strings follow their length.
//
//	record  = version(1) flags(1) [mark] body   flags: 1 zstd, 2 genesis, 4 mark
//	body    = incarnation(16) [form(1) [previous(16) newest(32)] [format]]   genesis, see Genesis
//	        | count transaction…                with zstd, only this part is compressed
//	mark    = incarnation(16) writer(16) number at hash(32)      see mark
//	transaction = id(16) scope time pre… op… draft… changes
//	pre     = cond key [version]
//	op      = kind key [value | delta | format]
const (
	recordVersion = 1
	flagZstd      = 1
	flagGenesis   = 2
	flagMark      = 4
	compressFrom  = 1 << 10
	maxRecord     = 4 << 20 // decompressed; the committer builds much smaller ones
)

var errBadRecord = errors.New("store: malformed log record")

// cond is the condition of a precondition.
type cond byte

const (
	condAbsent cond = iota + 1
	condExists
	condVersion
)

type precondition struct {
	key     []byte
	cond    cond
	version Seq // condVersion
}

// opKind is the kind of an operation.
type opKind byte

const (
	opPut    opKind = 1
	opDelete opKind = 2 // the key may be absent
	opAdd    opKind = 4 // adds delta to a counter and moves its time forward, in any order
	opRaise  opKind = 8 // raises the format of the log, see Reads; the key is that of the genesis record
)

type operation struct {
	kind  opKind
	key   []byte
	value []byte
	delta int64 // of opAdd; of opRaise the format
}

// transaction is one change, applied whole or not at all.
type transaction struct {
	Payload
	id  [16]byte
	pre []precondition
	ops []operation
}

// size estimates the engine bytes and keys of the transaction.
func (t *transaction) size() (n, keys int) {
	n = len(t.Changes)*2 + 512
	for _, a := range t.Drafts {
		n += 2*len(a) + 512
	}
	for i := range t.pre {
		n += len(t.pre[i].key) + 12
	}
	for i := range t.ops {
		n += 2*(len(t.ops[i].key)+len(t.ops[i].value)) + 48 // once in the log, once as state
	}
	return n, len(t.ops) + 3*len(t.Drafts) + 4
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func (t *transaction) append(b []byte) []byte {
	b = append(b, t.id[:]...)
	b = appendBytes(b, []byte(t.Scope))
	b = binary.AppendVarint(b, t.Time)
	b = binary.AppendUvarint(b, uint64(len(t.pre)))
	for i := range t.pre {
		p := &t.pre[i]
		b = append(b, byte(p.cond))
		b = appendBytes(b, p.key)
		if p.cond == condVersion {
			b = binary.AppendUvarint(b, uint64(p.version))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(t.ops)))
	for i := range t.ops {
		o := &t.ops[i]
		b = append(b, byte(o.kind))
		b = appendBytes(b, o.key)
		switch o.kind {
		case opPut:
			b = appendBytes(b, o.value)
		case opAdd, opRaise:
			b = binary.AppendVarint(b, o.delta)
		case opDelete:
		}
	}
	b = binary.AppendUvarint(b, uint64(len(t.Drafts)))
	for _, a := range t.Drafts {
		b = appendBytes(b, a)
	}
	return appendBytes(b, t.Changes)
}

// codec encodes and decodes records. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(256<<10))
	if err != nil {
		return nil, fmt.Errorf("making the record compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecord))
	if err != nil {
		return nil, fmt.Errorf("making the record decompressor: %w", err)
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // without a stream there is nothing to flush
	c.dec.Close()
}

// encode encodes a record; m is nil in a log of one machine.
func (c *codec) encode(m *mark, txns []*transaction) []byte {
	body := binary.AppendUvarint(make([]byte, 0, 4096), uint64(len(txns)))
	for _, t := range txns {
		body = t.append(body)
	}
	rec := []byte{recordVersion, 0}
	if m != nil {
		rec[1] |= flagMark
		rec = m.append(rec)
	}
	if len(body) < compressFrom {
		return append(rec, body...)
	}
	rec[1] |= flagZstd
	return c.enc.EncodeAll(body, rec)
}

// record is a decoded record: a genesis record or transactions.
type record struct {
	genesis *Genesis
	mark    *mark // nil in a log of one machine
	txns    []*transaction
}

func (c *codec) decode(b []byte) (record, error) {
	if len(b) < 2 {
		return record{}, errBadRecord
	}
	if b[0] != recordVersion || b[1]&^(flagZstd|flagGenesis|flagMark) != 0 {
		return record{}, ErrNewer
	}
	flags, d := b[1], decoder{b: b[2:]}
	if flags == flagGenesis {
		g, err := ReadGenesis(b)
		return record{genesis: &g}, err
	}
	if flags&^(flagZstd|flagMark) != 0 {
		return record{}, errBadRecord
	}
	var rec record
	if flags&flagMark != 0 {
		rec.mark = d.mark()
	}
	if flags&flagZstd != 0 && !d.bad {
		var err error
		if d.b, err = c.dec.DecodeAll(d.b, nil); err != nil {
			return record{}, fmt.Errorf("decompressing a record: %w", err)
		}
	}
	rec.txns = list(&d, d.transaction)
	if d.newer {
		return record{}, ErrNewer
	}
	if d.bad || len(d.b) != 0 {
		return record{}, errBadRecord
	}
	return rec, nil
}

// decoder reads the body. After the first fault every read returns zero.
type decoder struct {
	b     []byte
	bad   bool
	newer bool // the fault is a kind that this version does not know
}

func (d *decoder) uvarint() uint64 { return number(d, binary.Uvarint) }

func (d *decoder) varint() int64 { return number(d, binary.Varint) }

func number[T any](d *decoder, read func([]byte) (T, int)) T {
	n, w := read(d.b)
	if w <= 0 {
		d.bad, d.b = true, nil
		var zero T
		return zero
	}
	d.b = d.b[w:]
	return n
}

// count is a number of elements of at least one byte each.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte { return d.take(d.count()) }

func (d *decoder) byte() byte {
	v := d.take(1)
	if v == nil {
		return 0
	}
	return v[0]
}

// list reads the number of elements and the elements. It stops at the first fault.
func list[T any](d *decoder, read func() T) []T {
	n := d.count()
	out := make([]T, 0, min(n, 256))
	for i := 0; i < n && !d.bad; i++ {
		out = append(out, read())
	}
	return out
}

func (d *decoder) transaction() *transaction {
	t := &transaction{}
	copy(t.id[:], d.take(16))
	t.Scope = string(d.bytes())
	t.Time = d.varint()
	t.pre = list(d, d.precondition)
	t.ops = list(d, d.operation)
	t.Drafts = list(d, d.bytes)
	t.Changes = d.bytes()
	return t
}

func (d *decoder) precondition() precondition {
	p := precondition{cond: cond(d.byte()), key: d.bytes()}
	switch p.cond {
	case condVersion:
		p.version = Seq(d.uvarint())
	case condAbsent, condExists:
	default:
		d.unknown()
	}
	return p
}

func (d *decoder) operation() operation {
	o := operation{kind: opKind(d.byte()), key: d.bytes()}
	switch o.kind {
	case opPut:
		o.value = d.bytes()
	case opAdd, opRaise:
		o.delta = d.varint()
	case opDelete:
	default:
		d.unknown()
	}
	return o
}

// unknown notes a kind that this version does not know. Records are whole, so a newer version wrote it.
func (d *decoder) unknown() {
	d.newer = d.newer || !d.bad
	d.bad, d.b = true, nil
}
