//go:build !linux

package plugins

import "errors"

var errNotLinux = errors.New("the system is not Linux")

// confine and closeFiles are for Linux only.
func confine() error    { return errNotLinux }
func closeFiles() error { return errNotLinux }
