package decisionlog

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/scimward/scimward/sidecar/internal/outbound"
)

// The values of HTTP.Format.
const (
	FormatOPA  = "opa"  // the service API of OPA's decision logs: a gzipped JSON array of events
	FormatOTLP = "otlp" // OTLP/HTTP with JSON: logs
)

// Bounds of a delivery.
const (
	postTimeout = 10 * time.Second // of one try
	postTries   = 8
	postPause   = 500 * time.Millisecond // before the second try; it doubles
	postLinger  = time.Second            // a record waits as long for others
)

// HTTP is a destination that takes batches by POST.
type HTTP struct {
	URL       string
	Format    string
	TokenFile string        // a bearer token, read for each batch; empty: none
	CAFile    string        // authorities of the service; empty: those of the system
	Pause     time.Duration // before the second try; 0 is half a second
}

// Name implements Destination.
func (h HTTP) Name() string {
	if h.Format == FormatOTLP {
		return "otlp"
	}
	return "http"
}

func (h HTTP) open(o Options) (sink, time.Duration) {
	p := &poster{HTTP: h, o: o}
	h.Pause = cmp.Or(h.Pause, postPause)
	p.HTTP = h
	return p, min(postLinger, 2*h.Pause)
}

type poster struct {
	HTTP
	o      Options
	client *http.Client // nil until the first batch, and after a connection that failed
}

func (p *poster) write(ctx context.Context, batch []*Record, gap *Gap) (int, error) {
	body, err := p.encode(batch, gap)
	if err != nil {
		return 0, err
	}
	pause := p.Pause
	for try := 1; ; try++ {
		again, err := p.post(ctx, body)
		if err == nil {
			return len(batch), nil
		}
		if !again || try == postTries || ctx.Err() != nil {
			return 0, fmt.Errorf("sending decisions to %s: %w", p.Name(), err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause *= 2
	}
}

// encode returns a batch in the format of the destination, compressed.
func (p *poster) encode(batch []*Record, gap *Gap) ([]byte, error) {
	format := opaEvents
	if p.Format == FormatOTLP {
		format = otlpLogs
	}
	raw, err := format(p.o.Labels, p.o.Now(), batch, gap)
	if err != nil {
		return nil, fmt.Errorf("encoding decisions: %w", err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(raw); err != nil {
		return nil, fmt.Errorf("compressing decisions: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compressing decisions: %w", err)
	}
	return out.Bytes(), nil
}

// post sends a batch once. It reports whether a failure may pass.
func (p *poster) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	if err := p.connect(); err != nil {
		return true, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	token, err := outbound.Token(p.TokenFile)
	if err != nil {
		return true, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		p.disconnect() // the next try reads ca_file again
		return true, outbound.WithoutURL(err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	err = errors.Join(err, res.Body.Close())
	switch s := res.StatusCode; {
	case s >= 200 && s < 300:
		return false, nil // the answer's end does not matter
	case s >= 500, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
		return true, errors.Join(fmt.Errorf("it answered %d", s), err)
	default:
		return false, errors.Join(fmt.Errorf("it answered %d", s), err)
	}
}

func (p *poster) connect() error {
	if p.client != nil {
		return nil
	}
	var ca []byte
	var err error
	if p.CAFile != "" {
		if ca, err = os.ReadFile(p.CAFile); err != nil {
			return err
		}
		if len(ca) == 0 {
			return fmt.Errorf("%s contains no certificate", p.CAFile)
		}
	}
	p.client, err = outbound.Client(string(ca), http.ProxyFromEnvironment)
	return err
}

func (p *poster) disconnect() {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	p.client = nil
}

func (p *poster) close() error {
	p.disconnect()
	return nil
}
