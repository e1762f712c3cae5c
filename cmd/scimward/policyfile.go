package main

import (
	"fmt"
	"io"
	"os"

	"github.com/scimward/scimward/policies/bundle"
)

// readBundle reads a bundle, or packs a folder.
func readBundle(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	if info.IsDir() {
		raw, err := bundle.Archive(os.DirFS(name))
		if err != nil {
			return nil, fmt.Errorf("packing %s: %w", name, err)
		}
		return raw, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(f, bundle.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	if len(raw) > bundle.MaxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes: no policy bundle is so large", name, bundle.MaxBytes)
	}
	return raw, nil
}
