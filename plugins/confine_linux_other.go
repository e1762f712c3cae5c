//go:build linux && !amd64

package plugins

// extraDenied and extraFiles are calls of older architectures.
func extraDenied() []uintptr { return nil }
func extraFiles() []uintptr  { return nil }
