package plugins

import (
	"errors"
	"log/slog"
	"time"
)

// Check reads the manifest, module and grant of a plugin as [Open] does, and returns why the plugin would
// be refused, nil if it would not. It runs no code of the plugin, so a module may still fail to load.
func Check(cfg Config) error {
	m, err := newMetrics(nil)
	if err != nil {
		return err
	}
	opts := Options{Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	p, err := newPlugin(cfg, &common{opts: opts, metrics: m})
	if err != nil {
		return err
	}
	var errs []error
	for name := range cfg.Grant.Secrets {
		if _, err := p.secrets.get(name); err != nil {
			errs = append(errs, err)
		}
	}
	p.close()
	return errors.Join(errs...)
}
