//go:build !linux

package plugins_test

func probe(int) int { return 1 }
