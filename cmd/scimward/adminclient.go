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
	"text/tabwriter"
	"time"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// adminClient asks the admin listener of a running scimward.
type adminClient struct {
	base, addr, data string
	http             *http.Client
}

// newAdminClient needs the address and the names of the tenants only: files that
// the configuration names may be out of the reach of whoever asks.
func newAdminClient(file string) (*adminClient, *config.Config, error) {
	cfg, err := config.LoadLenient(file)
	if err != nil {
		return nil, nil, explain(err)
	}
	c := &adminClient{base: "http://" + cfg.Listen.Admin, addr: cfg.Listen.Admin, data: cfg.DataDir, http: &http.Client{Timeout: 30 * time.Second}}
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

// get returns the body and header of a 200, and the detail of a problem document
// as an error. Who answers must work on this configuration's data folder.
func (c *adminClient) get(ctx context.Context, path string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("asking the admin listener: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, hinted{fmt.Errorf("asking the admin listener: %w", err), "is `scimward serve` running with this configuration?"}
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

// ours refuses the answer of anything but the scimward of this configuration.
func (c *adminClient) ours(h http.Header) error {
	data, err := url.PathUnescape(h.Get(sidecar.HeaderDataDir))
	if err != nil || data == "" {
		return hinted{fmt.Errorf("what answers on %s is not scimward", c.addr), "another program has the port of listen.admin"}
	}
	if !sameFolder(data, c.data) {
		return hinted{
			fmt.Errorf("another scimward answers on %s (data in %s), not that of this configuration (data in %s)", c.addr, data, c.data),
			"name its configuration with -c FILE, or give each its own listen.admin",
		}
	}
	return nil
}

// sameFolder compares two paths, and what they lead to where that can be seen.
func sameFolder(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}

// problem makes an error of a problem document.
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
	var list strings.Builder
	tw := tabwriter.NewWriter(&list, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprint(tw, "ID\tUSER NAME\tEPOCHS\tSTATUS\tLEFT") // writes to memory
	for _, m := range p.Matches {
		_, _ = fmt.Fprintf(tw, "\n%s\t%s\t%d\t%s\t%s", m.User, m.UserName, m.Epochs, strings.ReplaceAll(m.Status, "_", " "), m.When.Format("2006-01-02 15:04:05 MST"))
	}
	_ = tw.Flush()
	if p.More {
		list.WriteString("\nand more, which are found by id only")
	}
	return hinted{fmt.Errorf("%s\n%s", p.Detail, &list), "scimward evidence " + p.Matches[0].User}
}
