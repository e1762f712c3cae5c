package sidecar

import (
	"fmt"
	"time"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/sidecar/config"
)

// Check judges what a configuration names and what does not prevent a start: certificates at the time
// now, and the manifests, modules and grants of plugins. A plugin that Check refuses does not load.
func Check(cfg *config.Config, now time.Time) []config.Finding {
	out := cfg.JudgeCertificates(cfg.ReadCertificates(), now)
	for _, p := range pluginConfigs(cfg) {
		if err := plugins.Check(p); err != nil {
			out = append(out, config.Finding{
				Path: fmt.Sprintf("plugin of app %s in tenant %s", p.App, p.Tenant), Msg: err.Error(),
				Fix: "until it is mended, the plugin does not load and nothing is revoked inside the application",
			})
		}
	}
	return out
}
