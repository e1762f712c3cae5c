package sidecar_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

const second = `  - name: globex
    external_url: https://globex.example.com
    identity_services:
      - client_id: idp
        keys: {jwks_file: keys.json}
    apps:
      - name: app
        upstream: http://127.0.0.1:3001
        subjects:
          - {header: x-user, is: user_name}
`

// write replaces a file as most tools do: by renaming a new one.
func (r *running) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) status() sidecar.Status {
	r.t.Helper()
	admin := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.admin)
		},
	}}
	res, err := admin.Get("http://admin/v1/status")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var s sidecar.Status
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil || res.StatusCode != 200 {
		r.t.Fatalf("GET /v1/status = %d, %v", res.StatusCode, err)
	}
	return s
}

// scimStatus asks the SCIM service of a host without a token.
func (r *running) scimStatus(host string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.scim+"/scim/v2/Users", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestReloadOfTenants: a tenant in the changed file is served without a restart, and a tenant that was
// removed from it is unknown.
func TestReloadOfTenants(t *testing.T) {
	r := start(t, base)
	if got := r.scimStatus("globex.example.com"); got != 404 {
		t.Fatalf("SCIM of a tenant that is not configured = %d, want 404", got)
	}
	r.write("scimward.yaml", base+second)
	until(t, "the new tenant", func() bool { return r.scimStatus("globex.example.com") == 401 })
	if got := r.scimStatus("app.example.com"); got != 401 {
		t.Errorf("SCIM of the tenant that stays = %d, want 401", got)
	}
	names := []string{}
	for _, of := range r.status().Tenants {
		names = append(names, of.Name)
	}
	if diff := cmp.Diff([]string{"acme", "globex"}, names); diff != "" {
		t.Errorf("tenants of the status (-want +got):\n%s", diff)
	}
	r.write("scimward.yaml", base)
	until(t, "the end of the removed tenant", func() bool { return r.scimStatus("globex.example.com") == 404 })
	if left := r.status().Removed; len(left) != 0 {
		t.Errorf("a removed tenant without leavers is in the status: %+v", left)
	}
}

// tenantOfFile is the file of the tenant globex in tenants_dir.
var tenantOfFile = strings.NewReplacer("\n    ", "\n", "  - name: globex", "name: globex", "keys.json", "../keys.json").Replace(second)

// TestReloadOfTenantFiles: a file that is added to tenants_dir, changed or removed is in force without a restart. A
// faulty one changes nothing, and status shows its name.
func TestReloadOfTenantFiles(t *testing.T) {
	dir := newFolder(t, "tenants_dir: tenants\n"+base)
	if err := os.Mkdir(filepath.Join(dir, "tenants"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := startIn(t, dir, sidecar.Options{})
	serves := func(host string, status int) {
		t.Helper()
		until(t, host, func() bool { return r.scimStatus(host) == status })
	}
	r.write("tenants/globex.yaml", tenantOfFile)
	serves("globex.example.com", 401)
	r.write("tenants/initech.yaml", strings.ReplaceAll(tenantOfFile, "globex", "initech")) // the same application
	until(t, "the fault", func() bool { return r.status().Config.Fault != "" })
	if fault := r.status().Config.Fault; !strings.Contains(fault, filepath.Join(dir, "tenants", "initech.yaml")+": line 8") {
		t.Errorf("status does not name the faulty file: %s", fault)
	}
	serves("initech.example.com", 404)
	serves("globex.example.com", 401)
	other := strings.NewReplacer("globex", "initech", "3001", "3002").Replace(tenantOfFile)
	r.write("tenants/initech.yaml", other)
	serves("initech.example.com", 401)
	r.write("tenants/initech.yaml", strings.ReplaceAll(other, "initech.example.com", "new.example.com"))
	serves("new.example.com", 401)
	serves("initech.example.com", 404)
	if err := os.Remove(filepath.Join(dir, "tenants", "globex.yaml")); err != nil {
		t.Fatal(err)
	}
	serves("globex.example.com", 404)
	serves("app.example.com", 401)
	if fault := r.status().Config.Fault; fault != "" {
		t.Errorf("a mended folder has the fault %s", fault)
	}
}

// TestReloadOfFaultyFile: a faulty file changes nothing. Status shows its fault until the file is mended.
func TestReloadOfFaultyFile(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"not valid":      {strings.Replace(base, "version: 1", "version: 7", 1), "version 7 is not known"},
		"no such plugin": {strings.Replace(base, "        subjects:", "        plugin: {manifest: manifest.json}\n        subjects:", 1), "manifest"},
		"no such keys":   {strings.ReplaceAll(base, "keys.json", "absent.json"), "absent.json"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, base)
			before := r.status().Config
			if before.Fault != "" {
				t.Fatalf("the fault before the change: %s", before.Fault)
			}
			r.write("scimward.yaml", tt.text)
			until(t, "the fault", func() bool { return strings.Contains(r.status().Config.Fault, tt.want) })
			if got := r.status().Config.Loaded; !got.Equal(before.Loaded) {
				t.Errorf("the configuration in force is from %v, want %v", got, before.Loaded)
			}
			if got := r.scimStatus("app.example.com"); got != 401 {
				t.Errorf("SCIM after a refused reload = %d, want 401", got)
			}
			if _, body := r.get("/metrics"); !strings.Contains(body, "scimward_config_last_reload_successful 0") {
				t.Error("the metric does not show the refused reload")
			}
			r.write("scimward.yaml", base+"# mended\n")
			until(t, "the mended file", func() bool { return r.status().Config.Fault == "" })
		})
	}
}

// TestReloadNeedsRestart: a key that cannot change while the process runs is named, and the rest of the
// file comes into force.
func TestReloadNeedsRestart(t *testing.T) {
	r := start(t, base)
	changed := strings.Replace(base, "drain: 3m", "drain: 4m\nrevocation: {workers: 2}", 1)
	r.write("scimward.yaml", changed+second)
	until(t, "the reload", func() bool { return r.scimStatus("globex.example.com") == 401 })
	if diff := cmp.Diff([]string{"drain", "revocation"}, r.status().Config.NeedsRestart); diff != "" {
		t.Errorf("keys that need a restart (-want +got):\n%s", diff)
	}
}

// TestReloadOfCertificate: connections after a change of the files get the new certificate. A pair that
// does not fit changes nothing.
func TestReloadOfCertificate(t *testing.T) {
	cert, key := certificate(t)
	text := strings.Replace(base, "listen: {", "listen: {scim_tls: {cert: '"+cert+"', key: '"+key+"'}, ", 1)
	r := start(t, text)
	shown := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", r.scim, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := shown()
	otherCert, otherKey := certificate(t)
	copyTo := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	copyTo(otherCert, cert)
	until(t, "the refusal of a certificate without its key", func() bool { return r.status().Config.Fault != "" })
	if got := shown(); got != first {
		t.Error("a certificate without its key came into force")
	}
	copyTo(otherKey, key)
	until(t, "the new certificate", func() bool { return shown() != first })
	if _, body := r.get("/metrics"); !slices.ContainsFunc(strings.Split(body, "\n"), func(line string) bool {
		return strings.HasPrefix(line, `scimward_certificate_expiry_timestamp_seconds{listener="scim"}`)
	}) {
		t.Error("no metric for the expiry of the certificate")
	}
}

// TestReloadNeedsCertificate: a tenant whose host Envoy's certificate does not cover does not come into force, and
// neither does a certificate that no longer covers a host. A fault from before does not stop another change.
func TestReloadNeedsCertificate(t *testing.T) {
	cert, key := certificate(t, "app.example.com")
	envoy := func(cert, key string) string {
		return strings.Replace(base, "drain:", "envoy: {tls: {cert: '"+cert+"', key: '"+key+"'}}\ndrain:", 1)
	}
	r := start(t, envoy(cert, key))
	refused := func(text, host string) {
		t.Helper()
		r.write("scimward.yaml", text)
		err := r.server.Reload(t.Context())
		want := "is not for the host " + host + "; use a certificate with this name"
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(r.status().Config.Fault, want) {
			t.Errorf("Reload() = %v, status %q, want a refusal that says %q", err, r.status().Config.Fault, want)
		}
	}
	taken := func(text string) {
		t.Helper()
		r.write("scimward.yaml", text)
		if err := r.server.Reload(t.Context()); err != nil {
			t.Errorf("Reload() = %v, want nil", err)
		}
	}
	refused(envoy(cert, key)+second, "globex.example.com")
	if got := r.scimStatus("globex.example.com"); got != 404 {
		t.Errorf("SCIM of the refused tenant = %d, want 404", got)
	}
	none, noKey := certificate(t)
	refused(envoy(none, noKey), "app.example.com")
	both, bothKey := certificate(t, "app.example.com", "globex.example.com")
	taken(envoy(both, bothKey) + second)
	if got := r.scimStatus("globex.example.com"); got != 401 {
		t.Errorf("SCIM of the new tenant = %d, want 401", got)
	}

	r = start(t, envoy(none, noKey)) // scimward starts with it, because refusing to start would do more harm
	taken(envoy(none, noKey) + "# another change\n")
	refused(envoy(none, noKey)+second, "globex.example.com")
}

// TestCertificatesChangeTogether: while one listener's certificate does not fit its key, no listener gets a
// new one, in whichever order they are read.
func TestCertificatesChangeTogether(t *testing.T) {
	for range 10 {
		var pairs [2]config.TLS
		for i := range pairs {
			pairs[i].Cert, pairs[i].Key = certificate(t)
		}
		before, after, err := sidecar.ReadCertificates(pairs[0], pairs[1], func() {
			cert, key := certificate(t)
			for from, to := range map[string]string{cert: pairs[0].Cert, key: pairs[0].Key} {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(pairs[1].Key, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		})
		if err == nil {
			t.Fatal("a certificate without its key was read")
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatal("a listener has a new certificate after a refused change, want all as they were")
		}
	}
}
