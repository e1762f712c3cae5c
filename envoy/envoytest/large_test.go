package envoytest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/examples/quickstart/stack"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/storetest"
)

// largest is max_group_body_bytes of the default configuration.
const largest = 32 << 20

// seedUsers writes users into the store of a stack that has not started.
func seedUsers(t *testing.T, dir string, n int) []string {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{
		Dir: filepath.Join(dir, "data", "store"), Tenants: map[string]store.TenantOptions{"acme": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for len(ids) < n {
		var part []string
		if _, err := s.Update(t.Context(), "acme", storetest.Cause("seed"), func(tx *store.Tx) error {
			part = nil
			for i := len(ids); i < min(len(ids)+500, n); i++ {
				u := &store.User{ID: fmt.Sprintf("seeded-%029d", i), Resource: scim.Object{"userName": fmt.Sprint("u", i), "active": true}}
				if err := tx.CreateUser(u); err != nil {
					return err
				}
				part = append(part, u.ID)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, part...)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// scimClient sends SCIM requests through Envoy.
type scimClient struct {
	t     *testing.T
	http  *http.Client
	url   string
	token string
}

func newSCIMClient(t *testing.T, w *world) *scimClient {
	t.Helper()
	token, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: stack.DialLoopback, TLSClientConfig: &tls.Config{RootCAs: w.Roots, MinVersion: tls.VersionTLS12},
	}}
	t.Cleanup(c.CloseIdleConnections)
	return &scimClient{t, c, w.Acme.URL + "/scim/v2", token}
}

func (c *scimClient) do(method, path string, body io.Reader, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(c.t.Context()), method, c.url+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (c *scimClient) want(status int, method, path string, body io.Reader, header ...string) answer {
	c.t.Helper()
	a := c.do(method, path, body, header...)
	if a.status != status {
		c.t.Fatalf("%s %s: status %d, want %d: %.300s", method, path, a.status, status, a.body)
	}
	return a
}

// TestLargeGroupThroughEnvoy checks that a group with many members passes Envoy in both directions, up to
// max_group_body_bytes, that only a known client may send so much, and that HEAD and the preconditions
// pass.
func TestLargeGroupThroughEnvoy(t *testing.T) {
	dir := t.TempDir()
	ids := seedUsers(t, dir, 20_000)
	w, err := startWorld(dir, func(text string) string {
		return strings.Replace(text, "    requests_per_second", "    profile: rfc7644\n    requests_per_second", 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	c := newSCIMClient(t, w)
	members := make([]map[string]string, 0, len(ids))
	for _, id := range ids {
		members = append(members, map[string]string{"value": id})
	}
	document := func(name string, n int, size int) *bytes.Reader {
		b, err := json.Marshal(map[string]any{
			"schemas": []string{scim.GroupURN}, "displayName": name, "members": members[:n],
		})
		if err != nil {
			t.Fatal(err)
		}
		if pad := size - len(b); pad > 0 {
			b = append(b, bytes.Repeat([]byte(" "), pad)...)
		}
		return bytes.NewReader(b)
	}
	made := c.want(201, "POST", "/Groups", document("staff", len(ids), 0))
	var group struct {
		ID      string
		Members []map[string]string
	}
	if err := json.Unmarshal([]byte(made.body), &group); err != nil || len(group.Members) != len(ids) {
		t.Fatalf("the new group has %d members, want %d (%v)", len(group.Members), len(ids), err)
	}
	path := "/Groups/" + group.ID
	tag := made.header.Get("ETag")
	if head := c.want(200, "HEAD", path, nil); head.header.Get("ETag") != tag || head.body != "" {
		t.Errorf("HEAD: ETag %q, want %q; body %q", head.header.Get("ETag"), tag, head.body)
	}
	c.want(304, "GET", path, nil, "If-None-Match", tag)
	read := c.want(200, "GET", path, nil)
	if back := c.want(200, "PUT", path, strings.NewReader(read.body), "If-Match", tag); back.header.Get("ETag") != tag {
		t.Errorf("writing back what was read changed the ETag from %s to %s", tag, back.header.Get("ETag"))
	}
	c.want(413, "PUT", path, document("x", 1, largest+1))
	c.want(412, "PUT", path, document("x", 1, 1<<20), "If-Match", `W/"1"`)
	c.want(400, "PUT", path, strings.NewReader(strings.Repeat("x", 1<<20)))
	stranger := *c
	stranger.token = "stolen"
	stranger.want(401, "PUT", path, document("x", 1, 1<<20))
	if now := c.want(200, "GET", path, nil); now.body != read.body {
		t.Error("a refused request changed the group")
	}
	c.want(200, "PUT", path, document("staff", 10_000, largest))
	values, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	c.want(204, "PATCH", path, strings.NewReader(patch(`{"op":"replace","path":"members","value":`+string(values)+`}`)))
	if now := c.want(200, "GET", path, nil); strings.Count(now.body, `"value"`) != len(ids) {
		t.Errorf("the group has %d members, want %d", strings.Count(now.body, `"value"`), len(ids))
	}
}
