package bundles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/scimward/scimward/policies/bundle"
)

// Source is where the bundles of a tenant come from. Two sources that are equal (==) are the same place.
type Source interface {
	// Fetch returns the present bundle if it is not that of last. It has a deadline of its own. If last.Waits is set,
	// it may wait for a change.
	Fetch(ctx context.Context, last Mark) (Fetched, error)
	// String names the place for operators, without secrets.
	String() string
}

// Mark is what a source knows of its last answer.
type Mark struct {
	ID    string // of the bundle at this place; empty if the place gives none
	Waits bool   // the server supports long polling: it answers when the bundle has changed
}

// Fetched is the answer of a source.
type Fetched struct {
	Raw  []byte // nil: nothing changed. More than bundle.MaxBytes may be cut off
	Mark Mark   // for the next fetch
}

// File is an archive.
type File string

// Fetch reads the file.
func (f File) Fetch(context.Context, Mark) (Fetched, error) {
	info, err := os.Stat(string(f))
	if err == nil && !info.Mode().IsRegular() { // a pipe would be waited for without end
		err = errors.New("it is no plain file")
	}
	if err != nil {
		return Fetched{}, fmt.Errorf("opening the bundle %s: %w", f, err)
	}
	r, err := os.Open(string(f))
	if err != nil {
		return Fetched{}, fmt.Errorf("opening the bundle: %w", err)
	}
	defer r.Close() //nolint:errcheck // read only
	raw, err := readBounded(r)
	return Fetched{Raw: raw}, err
}

func (f File) String() string { return string(f) }

// Dir is a folder with the files of a bundle.
type Dir string

// Fetch packs the folder. A link may lead to another of its files and not out of it: who writes the folder may not be
// allowed to read all that this process can.
func (d Dir) Fetch(context.Context, Mark) (Fetched, error) {
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return Fetched{}, fmt.Errorf("opening the folder of the bundle: %w", err)
	}
	defer root.Close() //nolint:errcheck // read only
	raw, err := bundle.Archive(root.FS())
	return Fetched{Raw: raw}, err
}

func (d Dir) String() string { return string(d) }

// readBounded reads a bundle. One that is too large is cut off, so that bundle.Read refuses it.
func readBounded(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, bundle.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return raw, nil
}
