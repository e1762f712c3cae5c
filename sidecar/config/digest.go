package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// maxParts bounds the parts of Digests. A larger configuration is one part for each tenant, or one for all of them.
const maxParts = 256

// Digests returns a digest of each part of the configuration that must be equal in all processes of an installation:
// "acme" of a tenant, "acme/issuers" of its clients and issuers, "acme/apps/crm" of an application. Listeners, folders
// and names of processes do not count. Of a file counts its name without the folder, and the content of key sets and
// manifests. No secret counts.
func (c *Config) Digests() map[string]string {
	out := map[string]string{}
	for i := range c.Tenants {
		t := c.Tenants[i]
		out[t.Name+"/issuers"] = digestOf(t.IdentityServices, t.ExternalIssuers)
		for j := range t.Apps {
			out[t.Name+"/apps/"+t.Apps[j].Name] = digestOf(t.Apps[j])
		}
		t.IdentityServices, t.ExternalIssuers, t.Apps = nil, nil, nil
		out[t.Name] = digestOf(t)
	}
	if len(out) <= maxParts {
		return out
	}
	clear(out)
	for i := range c.Tenants {
		out[c.Tenants[i].Name] = digestOf(c.Tenants[i])
	}
	if len(out) <= maxParts {
		return out
	}
	tenants := slices.Clone(c.Tenants)
	slices.SortFunc(tenants, func(a, b Tenant) int { return strings.Compare(a.Name, b.Name) })
	return map[string]string{"tenants": digestOf(tenants)}
}

func digestOf(values ...any) string {
	h := sha256.New()
	for _, v := range values {
		digestValue(h, reflect.ValueOf(v), "")
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Keys whose values are files. The content of those with true is public and a part of the configuration.
func fileKeys() map[string]bool {
	return map[string]bool{
		"jwks_file": true, "manifest": true, "ca_file": false, "upstream_ca_file": false, "token_file": false,
		"file": false, "dir": false, "secrets": false,
	}
}

// digestValue writes a value that came from a key of the file.
func digestValue(h hash.Hash, v reflect.Value, key string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			digestText(h, "nil")
			return
		}
		digestValue(h, v.Elem(), key)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); f.IsExported() {
				digestText(h, name)
				digestValue(h, v.Field(i), name)
			}
		}
	case reflect.Slice:
		digestText(h, fmt.Sprint("list of ", v.Len()))
		for i := range v.Len() {
			digestValue(h, v.Index(i), key)
		}
	case reflect.Map:
		digestText(h, fmt.Sprint("map of ", v.Len()))
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			digestText(h, k.String())
			digestValue(h, v.MapIndex(k), key)
		}
	default:
		digestText(h, plainText(v, key))
	}
}

// plainText is a value without its parts. Of a file it is the name and, if that counts, the content.
func plainText(v reflect.Value, key string) string {
	text := fmt.Sprint(v.Interface())
	public, isFile := fileKeys()[key]
	if !isFile || !filepath.IsAbs(text) {
		return text
	}
	name := filepath.Base(text)
	if !public {
		return name
	}
	b, err := os.ReadFile(text)
	if err != nil {
		return name + " cannot be read"
	}
	return fmt.Sprintf("%s %x", name, sha256.Sum256(b))
}

// digestText writes a text so that no other sequence of texts gives the same bytes.
func digestText(h hash.Hash, text string) {
	fmt.Fprintf(h, "%d:%s", len(text), text) //nolint:errcheck // hash.Hash never returns an error
}
