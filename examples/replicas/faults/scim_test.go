//go:build faults

package faults_test

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
	"sync"
	"testing"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/replicas/fleet"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/storetest"
)

// TestLinearizable: the SCIM services of three cores answer like one that does one thing at a time, while cores are
// killed and cut off. Reads see every acknowledged change, userName is unique, and no If-Match is accepted twice.
func TestLinearizable(t *testing.T) {
	f := start(t, 1, "refuse")
	ids := &sync.Map{}
	var at []storetest.Directory
	for _, core := range f.Cores() {
		if err := f.Start(core); err != nil {
			t.Fatal(err)
		}
		c, err := f.ClientAt(core)
		if err != nil {
			t.Fatal(err)
		}
		c.Timeout = 20 * time.Second
		token, err := f.DirectoryAt(core)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, &directory{core, c, token, ids})
	}
	ready(t, f)
	faults := []fault{
		{"SIGKILL of the leader", killLeader},
		{"SIGKILL of all cores", killAll},
		{"a core cut off from the others", cutCore},
		{"SIGKILL of a follower", killFollower},
	}
	for begin, n := time.Now(), 0; n < 2 || time.Since(begin) < *runFor; n++ {
		x := faults[n%len(faults)]
		storetest.Linearizable(t, at, 20, func() {
			began := time.Now()
			end, without := x.begin(t, f)
			accept(t, at, without)
			took := time.Since(began)
			end()
			ready(t, f)
			accept(t, at, nil)
			t.Logf("%s: the other cores accept writes after %s, all after %s", x.name, took.Round(time.Millisecond),
				time.Since(began).Round(time.Millisecond))
		})
		if t.Failed() {
			return
		}
	}
	replayed(t, f)
}

func ready(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	for _, core := range f.Cores() {
		if err := f.Ready(t.Context(), core); err != nil {
			t.Fatal(err)
		}
	}
}

// accept waits until every core but some has answered a read, which is a write to the log.
func accept(t *testing.T, at []storetest.Directory, without []string) {
	t.Helper()
	for _, d := range at {
		core := d.(*directory).core
		if len(without) > 0 && strings.Contains(fmt.Sprint(without), core) && len(without) < len(at) {
			continue
		}
		if err := fleet.Until(t.Context(), core+" to answer", func() bool {
			_, err := d.Read(t.Context(), "nobody")
			return err == nil
		}); err != nil {
			t.Error(err)
		}
	}
}

// directory is the SCIM service of one core. The user of a call is an externalId, its number a title.
type directory struct {
	core  string
	http  *http.Client
	token *idp.Client
	ids   *sync.Map // externalId: id, of all cores
}

type user struct {
	Schemas    []string            `json:"schemas"`
	ID         string              `json:"id,omitempty"`
	UserName   string              `json:"userName"`
	ExternalID string              `json:"externalId"`
	Display    string              `json:"displayName"`
	Title      string              `json:"title,omitempty"`
	Active     bool                `json:"active"`
	Emails     []map[string]string `json:"emails,omitempty"`
	Meta       *struct {
		Version string `json:"version"`
	} `json:"meta,omitempty"`
}

// row is the user as a history knows it.
func (d *directory) row(u *user) (storetest.Row, error) {
	if u.Meta == nil {
		return storetest.Row{}, errors.New("a user without a version")
	}
	var seq store.Seq
	if _, err := fmt.Sscanf(u.Meta.Version, `W/"%d"`, &seq); err != nil {
		return storetest.Row{}, fmt.Errorf("the version %s: %w", u.Meta.Version, err)
	}
	d.ids.Store(u.ExternalID, u.ID)
	number, _ := strconv.ParseInt(u.Title, 10, 64) // none before the first count
	return storetest.Row{User: u.ExternalID, Version: seq, Number: number}, nil
}

// Read implements storetest.Directory.
func (d *directory) Read(ctx context.Context, name string) (row storetest.Row, err error) {
	filter := "/Users?filter=" + url.QueryEscape("userName eq "+strconv.Quote(name))
	status, body, err := d.do(ctx, http.MethodGet, filter, "", nil)
	if err != nil || status != http.StatusOK {
		return row, fmt.Errorf("reading %s: %d %s %w", name, status, body, err)
	}
	var found struct{ Resources []user }
	if err := json.Unmarshal(body, &found); err != nil || len(found.Resources) == 0 {
		return row, err
	}
	if len(found.Resources) > 1 {
		return storetest.Row{User: "several"}, nil // no history has such a user
	}
	return d.row(&found.Resources[0])
}

// Write implements storetest.Directory. It asks first whether the core reaches the log, so that few calls have an
// unknown outcome.
func (d *directory) Write(ctx context.Context, c *storetest.Call) (store.Seq, error) {
	if _, err := d.Read(ctx, c.Name); err != nil {
		return 0, storetest.ErrNotAsked
	}
	var method, path string
	var in any
	id, _ := d.ids.Load(c.User)
	switch c.Op {
	case storetest.OpCreate:
		method, path = http.MethodPost, "/Users"
		in = &user{
			Schemas: []string{idp.UserURN}, UserName: c.Name, ExternalID: c.User, Display: c.Name, Active: true,
			Emails: []map[string]string{{"value": c.User + "@people.example", "type": "work"}},
		}
	case storetest.OpCount:
		method, path = http.MethodPatch, fmt.Sprint("/Users/", id)
		in = map[string]any{"schemas": []string{idp.PatchURN}, "Operations": []idp.Op{
			{Op: "replace", Path: "title", Value: strconv.FormatInt(c.Number, 10)},
		}}
	case storetest.OpDelete:
		method, path = http.MethodDelete, fmt.Sprint("/Users/", id)
	default:
		return 0, fmt.Errorf("no write: %s", c.Op)
	}
	match := ""
	if c.Version != 0 {
		match = fmt.Sprintf(`W/"%d"`, c.Version)
	}
	status, body, err := d.do(ctx, method, path, match, in)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusConflict, status == http.StatusPreconditionFailed, status == http.StatusNotFound:
		return 0, storetest.ErrRefused
	case status/100 != 2:
		return 0, fmt.Errorf("%s %s: %d %s", method, path, status, body)
	case c.Op == storetest.OpDelete:
		return 0, nil
	}
	var u user
	if err := json.Unmarshal(body, &u); err != nil {
		return 0, fmt.Errorf("%s %s: %d %s: %w", method, path, status, body, err)
	}
	row, err := d.row(&u)
	return row.Version, err
}

// do sends one request, and never again: a second answer would say nothing of the first request.
func (d *directory) do(ctx context.Context, method, path, match string, in any) (status int, body []byte, err error) {
	token, err := d.token.AccessToken(ctx)
	if err != nil {
		return 0, nil, err
	}
	var text []byte
	if in != nil {
		if text, err = json.Marshal(in); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, fleet.SCIMURL+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/scim+json")
	if match != "" {
		req.Header.Set("If-Match", match)
	}
	res, err := d.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}
