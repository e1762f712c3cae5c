package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/ca"
	"github.com/scimward/scimward/sidecar/config"
)

// coreCount is how many cores init makes: the log keeps each record three times.
const coreCount = 3

// checkHosts checks the hosts of the cores and edges.
func (o *initOptions) checkHosts() error {
	if len(o.CoreHosts) != coreCount {
		return fmt.Errorf("--core-host: %d hosts; give three, one for each core", len(o.CoreHosts))
	}
	if len(o.EdgeHosts) == 0 {
		return errors.New("--edge-host: give the host of at least one edge")
	}
	all := slices.Concat(o.CoreHosts, o.EdgeHosts)
	slices.Sort(all)
	if len(slices.Compact(all)) != len(o.CoreHosts)+len(o.EdgeHosts) {
		return errors.New("--core-host and --edge-host: give each process a host of its own")
	}
	return nil
}

// List returns the addresses of all cores at a port, as a YAML list without brackets. A core has its own first.
func (o *initOptions) List(port string) string {
	var out []string
	for _, host := range o.CoreHosts {
		addr := fmt.Sprintf("%q", host+":"+port)
		if host == o.Host {
			out = slices.Insert(out, 0, addr)
		} else {
			out = append(out, addr)
		}
	}
	return strings.Join(out, ", ")
}

// clusterFiles makes the folders of the cores and edges, and an authority for all of them.
func (o *initOptions) clusterFiles() ([]initFile, error) {
	now := time.Now()
	authority, own, err := ca.New(now)
	if err != nil {
		return nil, err
	}
	seen, err := o.listenerFiles("") // what clients of Envoy see, the same at each edge
	if err != nil {
		return nil, err
	}
	o.Cert, o.Key, o.SecretsFile = "tls.crt", "tls.key", "envoy-secrets.yaml"
	passwords := []initFile{{"log-password", password(), 0o600}, {"log-system-password", password(), 0o600}}
	var configs, files []initFile
	add := func(p initOptions, more []initFile, pairs map[string]ca.Request) error {
		conf, err := p.configuration(p.Name)
		if err != nil {
			return err
		}
		configs = append(configs, conf)
		for _, f := range append(more, initFile{"ca.crt", own.Cert, 0o644}) {
			files = append(files, initFile{filepath.Join(p.Name, f.name), f.content, f.mode})
		}
		for base, request := range pairs {
			pair, err := authority.Issue(request, now)
			if err != nil {
				return usage(fmt.Errorf("a certificate of %s: %w", p.Name, err))
			}
			files = append(files, initFile{filepath.Join(p.Name, base+".crt"), pair.Cert, 0o644},
				initFile{filepath.Join(p.Name, base+".key"), pair.Key, 0o600})
		}
		return nil
	}
	var errs []error
	for i, host := range o.CoreHosts {
		p := *o
		p.Role, p.Name, p.Host = config.RoleCore, fmt.Sprintf("core-%d", i+1), host
		errs = append(errs, add(p, passwords, map[string]ca.Request{"server": {Names: []string{host}, Peer: true}}))
	}
	for i, host := range o.EdgeHosts {
		p := *o
		p.Role, p.Name = config.RoleEdge, fmt.Sprintf("edge-%d", i+1)
		p.bindEdge(host)
		errs = append(errs, add(p, seen, map[string]ca.Request{
			"edge": {Names: []string{p.Name + ".edge.scimward"}}, "envoy": {Names: []string{p.Name + ".envoy.scimward"}},
		}))
	}
	files = append(files, initFile{"ca/" + ca.CertFile, own.Cert, 0o644}, initFile{"ca/" + ca.KeyFile, own.Key, 0o600})
	slices.SortFunc(files, func(a, b initFile) int { return strings.Compare(a.name, b.name) })
	return append(configs, files...), errors.Join(errs...)
}

// bindEdge lets the listeners of an edge share a machine with those of others, if its host is a loopback address. On a
// machine of its own, only Envoy is to be reached from elsewhere.
func (o *initOptions) bindEdge(host string) {
	o.Bind = "127.0.0.1"
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		_, port, _ := strings.Cut(o.EnvoyListen, ":")
		o.Bind, o.EnvoyListen = host, host+":"+port
	}
}

// password makes one for the servers of the log.
func password() []byte { return []byte(rand.Text() + "\n") }
