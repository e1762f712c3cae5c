package sidecar

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
)

// keyPair is the certificate of one listener. New connections use conf.
type keyPair struct {
	files    config.TLS
	listener string
	peers    func() *config.Peers
	conf     atomic.Pointer[tls.Config]
}

// newKeyPair reads the files of t. It returns nil if t names no certificate: the listener has no TLS.
func newKeyPair(listener string, t config.TLS, peers func() *config.Peers) (*keyPair, error) {
	if t.Cert == "" {
		return nil, nil //nolint:nilnil // no certificate means plaintext
	}
	k := &keyPair{files: t, listener: listener, peers: peers}
	conf, err := k.read()
	if err != nil {
		return nil, err
	}
	k.conf.Store(conf)
	return k, nil
}

// read reads the files.
func (k *keyPair) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	if err != nil {
		return nil, fmt.Errorf("loading the certificate %s: %w", k.files.Cert, err)
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
	}
	if k.files.ClientCA != "" {
		if c.ClientCAs, err = caPool(k.files.ClientCA); err != nil {
			return nil, err
		}
		admitOnly(c, k.listener, k.peers)
	}
	return c, nil
}

// server returns the configuration of a listener, which follows conf.
func (k *keyPair) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.conf.Load(), nil },
	}
}

// certificates are the key pairs of the listeners and the time when each certificate expires, Envoy's
// too if this process can read it.
type certificates struct {
	pairs  map[string]*keyPair // by listener
	peers  func() *config.Peers
	expiry *prometheus.GaugeVec
}

// newCertificates makes certificates whose listeners admit the Envoys of peers.
func newCertificates(r prometheus.Registerer, peers func() *config.Peers) *certificates {
	c := &certificates{pairs: map[string]*keyPair{}, peers: peers, expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scimward_certificate_expiry_timestamp_seconds",
		Help: "When a certificate expires, in Unix seconds: of the listener authz or scim, envoy (what its clients see) or " +
			"envoy_connect (what it shows to scimward); with _client_ca or _ca, the first authority to expire.",
	}, []string{"listener"})}
	r.MustRegister(c.expiry)
	return c
}

// listen reads the certificate of a listener and returns its TLS configuration, nil without one.
func (c *certificates) listen(name string, t config.TLS) (*tls.Config, error) {
	k, err := newKeyPair(name, t, c.peers)
	if k == nil || err != nil {
		return nil, err
	}
	c.pairs[name] = k
	return k.server(), nil
}

// read reads every certificate again. After an error all stay as they were.
func (c *certificates) read(cfg *config.Config) error {
	var errs []error
	next := map[*keyPair]*tls.Config{}
	for _, k := range c.pairs {
		conf, err := k.read()
		next[k] = conf
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for k, conf := range next {
		k.conf.Store(conf)
	}
	// Envoy reads its own certificates. Often only Envoy's user may read the key, so that is no fault.
	c.expiry.Reset()
	for name, at := range cfg.Expiries(cfg.ReadCertificates()) {
		c.expiry.WithLabelValues(name).Set(float64(at.Unix()))
	}
	return nil
}
