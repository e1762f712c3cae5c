// Package outbound makes the HTTP clients with which scimward fetches policy bundles and delivers decisions: one
// server, its authorities, a credential in a file. Neither a redirect nor an error takes a secret elsewhere.
package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Bounds of a connection and of a credential.
const (
	handshakeTimeout = 30 * time.Second
	maxHeader        = 64 << 10
	maxToken         = 16 << 10
)

// Proxy names the proxy of a request, as [http.Transport] has it.
type Proxy func(*http.Request) (*url.URL, error)

// Client returns a client that trusts the authorities of ca, a PEM text; of the system if it is empty. It asks over
// proxy, nil for none. It follows no redirect and keeps the bytes of an answer as they are. It sets no time for a
// request.
func Client(ca string, proxy Proxy) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("ca_file contains no certificate")
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, Proxy: proxy, DisableCompression: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: handshakeTimeout, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Token reads the credential of a token_file; without a file it is empty. An error does not contain what is in it.
func Token(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("reading token_file: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("reading token_file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(b) > maxToken || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("token_file %s must contain one token without spaces", file)
	}
	return token, nil
}

// WithoutURL drops the URL from an error of a client: its query may be a secret.
func WithoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
