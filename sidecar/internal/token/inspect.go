package token

import (
	"cmp"
	"context"
)

// KeyInfo describes a public key of an issuer.
type KeyInfo struct {
	ID         string   `json:"kid"`
	Algorithms []string `json:"algorithms"` // that it may be used with
}

// CheckKeys reports why the keys of c cannot be read, without fetching them.
func CheckKeys(c *IssuerConfig) error {
	if c.JWKS != nil {
		_, err := parseKeySet(c.JWKS)
		return err
	}
	_, err := newFetcher(cmp.Or(c.KeyIssuer, c.Issuer), c.JWKSURL, c.HTTPClient)
	return err
}

// FetchKeys reads the keys of c now, within the bounds of every fetch.
func FetchKeys(ctx context.Context, c *IssuerConfig) ([]KeyInfo, error) {
	doc := c.JWKS
	if doc == nil {
		f, err := newFetcher(cmp.Or(c.KeyIssuer, c.Issuer), c.JWKSURL, c.HTTPClient)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		fetched, err := f.keys(ctx)
		if err != nil {
			return nil, err
		}
		doc = fetched.body
	}
	set, err := parseKeySet(doc)
	if err != nil {
		return nil, err
	}
	out := make([]KeyInfo, 0, len(set))
	for _, k := range set {
		info := KeyInfo{ID: k.kid}
		for _, a := range k.algs {
			info.Algorithms = append(info.Algorithms, a.String())
		}
		out = append(out, info)
	}
	return out, nil
}
