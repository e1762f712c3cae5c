package jetstream_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// TestOpenSaysWhatIsWrong: Open and StartServer name the option, the server or the user that is wrong.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 1)
	for name, test := range map[string]struct {
		change func(*jetstream.Options)
		want   string
	}{
		"name":         {func(o *jetstream.Options) { o.Name = "a.b" }, `"a.b"`},
		"no URL":       {func(o *jetstream.Options) { o.URLs = nil }, "no URL"},
		"no server":    {func(o *jetstream.Options) { o.URLs = []string{"tls://127.0.0.1:1"} }, "connecting to tls://127.0.0.1:1"},
		"password":     {func(o *jetstream.Options) { o.Login.Password = "wrong" }, "Authorization Violation"},
		"no authority": {func(o *jetstream.Options) { o.TLS.RootCAs = nil }, "unknown authority"},
		"copies":       {func(o *jetstream.Options) { o.Replicas = 3 }, "replicas > 1 not supported in non-clustered mode"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			o := c.Options(t, "0", 0)
			test.change(&o)
			if _, err := jetstream.Open(ctx, o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Open = %v, want %q", err, test.want)
			}
		})
	}
}
