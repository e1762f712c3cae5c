package plugins_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

// TestMain: the test binary is also the worker.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "plugin-parent" {
		os.Exit(parent(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin-liar" {
		os.Exit(liar(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin-late" {
		os.Exit(late(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "plugin-probe" {
		os.Exit(probe(os.Args[2]))
	}
	plugintest.Main(m)
}

func hostileManifest() plugins.Manifest {
	return plugins.Manifest{
		Name: "hostile", Version: "1.0.0", Kinds: []abi.Kind{abi.KindWebSession, abi.KindPAT},
		SubjectAttributes: []string{"employeeNumber"},
		Capabilities: plugins.Capabilities{HTTP: []plugins.HTTPNeed{{
			BaseURL: "base_url", Methods: []string{"GET", "HEAD", "DELETE", "POST"}, Secrets: []string{"admin"}, Identify: true,
		}}},
	}
}

// hostile opens a host with the hostile Go guest for app. identify may take minutes, because the
// machine may be busy.
func hostile(t *testing.T, app http.Handler, edit func(*plugins.Options)) *plugins.Host {
	t.Helper()
	h := impatient(t, app, edit)
	h.SetIdentifyTimeout(2 * time.Minute)
	return h
}

// impatient is hostile with the real timeout of identify.
func impatient(t *testing.T, app http.Handler, edit func(*plugins.Options)) *plugins.Host {
	t.Helper()
	srv := httptest.NewServer(app)
	t.Cleanup(srv.Close)
	wasm := plugintest.BuildGo(t, "./plugintest/testdata/hostile")
	cfg := plugintest.Local(t, srv.URL, wasm, hostileManifest(), map[string]string{"admin": "s3cr3t-admin-value"})
	opts := plugins.Options{Plugins: []plugins.Config{cfg}}
	if edit != nil {
		edit(&opts)
	}
	h := plugintest.Open(t, opts)
	if err := h.Ready(); err != nil {
		t.Fatal(err)
	}
	return h
}

func request(mode string, kinds ...abi.Kind) abi.Request {
	if len(kinds) == 0 {
		kinds = []abi.Kind{abi.KindWebSession}
	}
	return abi.Request{
		RequestID: mode, IdempotencyKey: "key", Attempt: 1, Kinds: kinds,
		Event:   &abi.Event{Type: abi.EventDeactivated, ID: "e1", OccurredAt: time.Unix(0, 0)},
		Subject: &abi.Subject{SCIMID: "u1", UserName: "ann", Attributes: map[string]any{"employeeNumber": "7", "salary": 1}},
	}
}

func revoke(t *testing.T, h *plugins.Host, req abi.Request) []abi.KindResult {
	t.Helper()
	res, err := h.Revoke(t.Context(), "acme", "app", req)
	if err != nil {
		t.Fatal(err)
	}
	return res.Kinds
}

// TestRevokeThroughWorker: a real worker revokes, and Info and Health describe the plugin.
func TestRevokeThroughWorker(t *testing.T) {
	h := hostile(t, http.NotFoundHandler(), nil)
	got := revoke(t, h, request("", abi.KindWebSession, abi.KindPAT, abi.KindWebSession))
	want := []abi.KindResult{
		{Kind: abi.KindWebSession, State: abi.StateRevoked, Count: 1}, {Kind: abi.KindPAT, State: abi.StateRevoked, Count: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	info, ok := h.Info("acme", "app")
	if !ok || info.Name != "hostile" || !info.Identify || !info.Verify || !strings.HasPrefix(info.Digest, "sha256:") {
		t.Errorf("Info = %+v, %v, want the manifest's and true", info, ok)
	}
	if health, err := h.Health(t.Context(), "acme", "app"); err != nil || health.Status != "ok" {
		t.Errorf("Health = %+v, %v, want ok", health, err)
	}
	if _, err := h.Revoke(t.Context(), "other", "app", request("")); !errors.Is(err, plugins.ErrNoPlugin) {
		t.Errorf("foreign tenant: %v, want ErrNoPlugin", err)
	}
}

// TestVerdicts: each behaviour of a guest gets its state and code.
func TestVerdicts(t *testing.T) {
	h := hostile(t, http.NotFoundHandler(), nil)
	two := []abi.Kind{abi.KindWebSession, abi.KindPAT}
	tests := []struct {
		name string
		req  abi.Request
		dry  bool
		want []abi.KindResult // Message is not compared
	}{
		{"unknown state", request("lie"), false, []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateFailed, Code: abi.CodeContract}}},
		{"empty state", request("leave-out"), false, []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateFailed, Code: abi.CodeContract}}},
		{"kind it does not have", request("", abi.KindDevice), false, []abi.KindResult{{Kind: abi.KindDevice, State: abi.StateUnsupported}}},
		{"dry run", request(""), true, []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateWouldRevoke, Count: 1}}},
		{"revoked in a dry run", request("clock"), true, []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateFailed, Code: abi.CodeContract}}},
		{"real clock and sleep", request("clock"), false, []abi.KindResult{{Kind: abi.KindWebSession, State: abi.StateRevoked, Count: 1}}},
		{"report before a trap counts", request("panic-second", two...), false, []abi.KindResult{
			{Kind: abi.KindWebSession, State: abi.StateRevoked, Count: 1}, {Kind: abi.KindPAT, State: abi.StateRetry, Code: abi.CodeTrap},
		}},
		{"no kinds", abi.Request{}, false, []abi.KindResult{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.DryRun = tt.dry
			got := revoke(t, h, tt.req)
			for i := range got {
				got[i].Message = ""
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestVerifyAnswersEachKind: Verify returns each requested kind once, and unknown without an
// answer.
func TestVerifyAnswersEachKind(t *testing.T) {
	h := hostile(t, http.NotFoundHandler(), nil)
	res, err := h.Verify(t.Context(), "acme", "app", request("", abi.KindWebSession, abi.KindPAT, abi.KindDevice))
	if err != nil {
		t.Fatal(err)
	}
	want := []abi.Liveness{
		{Kind: abi.KindWebSession, Live: 3, Probe: "list"}, {Kind: abi.KindPAT, Live: abi.LiveUnknown}, {Kind: abi.KindDevice, Live: abi.LiveUnknown},
	}
	if diff := cmp.Diff(want, res.Kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// code is the ABI code of a host's error.
func code(err error) string {
	var e *plugins.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
