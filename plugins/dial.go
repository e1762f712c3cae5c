package plugins

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const connectTimeout = 3 * time.Second

// addressError means that a host resolves to an address that its rule does not allow.
type addressError struct {
	host string
	err  error
}

func (e *addressError) Error() string { return "host " + e.host + ": " + e.err.Error() }
func (e *addressError) Unwrap() error { return e.err }

// newTransport makes the connections of one rule. It uses TLS 1.2 or newer, connects only to checked
// addresses, and uses no proxy. It disables compression, which would hide a secret from redaction.
func newTransport(r rule, resolve resolver) *http.Transport {
	d := &dialer{private: r.private, resolve: resolve}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.roots},
		TLSHandshakeTimeout:    connectTimeout,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

type dialer struct {
	private []netip.Prefix
	resolve resolver
}

// dial resolves the host, checks every address, and connects to one of the checked addresses, because a
// second lookup could return others. If any resolved address is forbidden, it denies the host. Otherwise
// an attacker could publish a public and a private address and wait until the public one fails.
func (d *dialer) dial(ctx context.Context, network, hostport string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	} else if addrs, err = d.resolve(ctx, host); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, err)
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	for _, a := range addrs {
		if err := checkAddr(a, d.private); err != nil {
			return nil, &addressError{host, err}
		}
	}
	var errs []error
	nd := net.Dialer{Timeout: connectTimeout}
	for _, a := range addrs {
		conn, err := nd.DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func systemResolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
