package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scim NAME STATUS TENANT METHOD PATH [FILE] sends a SCIM request to the running scimward, with the static token in
// TENANT.token, and compares the status. $NAME becomes the id of the decision, $NAME_ID that of the resource.
func scim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 5 || len(args) > 6 {
		ts.Fatalf("usage: scim NAME STATUS TENANT METHOD PATH [FILE]")
	}
	name, status, tenant := args[0], args[1], args[2]
	body := ""
	if len(args) == 6 {
		body = ts.ReadFile(args[5])
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, args[3], "http://127.0.0.1:"+ts.Getenv("SCIM_PORT")+"/scim/v2"+args[4],
		strings.NewReader(body))
	ts.Check(err)
	req.Host = tenant + ".example.com"
	token, _, _ := strings.Cut(ts.ReadFile(tenant+".token"), "\n")
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	ts.Check(err)
	if fmt.Sprint(res.StatusCode) != status {
		ts.Fatalf("status %d, want %s: %s", res.StatusCode, status, answer)
	}
	var resource struct{ ID string }
	ts.Check(json.Unmarshal(answer, &resource))
	ts.Setenv(name, res.Header.Get("Scimward-Decision"))
	ts.Setenv(name+"_ID", resource.ID)
}

// until TEXT ARGS... runs scimward again until its standard output contains TEXT.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT ARGS...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ts.Check(ts.Exec("scimward", args[1:]...))
		out := ts.ReadFile("stdout")
		if strings.Contains(out, args[0]) {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("the output never contains %q: %s", args[0], out)
		case <-tick.C:
		}
	}
}

// cut FOLDER takes the last byte from the recording in a folder, as a crash may.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cut FOLDER")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.rec"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%d recordings in %s, want one", len(files), args[0])
	}
	info, err := os.Stat(files[0])
	ts.Check(err)
	ts.Check(os.Truncate(files[0], info.Size()-1))
}
