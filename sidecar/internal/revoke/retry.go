package revoke

import (
	"regexp"
	"strings"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/store"
)

// retry puts the job off. It gives up after 72 h, and says so.
func (e *Engine) retry(t *task, r abi.KindResult, now time.Time) {
	if now.Sub(t.Created) > giveUpAfter {
		t.State, t.NextAt = store.JobFailed, time.Time{}
		t.Message = clean("gave up after 72 hours: " + r.Message)
		return
	}
	t.State = store.JobRetrying
	t.NextAt = now.Add(e.pause(t, t.Attempts, r.RetryAfterMS, now))
}

// pause is how long to wait before asking about t again.
func (e *Engine) pause(t *task, attempt int, retryAfterMS int64, now time.Time) time.Duration {
	after := time.Duration(min(max(retryAfterMS, 0), mostPause.Milliseconds())) * time.Millisecond
	return backoff(attempt, after, now.Sub(t.Received)-e.o.Deadline, e.o.Jitter)
}

// Bounds of a pause.
const (
	leastPause = 100 * time.Millisecond
	firstPause = 250 * time.Millisecond
	openPause  = 15 * time.Second // while the deadline can still be met
	mostPause  = time.Hour
)

// backoff returns the pause before the next attempt. attempt counts from 1; after
// is what the application asked for; late is how long ago the deadline passed,
// negative while it has not. While the deadline is open the pause is full jitter
// under a ceiling that doubles up to 15 s, so that the promise can still be kept.
// Afterwards it is a quarter of the lateness, up to an hour: an application that
// comes back soon after is not kept waiting for long.
func backoff(attempt int, after, late time.Duration, jitter func(time.Duration) time.Duration) time.Duration {
	var d time.Duration
	if late < 0 {
		d = jitter(min(firstPause<<min(max(attempt-1, 0), 20), openPause))
	} else {
		slow := min(max(late/4, openPause), mostPause)
		d = slow/2 + jitter(slow/2)
	}
	return min(max(d, after, leastPause), mostPause)
}

// maxText bounds what a plugin may add to a job in one field.
const maxText = 512

var (
	tokenShape      = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,4}`)
	credentialShape = regexp.MustCompile(`(?i)\b(bearer|basic|digest)\s+\S+`)
	headerShape     = regexp.MustCompile(`(?i)\b(authorization|cookie)["']?\s*[:=].*`) // the rest of a header names more than one
	queryShape      = regexp.MustCompile(`\?\S+`)
)

// clean makes a text of a plugin fit for a job and its evidence: valid UTF-8, no
// control characters, bounded, and nothing that looks like a credential. The host
// has already removed the secrets that it knows; this catches what an application
// echoes into its answers.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = queryShape.ReplaceAllString(s, "?[removed]")
	s = tokenShape.ReplaceAllString(s, "[removed]")
	s = headerShape.ReplaceAllString(s, "$1: [removed]")
	s = credentialShape.ReplaceAllString(s, "$1 [removed]")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
