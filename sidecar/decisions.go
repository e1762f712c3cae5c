package sidecar

import (
	"cmp"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/request"
)

// decisions turns answered requests into records of the decision log.
type decisions struct {
	log     *decisionlog.Log
	sample  atomic.Int64 // one of so many allowed requests of applications is recorded; 0 none
	allowed atomic.Int64 // such requests
}

// openDecisions makes the decision log of the first configuration.
func (s *Server) openDecisions() {
	s.decisions.log = decisionlog.New(decisionlog.Options{
		Now: s.opts.Now, Logger: s.opts.Logger, Metrics: s.registry,
		Labels: map[string]string{"instance": s.id, "version": s.opts.Version},
	})
	s.onClose(closer(s.decisions.log.Close))
	s.decisions.configure(s.opts.Config)
}

func (d *decisions) configure(cfg *config.Config) {
	c := &cfg.DecisionLog
	d.sample.Store(int64(c.ApplicationAllows))
	set := decisionlog.Settings{Buffer: c.Buffer, Tenants: map[string]decisionlog.Tenant{}}
	for i := range cfg.Tenants {
		t := &cfg.Tenants[i]
		set.Tenants[t.Name] = decisionlog.Tenant{Off: t.Decisions.Log == "off", Erase: t.Decisions.Erase}
	}
	if c.File != "" {
		set.Destinations = append(set.Destinations, fileOf(c))
	}
	if c.Stdout {
		set.Destinations = append(set.Destinations, decisionlog.Writer{To: os.Stdout})
	}
	for _, p := range []struct {
		config.DecisionService
		format string
	}{{c.HTTP, decisionlog.FormatOPA}, {c.OTLP, decisionlog.FormatOTLP}} {
		if p.URL != "" {
			set.Destinations = append(set.Destinations, decisionlog.HTTP{
				URL: p.URL, Format: p.format, TokenFile: p.TokenFile, CAFile: p.CAFile,
			})
		}
	}
	d.log.Configure(set)
}

func fileOf(c *config.DecisionLog) decisionlog.File {
	return decisionlog.File{Path: c.File, Max: int64(c.FileMaxMiB) << 20, Keep: c.FileKeep}
}

// readDecisions reads the records of a tenant from the file, or from memory without one.
func (s *Server) readDecisions(tenant string, since time.Time, fn func(*decisionlog.Record) error) error {
	if c := &s.now().config.DecisionLog; c.File != "" {
		return fileOf(c).Read(func(r *decisionlog.Record) error {
			if r.Tenant != tenant || r.Time.Before(since) {
				return nil
			}
			return fn(r)
		})
	}
	for _, r := range s.decisions.log.Recent(tenant, since) {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// ReadDecisions calls fn for the records of a file of the decision log.
func ReadDecisions(from io.Reader, fn func(*DecisionRecord) error) error {
	return decisionlog.ReadRecords(from, fn)
}

// decided records a decision. What the proxy lets pass to the SCIM service is recorded there, with its outcome, so
// that a request has one record.
func (d *decisions) decided(a *authz.Answered) {
	if !a.Service && !a.Refused {
		if a.Decision.Surface != request.SurfaceApp {
			return
		}
		if n := d.sample.Load(); n == 0 || d.allowed.Add(1)%n != 0 {
			return
		}
	}
	d.log.Add(recordOf(a))
}

func recordOf(a *authz.Answered) *decisionlog.Record {
	r, d := a.Request, a.Decision
	out := &decisionlog.Record{
		ID: r.ID, Time: r.Received.UTC(), Tenant: r.Tenant, App: r.App, Surface: string(r.Surface), By: decisionlog.ByProxy,
		Route: a.Route, Method: r.Method, Client: d.Claims.ClientID, Issuer: d.Claims.Issuer, Outcome: outcomeOf(a),
		Status: a.Status, Reason: cmp.Or(a.Reason, d.Reason), Revision: d.Policy, Deviations: d.Deviations,
		Resource: decisionlog.SCIMID(a.Resource), Subject: decisionlog.SCIMID(cmp.Or(d.Caller.UserID, d.Caller.SCIMID)),
		Took: decisionlog.Took{
			Policy: d.Judged.Microseconds(), Decide: a.Decided.Microseconds(), Total: a.Took.Microseconds(),
		},
	}
	if a.Service {
		out.By = decisionlog.ByService
	}
	if !request.UsualMethod(r.Method) {
		out.Method = "OTHER"
	}
	if out.Surface == "" {
		out.Surface = "unknown"
	}
	for _, v := range d.Violated {
		out.Rules = append(out.Rules, decisionlog.Rule{ID: v.Rule, Mode: v.Mode})
	}
	if l := d.Lock; l != nil {
		out.Lock = &decisionlog.Lock{Kind: l.State, Epoch: l.Epoch, ID: l.Operator}
		out.Subject = cmp.Or(out.Subject, decisionlog.SCIMID(l.UserID))
	}
	return out
}

func outcomeOf(a *authz.Answered) string {
	switch {
	case a.Refused && a.Status != http.StatusNotImplemented && (a.Status >= 500 || a.Status == 0):
		return decisionlog.Fault
	case a.Refused:
		return decisionlog.Deny
	}
	return decisionlog.Allow
}
