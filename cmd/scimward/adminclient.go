package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// adminClient asks the admin socket of a running scimward.
type adminClient struct {
	cfg    *config.Config
	faults error // of the file; nil if it has none
	http   *http.Client
}

// newAdminClient does not check the files that the configuration names, because its user may not be
// allowed to read them. Faults of the file do not stop it: the sidecar runs with the former
// configuration, and a person must be lockable also then.
func newAdminClient(file string) (*adminClient, error) {
	cfg, err := config.LoadLenient(file)
	if cfg == nil {
		return nil, explain(err)
	}
	path, _ := config.UnixPath(cfg.Listen.Admin)
	timeout := cfg.Cluster.Outlasting(30 * time.Second)
	return &adminClient{cfg: cfg, faults: err, http: &http.Client{Timeout: timeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// maxAnswer bounds an answer that is kept in memory.
const maxAnswer = 128 << 20

// answer is a response with status 200.
type answer struct {
	header http.Header
	body   []byte
}

// get returns the answer to a request if its status is 200. Otherwise the detail of the problem
// document becomes the error. get fails if the server uses another data folder than this
// configuration.
func (c *adminClient) get(ctx context.Context, path string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return answer{}, fmt.Errorf("asking the admin listener: %w", err)
	}
	return c.do(req)
}

// post asks for a change, in the name of the operator.
func (c *adminClient) post(ctx context.Context, operator, path string, in any) (answer, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return answer{}, fmt.Errorf("encoding the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, bytes.NewReader(b))
	if err != nil {
		return answer{}, fmt.Errorf("asking the admin listener: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(sidecar.HeaderOperator, url.PathEscape(operator))
	return c.do(req)
}

// send returns an answer of the scimward of this configuration, whatever its status.
func (c *adminClient) send(client *http.Client, req *http.Request) (*http.Response, error) {
	res, err := client.Do(req)
	if errors.Is(err, fs.ErrPermission) {
		return nil, hinted(fmt.Errorf("asking the admin listener: %w", err),
			"run this as root or as the user who runs scimward")
	}
	if err != nil && c.faults != nil {
		return nil, hinted(errors.Join(c.faults, fmt.Errorf("asking the admin listener: %w", err)),
			"mend the file, or name a copy of the configuration in force with -c FILE")
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("asking the admin listener: %w", err),
			"is `scimward serve` running with this configuration? While it starts it does not answer; its log says what it "+
				"waits for")
	}
	if err := c.ours(res.Header); err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	return res, nil
}

// stream returns the body of an answer with status 200. It may take as long as ctx allows.
func (c *adminClient) stream(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("asking the admin listener: %w", err)
	}
	res, err := c.send(&http.Client{Transport: c.http.Transport}, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return nil, errors.Join(problem(res.StatusCode, b), err, res.Body.Close())
}

func (c *adminClient) do(req *http.Request) (answer, error) {
	res, err := c.send(c.http, req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	if len(b) > maxAnswer {
		return answer{}, fmt.Errorf("the answer has more than %d MiB: ask for less", maxAnswer>>20)
	}
	if res.StatusCode == http.StatusOK {
		return answer{res.Header, b}, nil
	}
	return answer{}, problem(res.StatusCode, b)
}

// ours returns an error when the answer is not from the scimward of this configuration.
func (c *adminClient) ours(h http.Header) error {
	data, err := url.PathUnescape(h.Get(sidecar.HeaderDataDir))
	if err != nil || data == "" {
		return hinted(fmt.Errorf("another program than scimward answers on %s", c.cfg.Listen.Admin),
			"choose another path for listen.admin")
	}
	if !sameFolder(data, c.cfg.DataDir) {
		err := fmt.Errorf("another scimward answers on %s (data in %s), not the one of this configuration (data in %s)",
			c.cfg.Listen.Admin, data, c.cfg.DataDir)
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
		status, left := plain(m.Status), stamp(m.When)
		if m.Epochs == 0 {
			status, left = "never left", "-"
		}
		fmt.Fprintf(&b, "\n%s\t%s\t%d\t%s\t%s", m.User, oneLine(m.UserName), m.Epochs, status, left)
	}
	if p.More {
		b.WriteString("\nand more, which you find by id only")
	}
	return hinted(errors.New(columns(b.String())), "scimward evidence "+p.Matches[0].User)
}
