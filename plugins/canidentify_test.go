package plugins_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/plugins/plugintest"
)

// TestCanIdentify: the operator learns what an opaque subject lacks before a request arrives.
func TestCanIdentify(t *testing.T) {
	guest := plugintest.BuildGo(t, "./plugintest/testdata/hostile")
	full, unmarked := hostileManifest(), hostileManifest()
	unmarked.Capabilities.HTTP[0].Identify = false
	mute := Handmade(I32(0)).Write(t)
	broken := Handmade(I32(0))
	broken.NoMemory = true
	const base = "http://127.0.0.1:1"
	secrets := map[string]string{"admin": "s3cr3t-admin-value"}
	ungranted := plugintest.Local(t, base, guest, full, secrets)
	ungranted.Grant.HTTP[0].Identify = false
	for name, tt := range map[string]struct {
		cfg        plugins.Config
		code, want string
	}{
		"nothing":              {plugintest.Local(t, base, guest, full, secrets), "", ""},
		"no identify":          {plugintest.Local(t, base, mute, HandmadeManifest(), nil), abi.CodeUnsupported, "plugin handmade exports no identify"},
		"no need marked":       {plugintest.Local(t, base, guest, unmarked, secrets), abi.CodeUnsupported, "no http rule has identify: true"},
		"no grant":             {ungranted, abi.CodeNotLoaded, "plugin.http[0] does not grant identify: true"},
		"a module that is bad": {plugintest.Local(t, base, broken.Write(t), HandmadeManifest(), nil), abi.CodeNotLoaded, "plugin handmade: refused at"},
	} {
		t.Run(name, func(t *testing.T) {
			h := plugintest.Open(t, plugins.Options{Plugins: []plugins.Config{tt.cfg}})
			err := h.CanIdentify("acme", "app")
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var e *plugins.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.want) {
				t.Errorf("%v, want %s: %s", err, tt.code, tt.want)
			}
			if _, err := h.Identify(t.Context(), "acme", "app", plugins.Question{Secret: cookie}); err == nil {
				t.Error("Identify() = nil, want an error as from CanIdentify")
			}
			if err := h.CanIdentify("other", "app"); !errors.Is(err, plugins.ErrNoPlugin) {
				t.Errorf("another tenant: %v, want ErrNoPlugin", err)
			}
		})
	}
}
