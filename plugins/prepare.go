package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
)

// set is the plugins of one configuration. It does not change.
type set struct {
	plugins map[appKey]*plugin
	refused map[appKey]error // plugins that cannot load until their files or configuration change
}

// Prepared is a set of plugins that [Host.Prepare] has loaded and that is not in force yet. Call Apply
// or Discard, once.
type Prepared struct {
	host *Host
	next *set
	Err  error // why a plugin did not load, nil if all did
}

// Prepare loads the plugins of a new configuration, one after the other, while the present ones serve.
// It returns when each is ready or refused; Prepared.Err says which is not, unless it was refused before
// for the same reason. A plugin with unchanged configuration, manifest and module keeps its worker.
// Prepare returns an error if a plugin is named twice or ctx ends.
func (h *Host) Prepare(ctx context.Context, configs []Config) (*Prepared, error) {
	return h.prepare(ctx, configs, func(p *plugin) error {
		_, err := p.worker(ctx)
		return err
	})
}

// prepare makes the plugins of a configuration, and calls load for each that is not in force already.
func (h *Host) prepare(ctx context.Context, configs []Config, load func(*plugin) error) (*Prepared, error) {
	p := &Prepared{host: h, next: &set{plugins: map[appKey]*plugin{}, refused: map[appKey]error{}}}
	var faults []error
	for _, cfg := range configs {
		key := appKey{cfg.Tenant, cfg.App}
		if p.next.plugins[key] != nil || p.next.refused[key] != nil || cfg.Tenant == "" || cfg.App == "" {
			p.Discard()
			return nil, fmt.Errorf("plugins: %s has two plugins, or no name", key)
		}
		if err := p.load(ctx, key, cfg, load); err != nil {
			faults = append(faults, fmt.Errorf("plugin %s: %w", key, err))
		}
		if ctx.Err() != nil {
			p.Discard()
			return nil, ctx.Err()
		}
	}
	p.Err = errors.Join(faults...)
	return p, nil
}

func (p *Prepared) load(ctx context.Context, key appKey, cfg Config, load func(*plugin) error) error {
	c := p.host.common
	made, err := newPlugin(cfg, c)
	if err != nil {
		p.next.refused[key] = err
		if was := p.host.set.Load().refused[key]; was != nil && was.Error() == err.Error() {
			return nil // it was refused before, and is no fault of this change
		}
		c.metrics.loadFailures.WithLabelValues(cfg.Tenant, cfg.App).Inc()
		c.opts.Logger.LogAttrs(ctx, slog.LevelError, "plugin refused",
			slog.String("tenant", cfg.Tenant), slog.String("app", cfg.App), slog.String("error", err.Error()))
		return err
	}
	if old := p.host.set.Load().plugins[key]; old != nil && old.same(made) {
		made.close()
		p.next.plugins[key] = old
		return nil
	}
	p.next.plugins[key] = made
	return load(made)
}

// same reports whether other comes from the same configuration, manifest and module.
func (p *plugin) same(other *plugin) bool {
	return reflect.DeepEqual(p.cfg, other.cfg) && reflect.DeepEqual(p.manifest, other.manifest)
}

// Apply puts the plugins in force. A replaced plugin ends when its running calls have, at the end of
// their deadlines at the latest.
func (p *Prepared) Apply() {
	old := p.host.set.Swap(p.next)
	for key, was := range old.plugins {
		if p.next.plugins[key] != was {
			p.host.retiring.Go(was.retire)
		}
	}
}

// Discard ends the plugins that Prepare has loaded.
func (p *Prepared) Discard() {
	now := p.host.set.Load()
	for key, made := range p.next.plugins {
		if now.plugins[key] != made {
			made.close()
		}
	}
}

// begin counts a call of the plugin, until end.
func (p *plugin) begin() (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running--; p.running == 0 && p.idle != nil {
			close(p.idle)
			p.idle = nil
		}
	}
}

// retire closes the plugin when no call runs. A call that begins later ends as "retry". Every call has
// a deadline, so the wait ends.
func (p *plugin) retire() {
	p.mu.Lock()
	idle := make(chan struct{})
	if p.idle = idle; p.running == 0 {
		close(idle)
		p.idle = nil
	}
	p.mu.Unlock()
	<-idle
	p.close()
}
