package sidecar

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/config"
)

// keyPair is the certificate of one listener. New connections use conf.
type keyPair struct {
	files config.TLS
	conf  atomic.Pointer[tls.Config]
}

// newKeyPair reads the files of t. It returns nil if t names no certificate: the listener has no TLS.
func newKeyPair(t config.TLS) (*keyPair, error) {
	if t.Cert == "" {
		return nil, nil //nolint:nilnil // no certificate means plaintext
	}
	k := &keyPair{files: t}
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
		c.ClientAuth = tls.RequireAndVerifyClientCert
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

func (k *keyPair) notAfter() time.Time { return k.conf.Load().Certificates[0].Leaf.NotAfter }

// certificates are the key pairs of the listeners and the time when each certificate expires, Envoy's
// too if this process can read it.
type certificates struct {
	pairs  map[string]*keyPair // by listener
	expiry *prometheus.GaugeVec
}

func newCertificates(r prometheus.Registerer) *certificates {
	c := &certificates{pairs: map[string]*keyPair{}, expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "scimward_certificate_expiry_timestamp_seconds",
		Help: "When the certificate of a listener expires, in Unix seconds: authz, scim, or envoy.",
	}, []string{"listener"})}
	r.MustRegister(c.expiry)
	return c
}

// listen reads the certificate of a listener and returns its TLS configuration, nil without one.
func (c *certificates) listen(name string, t config.TLS) (*tls.Config, error) {
	k, err := newKeyPair(t)
	if k == nil || err != nil {
		return nil, err
	}
	c.pairs[name] = k
	return k.server(), nil
}

// read reads every certificate again. After an error all stay as they were.
func (c *certificates) read(envoy config.TLS) error {
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
	for name, k := range c.pairs {
		k.conf.Store(next[k])
		c.expiry.WithLabelValues(name).Set(float64(k.notAfter().Unix()))
	}
	// Envoy reads its own certificate. Often only Envoy's user may read the key, so that is no fault.
	if leaf, err := firstCertificate(envoy.Cert); err == nil {
		c.expiry.WithLabelValues("envoy").Set(float64(leaf.NotAfter.Unix()))
	}
	return nil
}

func firstCertificate(file string) (*x509.Certificate, error) {
	chain, err := config.Certificates(file)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}
