package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/scimward/scimward/sidecar/config"
)

// adminClient asks the admin listener of a running scimward.
type adminClient struct {
	base string
	http *http.Client
}

func newAdminClient(file string) (*adminClient, *config.Config, error) {
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, nil, err
	}
	c := &adminClient{base: "http://" + cfg.Listen.Admin, http: &http.Client{Timeout: 30 * time.Second}}
	if path, ok := config.UnixPath(cfg.Listen.Admin); ok {
		c.base = "http://localhost"
		c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}}
	}
	return c, cfg, nil
}

const maxAnswer = 128 << 20

// get returns the body of a 200, and the detail of a problem document as an error.
func (c *adminClient) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the admin listener: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, hinted{fmt.Errorf("asking the admin listener: %w", err), "is `scimward serve` running with this configuration?"}
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return b, nil
	}
	var p struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(b, &p) == nil && p.Detail != "" {
		return nil, errors.New(p.Detail)
	}
	return nil, fmt.Errorf("the admin listener answered %d", res.StatusCode)
}
