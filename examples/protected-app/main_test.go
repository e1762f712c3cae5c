package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/scimward/scimward/examples/protected-app/app"
)

func build(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "protected-app")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return program
}

// TestCommand: the command serves until SIGTERM, and exits with an error for faulty arguments.
func TestCommand(t *testing.T) {
	program := build(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("admin-token-for-tests\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loopback := []string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-ssh", "127.0.0.1:0"}

	t.Run("serves until SIGTERM", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), program, append(loopback, "-admin-token-file", token)...)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err != nil {
			t.Fatalf("no line on stdout: %v\n%s", err, stderr.String())
		}
		var at app.Addresses
		if err := json.Unmarshal(line, &at); err != nil || at.SSH == "" || !strings.HasPrefix(at.SSHHostKey, "ssh-ed25519 ") {
			t.Fatalf("addresses %s: %v", line, err)
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+at.Admin+"/admin/healthz", nil)
		r.Header.Set("Authorization", "Bearer admin-token-for-tests")
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("admin health = %v, %v", resp, err)
		}
		resp.Body.Close()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("ended with %v\n%s", err, stderr.String())
		}
		if strings.Contains(stderr.String(), "admin-token-for-tests") {
			t.Errorf("the log contains the admin token, want none:\n%s", stderr.String())
		}
	})

	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no token file", nil, 2, "-admin-token-file is required"},
		{"missing token file", []string{"-admin-token-file", "/nonexistent"}, 2, "reading the admin token"},
		{"short token", append([]string{"-admin-token-file", short}, loopback...), 1, "want at least 16"},
		{"other state", []string{"-state", "disk"}, 2, "only memory"},
		{"TLS", []string{"-tls", "on"}, 2, "only none"},
		{"argument", []string{"extra"}, 2, "unexpected argument"},
		{"unknown flag", []string{"-nope"}, 2, "nope"},
		{"help", []string{"-h"}, 0, "-admin-token-file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, tt.args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // its error is in the exit code
			code := cmd.ProcessState.ExitCode()
			if code != tt.code || !strings.Contains(stderr.String(), tt.want) || stdout.Len() > 0 {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}
