//go:build linux && !amd64 && !arm64

package plugins

// extraDenied and extraFiles are calls that not every architecture has.
func extraDenied() []uintptr { return nil }
func extraFiles() []uintptr  { return nil }
