package bundles

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/scimward/scimward/policies/bundle"
)

// Source is where the bundles of a tenant come from.
type Source interface {
	// Fetch returns the bytes of the present bundle. Last is the digest of the bytes that it gave last; raw is nil
	// if they are the same. It may wait for a change until ctx ends, if the place tells of changes.
	Fetch(ctx context.Context, last string) (raw []byte, err error)
	// String names the place for operators, without secrets.
	String() string
}

// File is an archive.
type File string

// Fetch reads the file.
func (f File) Fetch(context.Context, string) ([]byte, error) {
	r, err := os.Open(string(f))
	if err != nil {
		return nil, fmt.Errorf("opening the bundle: %w", err)
	}
	defer r.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(r, bundle.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return raw, nil
}

func (f File) String() string { return string(f) }

// Dir is a folder with the files of a bundle.
type Dir string

// Fetch packs the folder.
func (d Dir) Fetch(context.Context, string) ([]byte, error) {
	return bundle.Archive(os.DirFS(string(d)))
}

func (d Dir) String() string { return string(d) }
