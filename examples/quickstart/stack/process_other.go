//go:build !linux

package stack

import "syscall"

// dieWithParent has no counterpart here: a killed parent leaves its children.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
