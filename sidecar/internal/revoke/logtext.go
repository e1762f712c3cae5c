package revoke

import (
	"regexp"
	"strings"
	"unicode"
)

// maxLogText bounds the message of a plugin in a log event, in bytes.
const maxLogText = 256

var addressShape = regexp.MustCompile(`[^\s<>"'(),;:]+@[^\s<>"'(),;:]+`)

// logText returns the message of a job for the log. The plugin host has bounded it and removed what looks
// like a credential. A log names no person, so logText also removes addresses and the names of the user.
func logText(t *task) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, t.Message)
	text = addressShape.ReplaceAllString(text, "[address]")
	s := &t.Subject
	names := append([]string{s.UserName, s.ExternalID, s.AppUserID}, s.FormerUserNames...)
	for _, name := range append(names, s.Emails...) {
		if name != "" {
			text = regexp.MustCompile(`(?i)`+regexp.QuoteMeta(name)).ReplaceAllString(text, "[user]")
		}
	}
	if len(text) > maxLogText {
		text = strings.ToValidUTF8(text[:maxLogText], "") + "…"
	}
	return text
}
