package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/scimward/scimward/sidecar/ca"
)

// The values of --topology.
const (
	topologyStandalone = "standalone" // Envoy and scimward on one machine
	topologyShared     = "shared"     // one scimward for Envoys on other machines
	topologyCores      = "cores+edges"
)

// topology is how init lays out the files of the processes.
type topology struct {
	scimward, envoy string // their folders below DIR
	// certificates makes the certificates beside those of the application, if the processes need some.
	certificates func(o *initOptions) ([]initFile, error)
}

var topologies = map[string]topology{
	topologyStandalone: {
		scimward: ".", envoy: ".", certificates: func(*initOptions) ([]initFile, error) { return nil, nil },
	},
	topologyShared: {scimward: "scimward", envoy: "envoy", certificates: sharedCertificates},
	topologyCores:  {},
}

func topologyNames() []string { return slices.Sorted(maps.Keys(topologies)) }

// checkTopology checks the flags of a topology and derives the remaining options from them.
func (o *initOptions) checkTopology() error {
	if _, ok := topologies[o.Topology]; !ok {
		return fmt.Errorf("--topology %q is none of %q", o.Topology, topologyNames())
	}
	if !o.Shared() {
		if o.ScimwardHost != "" || o.EnvoyName != "" {
			return errors.New("--scimward-host and --envoy-name need --topology shared: here Envoy uses a socket")
		}
		if o.Topology == topologyCores {
			return o.checkHosts()
		}
		return nil
	}
	if o.ScimwardHost == "" {
		return errors.New("--scimward-host is required: at which host do Envoys reach scimward?")
	}
	o.Bind = bind(o.ScimwardHost)
	if o.EnvoyName == "" {
		o.EnvoyName = o.AppName + "." + o.Tenant + ".envoy"
	}
	return nil
}

// initFile is a file below DIR that init writes.
type initFile struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// sharedCertificates makes an authority, and a certificate of it for each side. Each side gets the authority's
// certificate, and neither gets its key.
func sharedCertificates(o *initOptions) ([]initFile, error) {
	now := time.Now()
	authority, own, err := ca.New(now)
	if err != nil {
		return nil, err
	}
	server, err := authority.Issue(ca.Request{Names: []string{o.ScimwardHost}, Server: true}, now)
	if err != nil {
		return nil, usage(fmt.Errorf("--scimward-host: %w", err))
	}
	client, err := authority.Issue(ca.Request{Names: []string{o.EnvoyName}}, now)
	if err != nil {
		return nil, usage(fmt.Errorf("--envoy-name: %w", err))
	}
	return []initFile{
		{"ca/" + ca.CertFile, own.Cert, 0o644},
		{"ca/" + ca.KeyFile, own.Key, 0o600},
		{"scimward/ca.crt", own.Cert, 0o644},
		{"scimward/server.crt", server.Cert, 0o644},
		{"scimward/server.key", server.Key, 0o600},
		{"envoy/ca.crt", own.Cert, 0o644},
		{"envoy/client.crt", client.Cert, 0o644},
		{"envoy/client.key", client.Key, 0o600},
	}, nil
}

// listenerFiles makes the certificate that clients of Envoy see, or copies that of the flags to another folder of
// Envoy.
func (o *initOptions) listenerFiles(folder string) ([]initFile, error) {
	if o.Cert != "" && folder == "." {
		return nil, nil
	}
	var cert, key []byte
	var err error
	if o.Cert == "" {
		cert, key, err = selfSigned(o.host)
	} else {
		var errs [2]error
		cert, errs[0] = os.ReadFile(o.Cert)
		key, errs[1] = os.ReadFile(o.Key)
		if err = errors.Join(errs[:]...); err != nil {
			err = usage(fmt.Errorf("--cert and --key: %w", err))
		}
	}
	o.Cert, o.Key = "tls.crt", "tls.key"
	if folder != "." {
		o.Cert, o.Key = "../"+folder+"/tls.crt", "../"+folder+"/tls.key"
	}
	return []initFile{
		{filepath.Join(folder, "tls.crt"), cert, 0o644}, {filepath.Join(folder, "tls.key"), key, 0o600},
	}, err
}

// files returns what init writes before it checks the configuration, the configuration first.
func (o *initOptions) files() ([]initFile, error) {
	if o.Topology == topologyCores {
		return o.clusterFiles()
	}
	t := topologies[o.Topology]
	files, err := t.certificates(o)
	if err != nil {
		return nil, err
	}
	listener, err := o.listenerFiles(t.envoy)
	if err != nil {
		return nil, err
	}
	o.SecretsFile = "envoy-secrets.yaml"
	if t.envoy != t.scimward {
		o.SecretsFile = "../" + t.envoy + "/" + o.SecretsFile
	}
	first, err := o.configuration(t.scimward)
	return slices.Concat([]initFile{first}, listener, files), err
}

const configName = "scimward.yaml"

// configuration fills the template for the folder of a process.
func (o *initOptions) configuration(folder string) (initFile, error) {
	var text bytes.Buffer
	if err := initTemplate.Execute(&text, o); err != nil {
		return initFile{}, fmt.Errorf("filling the template: %w", err)
	}
	return initFile{filepath.Join(folder, configName), text.Bytes(), 0o600}, nil
}
