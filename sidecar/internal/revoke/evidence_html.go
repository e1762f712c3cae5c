package revoke

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed evidence.html
var evidencePage string

// HTML writes the report as a page that can be printed.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("evidence").Funcs(template.FuncMap{
		"at": func(t *time.Time) string {
			if t == nil {
				return "not yet"
			}
			return t.Format("2006-01-02 15:04:05.000 MST")
		},
	}).Parse(evidencePage)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}
