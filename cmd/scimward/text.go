package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
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

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command) *bool { return c.Flags().Bool("json", false, "print JSON") }

// result prints v as JSON, or the text for people.
func result(c *cobra.Command, asJSON bool, v any, text string) error {
	if asJSON {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		text = string(b) + "\n"
	}
	return deliver(c.OutOrStdout(), "", []byte(text))
}

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
		err = os.WriteFile(file, b, 0o600) //nolint:gosec // the operator names the file
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}
