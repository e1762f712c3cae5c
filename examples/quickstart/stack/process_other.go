//go:build !linux

package stack

import "syscall"

// dieWithParent does nothing here. A killed parent leaves its children running.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
