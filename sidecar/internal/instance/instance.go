// Package instance notices that another process answers under the external URL of this one.
//
// A standalone process locks a user in its own memory only. If a load balancer shares the requests between two of
// them, the second one still serves whom the first one has locked, and nothing else would show it. So each process
// publishes a random id under its external URL and asks for it there.
package instance

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Path is where a process publishes its id, below its external URL. The answer is {"instance": ID}.
const Path = "/oauth/instance"

const (
	every    = time.Minute
	window   = 10 * every // a foreign id counts for as long
	enough   = 2          // sightings; one may be a predecessor that is about to end
	perRound = 8          // URLs asked in one round; the next round goes on with the next ones
	maxBody  = 1 << 10    // bytes of an answer
)

// Options configure a Watch. All are required but CAFile.
type Options struct {
	URLs   func() []string // the external URLs in force, without a slash at the end
	CAFile func() string   // PEM certificates to trust besides those of the system; "" or unreadable adds none
	Now    func() time.Time
	Logger *slog.Logger
}

// Watch publishes the id of this process and looks for others. It is safe for concurrent use.
type Watch struct {
	id   string
	opts Options

	mu      sync.Mutex
	next    int                    // of the URLs, to ask first
	foreign map[string][]time.Time // when a URL gave the id of another process
	faults  map[string]string      // why a URL gave none
}

// New makes a Watch with a random id.
func New(o Options) *Watch {
	return &Watch{id: rand.Text(), opts: o, foreign: map[string][]time.Time{}, faults: map[string]string{}}
}

type answer struct {
	Instance string `json:"instance"`
}

// ServeHTTP publishes the id. No cache may keep the answer, because a cached one hides the other process.
func (w *Watch) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(rw).Encode(answer{w.id}) // a client that is gone needs no answer
}

// Run asks once a minute until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.Ask(ctx)
		}
	}
}

// Ask asks up to 8 of the external URLs.
func (w *Watch) Ask(ctx context.Context) {
	urls := slices.Compact(slices.Sorted(slices.Values(w.opts.URLs())))
	client := w.client()
	for range min(len(urls), perRound) {
		w.mu.Lock()
		url := urls[w.next%len(urls)]
		w.next++
		w.mu.Unlock()
		id, err := ask(ctx, client, url)
		if ctx.Err() != nil {
			return
		}
		w.note(ctx, url, id, err)
	}
	w.keep(urls)
}

// client makes a new connection for each request, because a load balancer chooses once a connection.
func (w *Watch) client() *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if pem, err := os.ReadFile(w.opts.CAFile()); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func ask(ctx context.Context, client *http.Client, url string) (id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+Path, nil)
	if err != nil {
		return "", fmt.Errorf("making the request: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking for the instance: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	var out answer
	err = json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&out)
	if res.StatusCode != http.StatusOK || err != nil || out.Instance == "" {
		return "", fmt.Errorf("asking for the instance: %s%s answers %s without one", url, Path, res.Status)
	}
	return out.Instance, nil
}

func (w *Watch) note(ctx context.Context, url, id string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.faults, url)
	switch {
	case err != nil:
		w.faults[url] = err.Error()
	case id != w.id:
		w.foreign[url] = append(w.foreign[url], w.opts.Now())
		w.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "another scimward answers under the external URL",
			slog.String("url", url), slog.String("instance", id))
	}
}

// keep forgets sightings that are too old, and URLs that are not in force.
func (w *Watch) keep(urls []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := w.opts.Now().Add(-window)
	for url, seen := range w.foreign {
		seen = slices.DeleteFunc(seen, func(t time.Time) bool { return t.Before(since) })
		if w.foreign[url] = seen; len(seen) == 0 || !slices.Contains(urls, url) {
			delete(w.foreign, url)
		}
	}
	for url := range w.faults {
		if !slices.Contains(urls, url) {
			delete(w.faults, url)
		}
	}
}

// State says whether this process is alone. The error names a URL under which another process answered twice
// within ten minutes. The warning names a URL under which nobody could be asked; it is "" if there is none.
func (w *Watch) State() (warning string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for url, seen := range w.foreign {
		if len(seen) >= enough {
			return "", fmt.Errorf("another scimward answers under %s, and it does not know whom this one locks: "+
				"run one standalone process for all Envoys, and stop the others", url)
		}
	}
	for url, fault := range w.faults {
		return fmt.Sprintf("cannot tell whether another scimward answers under %s: %s", url, fault), nil
	}
	return "", nil
}
