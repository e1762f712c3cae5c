package config

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/scimward/scimward/policies/bundle"
)

// policy checks where the bundle of a tenant comes from, and who may sign it.
func (c checker) policy(path string, p *Policy) {
	if p == nil {
		return
	}
	c.policySource(path, p)
	c.oneOf(path+".unsigned", p.Unsigned, "refuse", "allow")
	if p.Unsigned == "refuse" {
		c.require(path+".keys", len(p.Keys) > 0, "name the public key that signs the bundles, or write unsigned: allow")
	}
	within(c, path+".poll", p.Poll, time.Second, 24*time.Hour)
	if p.Record != nil {
		within(c, path+".record.max_bytes", p.Record.MaxBytes, 4<<20, 1<<30)
	}
	ids := map[string]bool{}
	for i, k := range p.Keys {
		at := fmt.Sprintf("%s.keys[%d]", path, i)
		c.require(at+".id", k.ID != "", `write the "kid" of its signatures`)
		c.unique(at+".id", k.ID, ids, "give each key an id of its own")
		c.oneOf(at+".algorithm", k.Algorithm, bundle.Algorithms()...)
		c.require(at+".file", k.File != "", "name the PEM file of the public key")
		switch b := c.content(at+".file", k.File, false); {
		case b == nil:
		case !hasBlock(b, isPublicKey):
			c.fail(at+".file", "name a PEM file with a PUBLIC KEY", "%s contains no public key%s", k.File, instead(b))
		case slices.Contains(bundle.Algorithms(), k.Algorithm):
			if err := bundle.CheckKey(k.Algorithm, string(b)); err != nil {
				c.fail(at+".algorithm", "name the algorithm of the key, or another key", "%s: %v", k.File, err)
			}
		}
	}
}

// ociReference is the form of policy.oci.
var ociReference = regexp.MustCompile(
	`^([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/[a-z0-9]+(([._/]|__|-+)[a-z0-9]+)*` +
		`(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$`)

// policySource checks the place of the bundles, and what only a server needs.
func (c checker) policySource(path string, p *Policy) {
	if count(p.Dir != "", p.File != "", p.URL != "", p.OCI != "") > 1 {
		c.fail(path, "leave out all but one of dir, file, url and oci", "a bundle has one source")
	}
	if p.URL != "" && !Fetchable(p.URL) {
		c.fail(path+".url", "use https (http is for loopback only)", "%q cannot be fetched safely", p.URL)
	}
	if p.OCI != "" && !ociReference.MatchString(p.OCI) {
		c.fail(path+".oci", "write HOST/REPOSITORY@sha256:DIGEST or HOST/REPOSITORY:TAG", "%q names no bundle", p.OCI)
	}
	for name, value := range map[string]string{"ca_file": p.CAFile, "token_file": p.TokenFile} {
		if value != "" && p.URL == "" && p.OCI == "" {
			c.fail(path+"."+name, "leave it out, or set url or oci", "only a server needs it")
		}
	}
	if ca := c.content(path+".ca_file", p.CAFile, false); ca != nil && !hasBlock(ca, isCertificate) {
		c.fail(path+".ca_file", "name the PEM file of the authority", "%s contains no certificate", p.CAFile)
	}
	c.secret(path+".token_file", p.TokenFile)
}

func isPublicKey(kind string) bool { return kind == "PUBLIC KEY" || kind == "RSA PUBLIC KEY" }

// files are those whose content is a part of the configuration.
func (p *Policy) files() (out []string) {
	if p == nil {
		return nil
	}
	out = append(out, p.CAFile)
	for _, k := range p.Keys {
		out = append(out, k.File)
	}
	return out
}

// complete fills in the defaults.
func (p *Policy) complete(dir folder) {
	or(&p.Unsigned, "refuse")
	or(&p.Poll, time.Minute)
	if p.Record != nil {
		or(&p.Record.MaxBytes, 64<<20)
	}
	dir.abs(&p.Dir, &p.File, &p.CAFile, &p.TokenFile)
	for i := range p.Keys {
		or(&p.Keys[i].Algorithm, "ES256")
		dir.abs(&p.Keys[i].File)
	}
}
