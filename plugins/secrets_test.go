package plugins_test

import (
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// TestUnreadableSecretIsRetried removes the file of a secret: the job waits, the evidence names the
// secret, the log names its file, and the job succeeds once the file is back.
func TestUnreadableSecretIsRetried(t *testing.T) {
	var logs syncBuffer
	var file string
	h := hostile(t, http.NotFoundHandler(), func(o *plugins.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&logs, nil))
		o.Plugins[0].Settings["headers"] = map[string]any{"authorization": "Bearer {{secret:admin}}"}
		file = o.Plugins[0].Grant.Secrets["admin"]
	})
	req := request("send:DELETE /tokens/t1")
	if got := revoke(t, h, req)[0]; got.State != abi.StateNothingToRevoke {
		t.Fatalf("with the file: %+v, want nothing_to_revoke", got)
	}
	for name, spoil := range map[string]func() error{
		"absent":    func() error { return os.Remove(file) },
		"empty":     func() error { return os.WriteFile(file, nil, 0o600) },
		"two lines": func() error { return os.WriteFile(file, []byte("a-secret\nb-secret\n"), 0o600) },
		"too large": func() error { return os.WriteFile(file, []byte(strings.Repeat("x", 9<<10)), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			before := logs.String()
			got := revoke(t, h, req)[0]
			if got.State != abi.StateRetry || got.Code != abi.CodeSecretUnreadable || !strings.Contains(got.Message, `"admin"`) {
				t.Errorf("got %+v, want retry, code %s, and the secret's name", got, abi.CodeSecretUnreadable)
			}
			if strings.Contains(got.Message, file) || strings.Contains(got.Message, "b-secret") {
				t.Errorf("message %q, want it without the path and the content", got.Message)
			}
			if log := strings.TrimPrefix(logs.String(), before); !strings.Contains(log, `"secret":"admin","file":"`+file+`"`) {
				t.Errorf("log %s, want the name of the file in it", log)
			}
			if err := os.WriteFile(file, []byte("s3cr3t-"+name), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := revoke(t, h, req)[0]; got.State != abi.StateNothingToRevoke {
				t.Errorf("with the file again: %+v, want nothing_to_revoke", got)
			}
		})
	}
}
