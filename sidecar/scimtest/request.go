package scimtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer   = 8 << 20
	maxAttempts = 3                // requests of a step while the answer is 429 or 503
	maxWait     = 10 * time.Second // longest pause that a Retry-After gets
)

// answer is what the service answered.
type answer struct {
	status int
	header http.Header
	body   []byte
	doc    any // the body as JSON, nil if it is none
}

// detail is the message of an error answer, for people.
func (a *answer) detail() string {
	for _, pointer := range []string{"/detail", "/error_description", "/error"} {
		if v, err := at(a.doc, pointer); err == nil {
			if text, ok := v.(string); ok && text != "" {
				return text
			}
		}
	}
	if a.status >= 400 {
		return "an answer without a message"
	}
	return "an answer of status " + strconv.Itoa(a.status)
}

// send sends the request of a step. It repeats it after 429 and 503, as identity providers do.
func (p *player) send(ctx context.Context, s *Step) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := p.once(ctx, s)
		again := err == nil && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable)
		if !again || attempt == maxAttempts {
			return a, err
		}
		seconds, _ := strconv.Atoi(a.header.Get("Retry-After")) // without one: at once
		if err := pause(ctx, min(time.Duration(max(seconds, 0))*time.Second, maxWait)); err != nil {
			return nil, fmt.Errorf("waiting after the status %d: %w", a.status, err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *player) once(ctx context.Context, s *Step) (*answer, error) {
	req, err := p.request(ctx, s)
	if err != nil {
		return nil, err
	}
	res, err := p.o.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the service: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("reading the answer: more than %d MiB", maxAnswer>>20)
	}
	a := &answer{status: res.StatusCode, header: res.Header, body: body}
	if len(body) > 0 && json.Unmarshal(body, &a.doc) != nil {
		a.doc = nil
	}
	return a, nil
}

func (p *player) request(ctx context.Context, s *Step) (*http.Request, error) {
	target, err := url.Parse(p.base.String() + expand(s.Path, p.vars))
	if err != nil {
		return nil, fmt.Errorf("making the URL: %w", err)
	}
	query := target.Query()
	for name, value := range s.Query {
		query.Set(name, expand(value, p.vars))
	}
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, s.Method, target.String(),
		bytes.NewReader(expandJSON(s.Body, p.vars)))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	for name, value := range p.headers {
		if len(s.Body) > 0 || !strings.EqualFold(name, "Content-Type") {
			req.Header.Set(name, value)
		}
	}
	switch s.Token {
	case "none":
	case "wrong":
		req.Header.Set("Authorization", "Bearer 00000000-no-such-token")
	default:
		req.Header.Set("Authorization", "Bearer "+p.o.Token)
	}
	return req, nil
}

// expand replaces ${name} by the variables.
func expand(text string, vars map[string]string) string {
	return variableRE.ReplaceAllStringFunc(text, func(m string) string { return vars[m[2:len(m)-1]] })
}

// expandJSON is expand inside the strings of a JSON text.
func expandJSON(text []byte, vars map[string]string) []byte {
	return variableRE.ReplaceAllFunc(text, func(m []byte) []byte {
		quoted, err := json.Marshal(vars[string(m[2:len(m)-1])])
		if err != nil {
			panic(fmt.Sprintf("scimtest: encoding a string: %v", err)) // strings always encode
		}
		return quoted[1 : len(quoted)-1]
	})
}
