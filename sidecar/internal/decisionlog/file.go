package decisionlog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"
)

// File is a destination: lines of JSON in a file with mode 0600. At Max bytes it becomes PATH.1, and PATH.1 becomes
// PATH.2.
type File struct {
	Path string
	Max  int64
	Keep int // files beside the one that grows
}

// Name implements Destination.
func (File) Name() string { return "file" }

func (f File) open(Options) (sink, time.Duration) { return &file{File: f}, 0 }

// file is the open file.
type file struct {
	File
	f    *os.File // nil until the first write, and after a failure
	size int64
	buf  bytes.Buffer
}

func (f *file) write(_ context.Context, batch []*Record, gap *Gap) (int, error) {
	if err := encodeLines(&f.buf, batch, gap); err != nil {
		return 0, err
	}
	if err := f.ready(int64(f.buf.Len())); err != nil {
		return 0, err
	}
	n, err := f.f.Write(f.buf.Bytes())
	if err == nil {
		f.size += int64(n)
		return len(batch), nil
	}
	err = fmt.Errorf("writing decisions: %w", err)
	if cut := f.f.Truncate(f.size); cut != nil { // a half line would spoil the next one
		err = errors.Join(err, cut)
	}
	return 0, errors.Join(err, f.close())
}

// ready opens the file, or begins the next one if this one has no room for n bytes.
func (f *file) ready(n int64) error {
	if f.f != nil && f.size > 0 && f.size+n > f.Max {
		if err := errors.Join(f.close(), f.rotate()); err != nil {
			return fmt.Errorf("beginning the next file of decisions: %w", err)
		}
	}
	if f.f != nil {
		return nil
	}
	o, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the file of decisions: %w", err)
	}
	info, err := o.Stat()
	if err == nil {
		err = o.Chmod(0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("opening the file of decisions: %w", err), o.Close())
	}
	if f.f, f.size = o, info.Size(); f.size > 0 && f.size+n > f.Max {
		return f.ready(n)
	}
	return nil
}

// numbered returns the name of a former file, 0 for the one that grows.
func (f File) numbered(n int) string {
	if n == 0 {
		return f.Path
	}
	return f.Path + "." + strconv.Itoa(n)
}

func (f *file) rotate() error {
	for n := f.Keep; n >= 0; n-- {
		var err error
		if n == f.Keep {
			err = os.Remove(f.numbered(n))
		} else {
			err = os.Rename(f.numbered(n), f.numbered(n+1))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}

// Read calls fn for the records of the files, the oldest first. It skips gaps and lines that are no records.
func (f File) Read(fn func(*Record) error) error {
	for n := f.Keep; n >= 0; n-- {
		r, err := os.Open(f.numbered(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading decisions: %w", err)
		}
		err = ReadRecords(r, fn)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

// maxLine bounds a line of a file of decisions.
const maxLine = 64 << 10

// ReadRecords calls fn for the records of lines of JSON. It skips gaps and lines that are no records.
func ReadRecords(from io.Reader, fn func(*Record) error) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		var r Record
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.ID == "" {
			continue
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading decisions: %w", err)
	}
	return nil
}

// Writer is a destination for lines of JSON that nobody closes: standard output.
type Writer struct{ To io.Writer }

// Name implements Destination.
func (Writer) Name() string { return "stdout" }

func (w Writer) open(Options) (sink, time.Duration) { return &writer{to: w.To}, 0 }

type writer struct {
	to  io.Writer
	buf bytes.Buffer
}

func (w *writer) write(_ context.Context, batch []*Record, gap *Gap) (int, error) {
	if err := encodeLines(&w.buf, batch, gap); err != nil {
		return 0, err
	}
	if _, err := w.to.Write(w.buf.Bytes()); err != nil {
		return 0, fmt.Errorf("writing decisions: %w", err)
	}
	return len(batch), nil
}

func (w *writer) close() error { return nil }

// encodeLines writes records, and the gap behind them, as lines of JSON.
func encodeLines(buf *bytes.Buffer, batch []*Record, gap *Gap) error {
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	for _, r := range batch {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("encoding a decision: %w", err)
		}
	}
	if gap == nil {
		return nil
	}
	if err := enc.Encode(struct {
		Gap *Gap `json:"gap"`
	}{gap}); err != nil {
		return fmt.Errorf("encoding a gap: %w", err)
	}
	return nil
}
