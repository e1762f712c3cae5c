package config

import (
	"fmt"
	"time"

	"github.com/scimward/scimward/policies/bundle"
)

// policy checks where the bundle of a tenant comes from, and who may sign it.
func (c checker) policy(path string, p *Policy) {
	if p == nil {
		return
	}
	if count(p.Dir != "", p.File != "") > 1 {
		c.fail(path, "leave out all but one of dir and file", "a bundle has one source")
	}
	c.oneOf(path+".unsigned", p.Unsigned, "refuse", "allow")
	if p.Unsigned == "refuse" {
		c.require(path+".keys", len(p.Keys) > 0, "name the public key that signs the bundles, or write unsigned: allow")
	}
	within(c, path+".poll", p.Poll, time.Second, 24*time.Hour)
	ids := map[string]bool{}
	for i, k := range p.Keys {
		at := fmt.Sprintf("%s.keys[%d]", path, i)
		c.require(at+".id", k.ID != "", `write the "kid" of its signatures`)
		c.unique(at+".id", k.ID, ids, "give each key an id of its own")
		c.oneOf(at+".algorithm", k.Algorithm, bundle.Algorithms()...)
		c.require(at+".file", k.File != "", "name the PEM file of the public key")
		if b := c.content(at+".file", k.File, false); b != nil && !hasBlock(b, isPublicKey) {
			c.fail(at+".file", "name a PEM file with a PUBLIC KEY", "%s contains no public key%s", k.File, instead(b))
		}
	}
}

func isPublicKey(kind string) bool { return kind == "PUBLIC KEY" || kind == "RSA PUBLIC KEY" }

// files are those whose content is a part of the configuration.
func (p *Policy) files() (out []string) {
	if p == nil {
		return nil
	}
	for _, k := range p.Keys {
		out = append(out, k.File)
	}
	return out
}

// complete fills in the defaults.
func (p *Policy) complete(dir folder) {
	or(&p.Unsigned, "refuse")
	or(&p.Poll, time.Minute)
	dir.abs(&p.Dir, &p.File)
	for i := range p.Keys {
		or(&p.Keys[i].Algorithm, "ES256")
		dir.abs(&p.Keys[i].File)
	}
}
