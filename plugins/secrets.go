package plugins

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxSecret    = 8 << 10
	secretMinLen = 4 // shorter ones would turn every answer into asterisks
	redacted     = "***"
)

// secrets are the named secrets of one plugin. Each is in a file that is read again when it changes.
// Values stay in this process, and a guest only names them.
type secrets struct {
	files map[string]string

	mu     sync.Mutex // guards values
	values map[string]secret
}

type secret struct {
	value   string
	modTime time.Time
	size    int64
}

func newSecrets(files map[string]string) *secrets {
	return &secrets{files: files, values: map[string]secret{}}
}

// secretError means that the file of a secret cannot be used now. Its text names the secret but no path,
// because it reaches the guest and the evidence.
type secretError struct {
	name, file string
	err        error // without the path
}

func (e *secretError) Error() string {
	return fmt.Sprintf("secret %q cannot be read: %v", e.name, e.err)
}

// get returns the value of a secret. If its file is at fault, the error is a [*secretError].
func (s *secrets) get(name string) (string, error) {
	file, ok := s.files[name]
	if !ok {
		return "", fmt.Errorf("no secret %q", name)
	}
	value, err := s.read(name, file)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return "", &secretError{name: name, file: file, err: err}
	}
	return value, nil
}

// read returns the present content of a secret's file.
func (s *secrets) read(name, file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.values[name]; ok && v.modTime.Equal(info.ModTime()) && v.size == info.Size() {
		return v.value, nil
	}
	if info.Size() > maxSecret {
		return "", fmt.Errorf("larger than %d bytes", maxSecret)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return "", errors.New("empty or more than one line")
	}
	s.values[name] = secret{value: value, modTime: info.ModTime(), size: info.Size()}
	return value, nil
}

// all returns every value for redaction. For a file that cannot be read now, it returns the last known
// value.
func (s *secrets) all() []string {
	var out []string
	for name := range s.files {
		v, err := s.get(name)
		if err != nil {
			s.mu.Lock()
			v = s.values[name].value
			s.mu.Unlock()
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// redactor replaces secrets in texts for a guest, a log or the evidence.
type redactor struct{ r *strings.Replacer }

// newRedactor returns a redactor of the values and of their URL, JSON, hex and base64 encodings, alone or
// within a longer text such as user:password.
func newRedactor(values ...string) redactor {
	var all []string
	for _, v := range values {
		digits := hex.EncodeToString([]byte(v))
		forms := []string{
			v, url.QueryEscape(v), url.PathEscape(v), lowerEscapes(url.QueryEscape(v)), lowerEscapes(url.PathEscape(v)),
			strings.ReplaceAll(strings.ReplaceAll(v, `\`, `\\`), `"`, `\"`), digits, strings.ToUpper(digits),
			base64.StdEncoding.EncodeToString([]byte(v)), base64.URLEncoding.EncodeToString([]byte(v)),
		}
		for _, form := range append(forms, within(v)...) {
			if len(form) >= secretMinLen {
				all = append(all, form)
			}
		}
	}
	// The longest come first, so that a secret that begins with another is replaced whole.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, form := range slices.Compact(all) {
		pairs = append(pairs, form, redacted)
	}
	return redactor{r: strings.NewReplacer(pairs...)}
}

// lowerEscapes changes %2F to %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '%' && i+2 < len(b) {
			copy(b[i+1:], strings.ToLower(s[i+1:i+3]))
		}
	}
	return string(b)
}

// within returns the base64 digits that every text around v has in common, for each offset of v modulo 3.
// It drops the digits at both ends, because v shares them with its neighbours.
func within(v string) []string {
	var out []string
	for before := range 3 {
		if before+len(v) < 6 {
			continue // too few digits belong to v alone
		}
		text := append(make([]byte, before), v...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			s := enc.EncodeToString(text)
			if len(text)%3 != 0 {
				s = s[:len(s)-1]
			}
			out = append(out, s[(before*8+5)/6:])
		}
	}
	return out
}

func (r redactor) text(s string) string { return r.r.Replace(s) }

func (r redactor) bytes(b []byte) []byte { return []byte(r.text(string(b))) }

// outcome removes the secrets from all texts of a guest.
func (r redactor) outcome(out outcome) outcome {
	out.note, out.output = r.text(out.note), r.bytes(out.output)
	for i := range out.reports {
		out.reports[i] = r.bytes(out.reports[i])
	}
	return out
}

var errPlaceholder = errors.New("unknown or forbidden placeholder")

// substitute replaces {{secret:NAME}} and {{credential:REF}} in a header value. Other text in double
// braces is an error, so that a misspelt name never reaches the application.
func substitute(value string, lookup func(class, name string) (string, error)) (string, error) {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(value, "{{")
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		inside, after, ok := strings.Cut(rest, "}}")
		if !ok {
			return "", fmt.Errorf("%w: {{ without }}", errPlaceholder)
		}
		class, name, _ := strings.Cut(inside, ":")
		v, err := lookup(class, name)
		if err != nil {
			return "", err
		}
		out.WriteString(v)
		value = after
	}
}
