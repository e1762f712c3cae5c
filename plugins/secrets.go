package plugins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

const maxSecret = 8 << 10

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

// all returns every secret for redaction. For a file that cannot be read now, it returns the last known
// value.
func (s *secrets) all() []known {
	var out []known
	for name := range s.files {
		v, err := s.get(name)
		if err != nil {
			s.mu.Lock()
			v = s.values[name].value
			s.mu.Unlock()
		}
		if v != "" {
			out = append(out, known{name: "secret " + name, value: v})
		}
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
