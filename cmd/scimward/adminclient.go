package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// adminClient asks the admin listener of a running scimward.
type adminClient struct {
	base, addr, data string
	http             *http.Client
}

// newAdminClient does not check the files that the configuration names: its user may not be allowed to read them.
func newAdminClient(file string) (*adminClient, *config.Config, error) {
	cfg, err := config.LoadLenient(file)
	if err != nil {
		return nil, nil, explain(err)
	}
	c := &adminClient{
		base: "http://" + cfg.Listen.Admin, addr: cfg.Listen.Admin, data: cfg.DataDir,
		http: &http.Client{Timeout: 30 * time.Second},
	}
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

// get returns the body and header of a 200. The detail of a problem document becomes an error. The server must use the
// data folder of this configuration.
func (c *adminClient) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the admin listener: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, hinted(fmt.Errorf("asking the admin listener: %w", err),
			"is `scimward serve` running with this configuration?")
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if err := c.ours(res.Header); err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return b, res.Header, nil
	}
	return nil, nil, problem(res.StatusCode, b)
}

// ours returns an error when the answer is not from the scimward of this configuration.
func (c *adminClient) ours(h http.Header) error {
	data, err := url.PathUnescape(h.Get(sidecar.HeaderDataDir))
	if err != nil || data == "" {
		return hinted(fmt.Errorf("another program than scimward answers on %s", c.addr),
			"choose another port for listen.admin")
	}
	if !sameFolder(data, c.data) {
		err := fmt.Errorf("another scimward answers on %s (data in %s), not the one of this configuration (data in %s)",
			c.addr, data, c.data)
		return hinted(err, "name its configuration with -c FILE, or give each its own listen.admin")
	}
	return nil
}

// sameFolder reports whether two paths are equal or lead to the same folder.
func sameFolder(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

// problem turns a problem document into an error.
func problem(status int, body []byte) error {
	var p struct {
		Detail  string                  `json:"detail"`
		Matches []sidecar.EvidenceMatch `json:"matches"`
		More    bool                    `json:"more"`
	}
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return fmt.Errorf("the admin listener answered %d", status)
	}
	if len(p.Matches) == 0 {
		return errors.New(p.Detail)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nID\tUSER NAME\tEPOCHS\tSTATUS\tLEFT", p.Detail)
	for _, m := range p.Matches {
		fmt.Fprintf(&b, "\n%s\t%s\t%d\t%s\t%s", m.User, m.UserName, m.Epochs, plain(m.Status), stamp(m.When))
	}
	if p.More {
		b.WriteString("\nand more, which you find by id only")
	}
	return hinted(errors.New(columns(b.String())), "scimward evidence "+p.Matches[0].User)
}
