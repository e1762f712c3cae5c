package config

import (
	"reflect"
	"slices"
)

// KeepUntilRestart replaces the values of next that a running process cannot change by those of
// running. It returns the keys whose values differ: they need a restart.
func KeepUntilRestart(running, next *Config) (keys []string) {
	keep := func(key string, from, to any) {
		f, t := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()
		if !reflect.DeepEqual(f.Interface(), t.Interface()) {
			keys = append(keys, key)
			t.Set(f)
		}
	}
	keep("data_dir", &running.DataDir, &next.DataDir)
	listen := running.Listen // names come into force without a restart
	listen.AuthzTLS.ClientNames = next.Listen.AuthzTLS.ClientNames
	listen.SCIMTLS.ClientNames = next.Listen.SCIMTLS.ClientNames
	keep("listen", &listen, &next.Listen)
	keep("envoy.check_timeout", &running.Envoy.CheckTimeout, &next.Envoy.CheckTimeout)
	keep("envoy.max_body_bytes", &running.Envoy.MaxBodyBytes, &next.Envoy.MaxBodyBytes)
	keep("envoy.max_group_body_bytes", &running.Envoy.MaxGroupBodyBytes, &next.Envoy.MaxGroupBodyBytes)
	keep("log", &running.Log, &next.Log)
	keep("drain", &running.Drain, &next.Drain)
	keep("revocation", &running.Revocation, &next.Revocation)
	keep("cluster", &running.Cluster, &next.Cluster)
	keep("token_keys", &running.TokenKeys, &next.TokenKeys)
	return keys
}

// Files returns the files whose content is a part of the configuration: certificates and their keys,
// authorities, key sets, manifests and what is in tenants_dir now, sorted. Envoy's own authorities and the secrets of
// plugins, which are read for each use, are not among them.
func (c *Config) Files() []string {
	var out []string
	for _, t := range []TLS{c.Listen.AuthzTLS.Files(), c.Listen.SCIMTLS.Files(), c.Envoy.TLS, c.Envoy.Connect.Own()} {
		out = append(out, t.Cert, t.Key, t.ClientCA)
	}
	out = append(out, c.Envoy.Connect.CA)
	keys := func(k *KeySource) { out = append(out, k.JWKSFile, k.CAFile) }
	for i := range c.Tenants {
		t := &c.Tenants[i]
		out = append(out, t.Policy.files()...)
		for j := range t.IdentityServices {
			keys(&t.IdentityServices[j].Keys)
		}
		for j := range t.ExternalIssuers {
			keys(&t.ExternalIssuers[j].Keys)
		}
	}
	if c.TenantsDir != "" {
		files, _ := TenantFiles(c.TenantsDir) // a folder that cannot be read is a fault of the next load
		out = append(out, files...)
	}
	for _, a := range c.AllApps() {
		for i := range a.Subjects {
			if j := a.Subjects[i].JWT; j != nil {
				keys(&j.Keys)
			}
		}
		if a.Plugin != nil {
			out = append(out, a.Plugin.Manifest)
			for i := range a.Plugin.HTTP {
				out = append(out, a.Plugin.HTTP[i].CAFile)
			}
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(f string) bool { return f == "" })
}
