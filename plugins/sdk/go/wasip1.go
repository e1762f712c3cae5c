//go:build wasip1

package revoker

func register(Plugin) {}
