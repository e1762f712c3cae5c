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

	SenderConstrained    *string
	StrictAudience       *bool
	Algorithms           *[]string      // none: the default
	TokenLifetime        *time.Duration // zero: that of the tenant
	MaxAssertionLifetime *time.Duration // zero: the default
}

// SetClient changes the settings of a client. Its tokens stay, except those of a client that had expired.
// valid judges the client as it would be, and is not called if nothing changes.
func (t *Tx) SetClient(name ClientName, set ClientSettings, valid func(*Client) error) (Client, error) {
	c, err := t.existing(name)
	if err != nil {
		return c, err
	}
	done := append(c.set(&set, t.now), c.setRules(&set)...)
	if len(done) == 0 {
		return c, ErrNothingToDo
	}
	if valid != nil {
		if err := valid(&c); err != nil {
			return c, err
		}
	}
	t.putClient(&c, "set: "+strings.Join(done, "; "))
	return c, nil
}

// Set changes the settings of a client that is not stored yet.
func (c *Client) Set(set ClientSettings) { c.setRules(&set) }

// set changes the settings that every client has, and says what changed.
func (c *Client) set(set *ClientSettings, now time.Time) (done []string) {
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
		text := "never expires"
		if !end.IsZero() {
			text = "expires " + end.UTC().Format(time.RFC3339)
		}
		if c.expired(now) {
			text += "; had expired, so its former tokens stay refused"
		}
		c.setExpires(*end, now)
		done = append(done, text)
	}
	return done
}

// setRules changes how the client gets access tokens, and says what changed.
func (c *Client) setRules(set *ClientSettings) (done []string) {
	if s := set.SenderConstrained; s != nil && *s != c.SenderConstrained {
		c.SenderConstrained = *s
		done = append(done, "sender_constrained "+*s)
	}
	if s := set.StrictAudience; s != nil && *s != c.StrictAudience {
		c.StrictAudience = *s
		done = append(done, fmt.Sprintf("strict_audience %t", *s))
	}
	if a := set.Algorithms; a != nil && !slices.Equal(*a, c.Algorithms) {
		c.Algorithms = *a
		done = append(done, "algorithms "+cmp.Or(strings.Join(*a, ", "), "of the default"))
	}
	for _, l := range []struct {
		name    string
		to, set *time.Duration
	}{
		{"token_lifetime", &c.TokenLifetime, set.TokenLifetime},
		{"max_assertion_lifetime", &c.MaxAssertionLifetime, set.MaxAssertionLifetime},
	} {
		if l.set != nil && *l.set != *l.to {
			*l.to = *l.set
			done = append(done, fmt.Sprintf("%s %s", l.name, *l.set))
		}
	}
	return done
}
