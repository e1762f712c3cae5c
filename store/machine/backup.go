package machine

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/scimward/scimward/store/log"
)

// A backup has every key of one position, with versions: the state and the log.
//
//	backup = magic chunk… end
//	chunk  = length(4) SHA-256 of the bytes(32) bytes     zstd of: key value version, …
//	end    = zeros(4) length(4) manifest JSON, SHA-256 of all before(32)
const (
	backupMagic  = "scimward backup 1\n"
	backupChunk  = 1 << 20 // bytes of a chunk before compression, and one entry more
	maxChunk     = 8 << 20
	maxManifest  = 1 << 20
	backupLevel  = zstd.SpeedFastest
	backupWindow = 1 << 20
)

// ErrBadBackup says that a file is no backup, or that a part of it is missing or changed.
var ErrBadBackup = errors.New("store: this is no complete backup")

// Manifest describes a backup.
type Manifest struct {
	Version     string          `json:"version"` // of the program
	Time        time.Time       `json:"time"`    // when the backup began
	Tenants     []string        `json:"tenants"`
	Incarnation log.Incarnation `json:"incarnation"`
	Position    Seq             `json:"position"`
	Keys        int             `json:"keys"`
	Chunks      int             `json:"chunks"`
}

// Backup writes the newest position to w while changes continue. Its memory does not grow
// with the store. The caller sets Version, Time and Tenants of the manifest. It first checks
// the tables of the engine, because a damaged one would be left out silently.
func (m *Machine) Backup(ctx context.Context, w io.Writer, about Manifest) (Manifest, error) {
	if err := m.enter(); err != nil {
		return Manifest{}, err
	}
	defer m.inflight.Done()
	m.exports.RLock() // no record is trimmed meanwhile
	defer m.exports.RUnlock()
	if err := m.log.CheckTables(); err != nil {
		return Manifest{}, fmt.Errorf("checking the store before the backup: %w", err)
	}
	bounds, err := m.log.Bounds(ctx)
	if err != nil {
		return Manifest{}, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(backupLevel),
		zstd.WithWindowSize(backupWindow))
	if err != nil {
		return Manifest{}, fmt.Errorf("making the compressor: %w", err)
	}
	defer enc.Close() //nolint:errcheck // without a stream there is nothing to flush
	s := m.snapshot(ctx)
	defer s.close()
	about.Incarnation, about.Position = bounds.ID, s.seq
	out := &backupWriter{w: w, sum: sha256.New(), enc: enc, manifest: about}
	out.write([]byte(backupMagic))
	err = s.Scan(nil, nil, true, func(e Entry) (bool, error) {
		out.add(e)
		return out.err == nil, out.err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = out.end()
	}
	return out.manifest, err
}

// backupWriter writes a backup. After the first error it does nothing.
type backupWriter struct {
	w        io.Writer
	sum      hash.Hash
	enc      *zstd.Encoder
	chunk    []byte
	manifest Manifest
	err      error
}

func (b *backupWriter) write(p []byte) {
	if b.err == nil {
		b.sum.Write(p)
		_, b.err = b.w.Write(p)
	}
}

func (b *backupWriter) add(e Entry) {
	b.chunk = appendBytes(b.chunk, e.Key)
	b.chunk = appendBytes(b.chunk, e.Value)
	b.chunk = binary.AppendUvarint(b.chunk, uint64(e.Version))
	b.manifest.Keys++
	if len(b.chunk) >= backupChunk {
		b.flush()
	}
}

func (b *backupWriter) flush() {
	if len(b.chunk) == 0 {
		return
	}
	packed := b.enc.EncodeAll(b.chunk, nil)
	b.chunk = b.chunk[:0]
	sum := sha256.Sum256(packed)
	b.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(packed))), sum[:]...))
	b.write(packed)
	b.manifest.Chunks++
}

func (b *backupWriter) end() error {
	b.flush()
	doc, err := json.Marshal(b.manifest)
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	b.write(binary.BigEndian.AppendUint32(make([]byte, 4, 8), uint32(len(doc))))
	b.write(doc)
	b.write(b.sum.Sum(nil))
	return b.err
}

// ReadBackup reads a whole backup and calls fn for every entry, valid during the call. fn may
// be nil. An error is an ErrBadBackup that says where, or an error of fn. Only after ReadBackup
// has returned without an error is it certain that nothing is missing.
func ReadBackup(ctx context.Context, from io.Reader, fn func(Entry) error) (Manifest, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk))
	if err != nil {
		return Manifest{}, fmt.Errorf("making the decompressor: %w", err)
	}
	defer dec.Close()
	r := &backupReader{r: bufio.NewReaderSize(from, 64<<10), sum: sha256.New()}
	if magic := r.read(len(backupMagic)); r.err != nil || string(magic) != backupMagic {
		return Manifest{}, fmt.Errorf("%w: it does not begin like one", ErrBadBackup)
	}
	chunks, keys := 0, 0
	for {
		if err := ctx.Err(); err != nil {
			return Manifest{}, err
		}
		at := r.at
		n := r.length(maxChunk)
		if n == 0 {
			break
		}
		want, packed := r.read(sha256.Size), r.read(n)
		chunks++
		if sum := sha256.Sum256(packed); r.err == nil && string(sum[:]) != string(want) {
			r.err = errors.New("its hash is another")
		}
		if r.err != nil {
			return Manifest{}, fmt.Errorf("%w: chunk %d at byte %d: %w", ErrBadBackup, chunks, at, r.err)
		}
		plain, err := dec.DecodeAll(packed, nil)
		if err != nil {
			return Manifest{}, fmt.Errorf("%w: chunk %d at byte %d: %w", ErrBadBackup, chunks, at, err)
		}
		k, err := entries(plain, fn)
		if err != nil {
			return Manifest{}, err
		}
		keys += k
	}
	return r.manifest(chunks, keys)
}

// entries calls fn for the entries of a chunk.
func entries(chunk []byte, fn func(Entry) error) (n int, err error) {
	d := decoder{b: chunk}
	for len(d.b) > 0 {
		e := Entry{Key: d.bytes(), Value: d.bytes(), Version: Seq(d.uvarint())}
		if d.bad || len(e.Key) == 0 {
			return 0, fmt.Errorf("%w: an entry is malformed", ErrBadBackup)
		}
		n++
		if fn != nil {
			if err := fn(e); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// backupReader reads a backup. After the first error it returns nothing.
type backupReader struct {
	r   *bufio.Reader
	sum hash.Hash
	at  int64
	err error
}

func (b *backupReader) read(n int) []byte {
	if b.err != nil {
		return nil
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(b.r, p); err != nil {
		b.err = fmt.Errorf("the file ends early: %w", err)
		return nil
	}
	b.sum.Write(p)
	b.at += int64(n)
	return p
}

// length reads a length. After an error it is zero.
func (b *backupReader) length(limit uint32) int {
	p := b.read(4)
	if b.err != nil {
		return 0
	}
	n := binary.BigEndian.Uint32(p)
	if n > limit {
		b.err = fmt.Errorf("a part of %d bytes is too long", n)
		return 0
	}
	return int(n)
}

// manifest reads the end of a backup and compares it with what was read.
func (b *backupReader) manifest(chunks, keys int) (Manifest, error) {
	var m Manifest
	doc := b.read(b.length(maxManifest))
	sum := b.sum.Sum(nil)
	want := b.read(sha256.Size)
	if b.err == nil {
		if _, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
			b.err = errors.New("there is more after the end")
		}
	}
	if b.err == nil && string(sum) != string(want) {
		b.err = errors.New("the hash of the whole is another")
	}
	if b.err == nil {
		b.err = json.Unmarshal(doc, &m)
	}
	if b.err == nil && (m.Chunks != chunks || m.Keys != keys) {
		b.err = fmt.Errorf("it has %d chunks and %d keys, the manifest says %d and %d", chunks, keys, m.Chunks, m.Keys)
	}
	if b.err != nil {
		return Manifest{}, fmt.Errorf("%w: its end, at byte %d: %w", ErrBadBackup, b.at, b.err)
	}
	return m, nil
}
