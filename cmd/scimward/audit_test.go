package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// TestPartOfATrailIsNoTrail: an export that breaks leaves no file, because a part of a trail verifies too.
func TestPartOfATrailIsNoTrail(t *testing.T) {
	broken := func() io.Reader {
		return io.MultiReader(strings.NewReader(`{"N":1}`+"\n"), iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := save(io.Discard, file, broken()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("save to a file: %v, want the error of the stream", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there after a broken export (%v), want none", err)
	}
	if err := save(io.Discard, "", broken()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("save to standard output: %v, want the error of the stream", err)
	}
	if text, err := trailText(broken()); err == nil {
		t.Errorf("the text of a broken export is %q, want an error", text)
	}
}

// TestTrailNamesDeviations: the timeline shows the rules that a change violated in mode warn.
func TestTrailNamesDeviations(t *testing.T) {
	for record, want := range map[string]string{
		`{"detail":"d","decision":"ipsie-il1@0a warn IL1-3.2.4-patch A"}`: "d; deviates: IL1-3.2.4-patch A",
		`{"decision":"ipsie-il1@0a warn IL1-3.2.4-patch"}`:                "deviates: IL1-3.2.4-patch",
	} {
		got, err := trailText(strings.NewReader(record))
		if err != nil || !strings.Contains(got, "  "+want) {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	got, err := trailText(strings.NewReader(`{"decision":"ipsie-il1@0a"}`))
	if err != nil || strings.Contains(got, "deviates") {
		t.Errorf("%q %v, want no deviation", got, err)
	}
}
