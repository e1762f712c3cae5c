package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ClientSettings are the settings of a client that do not say how it proves itself. What is nil stays.
type ClientSettings struct {
	Dialects          *[]string  // none: those of the tenant
	RequestsPerSecond *int       // zero: that of the tenant
	Expires           *time.Time // zero: never
}

// SetClient changes the settings of a client. Its tokens stay.
func (t *Tx) SetClient(id string, set ClientSettings) (Client, error) {
	c, err := t.existing(id)
	if err != nil {
		return c, err
	}
	var done []string
	if d := set.Dialects; d != nil && !slices.Equal(*d, c.Dialects) {
		c.Dialects = *d
		done = append(done, "dialects "+cmp.Or(strings.Join(*d, ", "), "of the tenant"))
	}
	if n := set.RequestsPerSecond; n != nil && *n != c.RequestsPerSecond {
		c.RequestsPerSecond = *n
		limit := "limit of the tenant"
		if *n > 0 {
			limit = fmt.Sprintf("limit %d requests a second", *n)
		}
		done = append(done, limit)
	}
	if end := set.Expires; end != nil && !end.Equal(c.Expires) {
		c.Expires = *end
		text := "never expires"
		if !end.IsZero() {
			text = "expires " + end.UTC().Format(time.RFC3339)
		}
		done = append(done, text)
	}
	if len(done) == 0 {
		return c, ErrNothingToDo
	}
	t.putClient(&c, "set: "+strings.Join(done, "; "))
	return c, nil
}
