package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// display prints the story as it happens. It keeps the timeline of the deactivation for the end.
type display struct {
	w    io.Writer
	zero time.Time // when the deactivation was sent
	rows []row
}

type row struct {
	at   time.Time
	what string
}

func (d *display) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.w, format, args...)
}

func (d *display) chapter(title string) { d.printf("\n%s\n", title) }

func (d *display) progress(what string) { d.printf("  ...  %s\n", what) }

// ok reports a step that succeeded.
func (d *display) ok(what, detail string) {
	if detail != "" {
		detail = "  " + detail
	}
	d.printf("  ok   %s%s\n", what, detail)
}

// mark adds a row to the timeline.
func (d *display) mark(at time.Time, format string, args ...any) {
	d.rows = append(d.rows, row{at, fmt.Sprintf(format, args...)})
}

// timeline prints the rows in milliseconds since the deactivation was sent.
func (d *display) timeline() {
	d.chapter("Timeline")
	slices.SortStableFunc(d.rows, func(a, b row) int { return a.at.Compare(b.at) })
	last := d.rows[len(d.rows)-1].at.Sub(d.zero)
	for _, r := range d.rows {
		since := r.at.Sub(d.zero)
		bar := strings.Repeat("·", int(40*since/max(last, 1)))
		d.printf("  %8.1f ms  %s %s\n", float64(since.Microseconds())/1000, bar, r.what)
	}
}
