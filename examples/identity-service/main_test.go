package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func build(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "identity-service")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return program
}

// run runs the program to its end.
func run(t *testing.T, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its error is in the exit code
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// journal lists the requests to the application.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// take empties the journal.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// application accepts any assertion and answers like a SCIM service with one user.
func application(t *testing.T) (srv *httptest.Server, ca string, seen *journal) {
	t.Helper()
	seen = &journal{}
	srv = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/.well-known/"):
			fmt.Fprintf(w, `{"issuer":"%[1]s","token_endpoint":"%[1]s/token"}`, srv.URL)
		case r.URL.Path == "/token":
			io.WriteString(w, `{"access_token":"t","token_type":"Bearer","expires_in":60}`)
		default:
			body, _ := io.ReadAll(r.Body)
			seen.add(r.Method + " " + r.URL.Path + " " + string(body))
			switch r.Method {
			case "GET":
				io.WriteString(w, `{"totalResults":1,"Resources":[{"id":"u1","userName":"b","active":true}]}`)
			case "POST":
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, `{"id":"x1","userName":"b","displayName":"Staff"}`)
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		}
	}))
	t.Cleanup(srv.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return srv, ca, seen
}

// TestServeAndPush: push signs with the keys of serve and prints the answer of the application.
func TestServeAndPush(t *testing.T) {
	program := build(t)
	keys := filepath.Join(t.TempDir(), "keys.json")
	cmd := exec.CommandContext(t.Context(), program, "serve", "-listen", "127.0.0.1:0", "-keys", keys)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	var ready map[string]string
	if err != nil || json.Unmarshal(line, &ready) != nil || ready["jwks_uri"] != ready["issuer"]+"/jwks.json" {
		t.Fatalf("ready line %q, %v", line, err)
	}

	srv, ca, seen := application(t)
	common := []string{"push", "-keys", keys, "-client-id", "hr", "-base-url", srv.URL + "/scim/v2", "-ca", ca}
	tests := []struct {
		name string
		args []string
		code int
		out  string // part of stdout
		last string // part of the last SCIM request
	}{
		{"create user", []string{"create-user", "b", "e1", "b@example.com"}, 0, `"id":"x1"`, `"externalId":"e1"`},
		{"find user", []string{"find-user", "b"}, 0, `"id":"u1"`, "GET /scim/v2/Users"},
		{"deactivate", []string{"deactivate", "b"}, 0, `"id":"u1"`, `"path":"active","value":false`},
		{"reactivate", []string{"reactivate", "b"}, 0, `"id":"u1"`, `"path":"active","value":true`},
		{"delete user", []string{"delete-user", "b"}, 0, `"id":"u1"`, "DELETE /scim/v2/Users/u1"},
		{"create group", []string{"create-group", "Staff"}, 0, `"id":"x1"`, `"displayName":"Staff"`},
		{"add member", []string{"add-member", "g1", "b"}, 0, `"member":"u1"`, `"op":"add","path":"members","value":[{"value":"u1"}]`},
		{"remove member", []string{"remove-member", "g1", "b"}, 0, `"member":"u1"`, `members[value eq \"u1\"]`},
		{"raw", []string{"raw", "PUT", "/Users/u1", "{}"}, 0, `{"status":204}`, "PUT /scim/v2/Users/u1 {}"},
		{"unexpected answer", []string{"raw", "GET"}, 2, "", ""},
		{"unknown action", []string{"promote", "b"}, 2, "", ""},
		{"missing argument", []string{"deactivate"}, 2, "", ""},
		{"no action", nil, 2, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := run(t, program, append(common[:len(common):len(common)], tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.out) {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
			}
			sent := seen.take()
			if tt.last == "" {
				if len(sent) > 0 {
					t.Errorf("sent %q, want no request", sent)
				}
				return
			}
			if n := len(sent); n == 0 || !strings.Contains(sent[n-1], tt.last) {
				t.Errorf("sent %q, want the last with %q", sent, tt.last)
			}
		})
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// TestBadArguments: faulty arguments exit with an error and make no file.
func TestBadArguments(t *testing.T) {
	program := build(t)
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.json")
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nothing", nil, 2, "usage:"},
		{"unknown command", []string{"pull"}, 2, "usage:"},
		{"serve without keys", []string{"serve"}, 2, "serve needs -keys"},
		{"serve with bad keys", []string{"serve", "-keys", bad}, 1, "reading keys"},
		{"serve beyond loopback without TLS", []string{"serve", "-keys", filepath.Join(dir, "k.json"), "-listen", "0.0.0.0:0"}, 1, "needs TLS"},
		{"serve with half a certificate", []string{"serve", "-keys", filepath.Join(dir, "k.json"), "-tls-cert", bad}, 1, "reading the certificate"},
		{"push without options", []string{"push", "find-user", "b"}, 2, "push needs"},
		{"push with an unknown flag", []string{"push", "-nope"}, 2, "nope"},
		{"push with missing keys", []string{"push", "-keys", missing, "-client-id", "hr", "-base-url", "https://127.0.0.1:1/scim/v2", "find-user", "b"}, 1, "serve makes them"},
		{"push with a file without authorities", []string{"push", "-keys", filepath.Join(dir, "k.json"), "-ca", bad, "-client-id", "hr", "-base-url", "https://127.0.0.1:1/scim/v2", "find-user", "b"}, 1, "has no PEM certificate"},
		{"push to a bad URL", []string{"push", "-keys", filepath.Join(dir, "k.json"), "-client-id", "hr", "-base-url", "app", "find-user", "b"}, 2, "is not an http(s) URL"},
		{"help", []string{"push", "-h"}, 0, "-client-id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := run(t, program, tt.args...)
			if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
	if _, err := os.Stat(missing); err == nil {
		t.Errorf("push made %s, want no file", missing)
	}
}
