package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// columns aligns the cells of tab-separated lines. A line without a tab ends a table.
func columns(text string) string {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	_, _ = tw.Write([]byte(text)) // writes to memory
	_ = tw.Flush()
	return b.String()
}

// plain returns a status of the API, such as enforced_at_proxy, as readable words.
func plain(status string) string { return strings.ReplaceAll(status, "_", " ") }

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") }

// oneLine makes a text of somebody else fit for one cell of a terminal: no control or invisible characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// deliver writes b to a file, or to w if file is empty.
func deliver(w io.Writer, file string, b []byte) (err error) {
	if file == "" {
		_, err = w.Write(b)
	} else {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}
