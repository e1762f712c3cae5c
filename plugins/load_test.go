package plugins_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
	. "github.com/scimward/scimward/plugins/plugintest"
)

// TestModulesRefused lists modules that must not load, and the errors for the operator. The host
// refuses each before a call can reach it.
func TestModulesRefused(t *testing.T) {
	edit := func(f func(*Module)) func() Module {
		return func() Module {
			m := Handmade(I32(0))
			f(&m)
			return m
		}
	}
	without := func(name string) func() Module {
		return edit(func(m *Module) {
			for i := range m.Funcs {
				if m.Funcs[i].Name == name {
					m.Funcs[i].Name = ""
				}
			}
		})
	}
	imports := func(i Import) func() Module {
		return edit(func(m *Module) { m.Imports = append(m.Imports, i) })
	}
	tests := []struct {
		name   string
		module func() Module
		want   string
	}{
		{"no abi_version", without("abi_version"), "exports no function abi_version"},
		{"no describe", without("describe"), "exports no function describe"},
		{"no health", without("health"), "exports no function health"},
		{"no revoke", without("revoke"), "exports no function revoke"},
		{"export with another signature", edit(func(m *Module) { m.Funcs[3].Params = 1 }), "export revoke is not () -> i32"},
		{"optional export with another signature", edit(func(m *Module) {
			m.Funcs = append(m.Funcs, Func{Name: "identify", Void: true})
		}), "export identify is not () -> i32"},
		{"ungranted import", imports(Import{Module: abi.Module, Name: "http_send", Params: 4}), "imports http_send, but neither manifest nor grant"},
		{"import of a later version", imports(Import{Module: abi.Module, Name: "kv_get", Params: 2}), "imports revoker_v1.kv_get, which does not exist"},
		{"import with another signature", imports(Import{Module: abi.Module, Name: "input_len", Params: 1}), "imports revoker_v1.input_len with another signature"},
		{"sockets", imports(Import{Module: "wasi_snapshot_preview1", Name: "sock_accept", Params: 3}), "imports sock_accept"},
		{"unknown WASI function", imports(Import{Module: "wasi_snapshot_preview1", Name: "exec", Params: 1}), "exec"},
		{"foreign import", imports(Import{Module: "env", Name: "system", Params: 1}), "imports env.system"},
		{"imported memory", edit(func(m *Module) { m.ImportMemory = true }), "imports a memory"},
		{"no memory", edit(func(m *Module) { m.NoMemory, m.Data = true, "" }), "exports no memory"},
		{"memory above the limit", edit(func(m *Module) { m.Pages = 64<<4 + 1 }), "compile"},
		{"start function traps", edit(func(m *Module) {
			m.Funcs = append(m.Funcs, Func{Void: true, Body: Unreachable()})
			m.Start = len(m.Funcs)
		}), "instantiate"},
		{"_initialize traps", edit(func(m *Module) {
			m.Funcs = append(m.Funcs, Func{Name: "_initialize", Void: true, Body: Unreachable()})
		}), "instantiate"},
		{"_initialize calls the host", edit(func(m *Module) {
			m.Funcs = append(m.Funcs, Func{Name: "_initialize", Void: true, Body: Seq(I32(0), I32(1), CallFn(OutputWrite), Drop())})
		}), "called outside a call"},
		{"_initialize never ends", edit(func(m *Module) {
			m.Funcs = append(m.Funcs, Func{Name: "_initialize", Void: true, Body: Forever()})
		}), "did not end in time"},
		{"abi_version of the next major", edit(func(m *Module) { m.Funcs[0].Body = I32(2 << 16) }), "speaks 2.0"},
		{"abi_version of a later minor", edit(func(m *Module) { m.Funcs[0].Body = I32(1<<16 | 9) }), "speaks 1.9"},
		{"abi_version traps", edit(func(m *Module) { m.Funcs[0].Body = Unreachable() }), "abi_version"},
		{"describe fails", edit(func(m *Module) { m.Funcs[1].Body = I32(2) }), "describe"},
		{"describe writes nothing", edit(func(m *Module) { m.Funcs[1].Body = I32(0) }), "describe"},
		{"describe traps", edit(func(m *Module) { m.Funcs[1].Body = Unreachable() }), "describe"},
		{"describe names another plugin", edit(func(m *Module) { m.Data = strings.Replace(m.Data, "handmade", "handfake", 1) }), `the module is "handfake"`},
		{"describe names other kinds", edit(func(m *Module) {
			m.Data = strings.Replace(m.Data, "web_session", "ssh_key", 1)
			m.Funcs[1].Body = Seq(I32(DataAt), I32(len(m.Data)), CallFn(OutputWrite))
		}), "answers for kinds [ssh_key]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			refuse(t, tt.module().Encode(), tt.want, nil)
		})
	}
}

// TestModuleFilesRefused: a file that is no module, or differs from the manifest, does not load.
func TestModuleFilesRefused(t *testing.T) {
	good := Handmade(I32(0)).Encode()
	tests := []struct {
		name string
		wasm []byte
		edit func(*plugins.Manifest)
		want string
	}{
		{"not Wasm", []byte("#!/bin/sh\n"), nil, "compile"},
		{"cut short", good[:len(good)-5], nil, "compile"},
		{"component", append([]byte{0, 'a', 's', 'm', 13, 0, 1, 0}, good[8:]...), nil, "compile"},
		{"another digest", good, func(m *plugins.Manifest) { m.Module.SHA256 = strings.Repeat("0", 64) }, "module.sha256 says"},
		{"another size", good, func(m *plugins.Manifest) { m.Module.Size = 7 }, "module.size says 7"},
		{"no file", good, func(m *plugins.Manifest) { m.Module.Path = "absent.wasm" }, "reading the module"},
		{"for another application", good, func(m *plugins.Manifest) { m.App = "wiki" }, `the manifest is for "wiki"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refuse(t, tt.wasm, tt.want, tt.edit) })
	}
}

// TestPluginOfAnUnlistedKind: a plugin that handles a kind which the application does not list does not
// load, because the kind would never be revoked. A kind that only the application lists is no fault.
func TestPluginOfAnUnlistedKind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(file, Handmade(I32(0)).Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := plugins.Config{Tenant: "acme", App: "app", Manifest: WriteManifest(t, file, HandmadeManifest())}
	for _, tt := range []struct {
		kinds []abi.Kind
		loads bool
	}{
		{nil, true},
		{[]abi.Kind{abi.KindPAT, abi.KindWebSession}, true},
		{[]abi.Kind{abi.KindPAT}, false},
	} {
		cfg.Kinds = tt.kinds
		err := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}}).Ready()
		if tt.loads != (err == nil) {
			t.Errorf("kinds %v: %v, want loaded: %t", tt.kinds, err, tt.loads)
		}
		if err != nil && !strings.Contains(err.Error(), "handles web_session") {
			t.Errorf("kinds %v: %v, want the missing kind", tt.kinds, err)
		}
	}
}

// refuse opens a host with one module and expects that it is not ready, for the reason want.
func refuse(t *testing.T, wasm []byte, want string, edit func(*plugins.Manifest)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.wasm")
	if err := os.WriteFile(file, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	m := HandmadeManifest()
	if edit != nil {
		edit(&m)
	}
	cfg := plugins.Config{Tenant: "acme", App: "app", Manifest: WriteManifest(t, file, m)}
	h := Open(t, plugins.Options{Plugins: []plugins.Config{cfg}})
	err := h.Ready()
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "acme/app") {
		t.Errorf("Ready: %v, want %q", err, want)
	}
	if _, ok := h.Info("acme", "app"); ok {
		t.Error("Info of a refused plugin = true, want false")
	}
}

// TestNotLoadedAnswersRetry: a plugin that does not load gives every kind the state retry.
func TestNotLoadedAnswersRetry(t *testing.T) {
	h := Open(t, plugins.Options{Plugins: []plugins.Config{{Tenant: "acme", App: "app", Manifest: "absent.json"}}})
	got := revoke(t, h, request("", abi.KindPAT, abi.KindDevice))
	if len(got) != 2 || got[0].State != abi.StateRetry || got[0].Code != abi.CodeNotLoaded ||
		got[1].Kind != abi.KindDevice {
		t.Errorf("got %+v, want two retry/not_loaded", got)
	}
	if _, err := h.Identify(t.Context(), "acme", "app", plugins.Question{Secret: "x"}); code(err) != abi.CodeNotLoaded {
		t.Errorf("Identify: %v, want not_loaded", err)
	}
}

// TestOpenRefuses: Open returns an error if the options cannot work for any plugin.
func TestOpenRefuses(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := plugins.Config{Tenant: "a", App: "b", Manifest: "absent.json"}
	tests := []struct {
		name string
		opts plugins.Options
		want string
	}{
		{"cache others can read", plugins.Options{CacheDir: open}, "0700"},
		{"same application twice", plugins.Options{Plugins: []plugins.Config{cfg, cfg}}, "a/b has two plugins"},
		{"no tenant", plugins.Options{Plugins: []plugins.Config{{App: "b"}}}, "no name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := plugins.Open(t.Context(), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v, %v, want %q", h, err, tt.want)
			}
		})
	}
}

const goodManifest = `{"schema":"revoker.plugin/v1","name":"gitlab","version":"1.4.2","abi":"1.0","app":"","runtime":"wasm",
"module":{"path":"gitlab.wasm","sha256":"0000000000000000000000000000000000000000000000000000000000000000","size":31207},
"kinds":["web_session","pat"],"subject_attributes":["employeeNumber"],"config":{"base_url":"https://gitlab.example/x"},
"capabilities":{"http":[{"host":"gitlab.example","port":443,"scheme":"https","methods":["GET","DELETE"],"path_prefix":["/api/v4/"],"secrets":["admin"],"allow_private":["10.20.0.0/16"]}]},
"limits":{"memory_mib":64}}`

// badManifests lists faults in goodManifest and the messages about them.
func badManifests() map[string][3]string { // name -> old, new, want
	return map[string][3]string{
		"unknown field":              {`"name":`, `"label":"x","name":`, `unknown field "label"`},
		"unknown nested field":       {`"port":443`, `"port":443,"redirects":true`, `unknown field "redirects"`},
		"field twice":                {`"name":"gitlab"`, `"name":"gitlab","name":"other"`, `a name appears twice: "name"`},
		"field twice in other case":  {`"name":"gitlab"`, `"name":"gitlab","Name":"other"`, `a name appears twice: "Name"`},
		"wrong type":                 {`"kinds":["web_session","pat"]`, `"kinds":"pat"`, "kinds"},
		"trailing data":              {`"limits":{"memory_mib":64}}`, `"limits":{"memory_mib":64}} {}`, "data follows the document"},
		"cut short":                  {`"limits":{"memory_mib":64}}`, `"limits":{`, "decoding"},
		"schema":                     {"revoker.plugin/v1", "revoker.plugin/v2", "schema:"},
		"name":                       {`"gitlab"`, `"../gitlab"`, "name:"},
		"no version":                 {`"1.4.2"`, `""`, "version:"},
		"abi":                        {`"abi":"1.0"`, `"abi":"2.0"`, "abi:"},
		"runtime":                    {`"wasm"`, `"native"`, "runtime:"},
		"module path up":             {`"path":"gitlab.wasm"`, `"path":"../x.wasm"`, "module.path:"},
		"module path absolute":       {`"path":"gitlab.wasm"`, `"path":"/etc/passwd"`, "module.path:"},
		"digest upper case":          {strings.Repeat("0", 64), strings.Repeat("A", 64), "module.sha256:"},
		"size zero":                  {"31207", "0", "module.size:"},
		"size above 16 MiB":          {"31207", "17825792", "module.size:"},
		"no kinds":                   {`["web_session","pat"]`, `[]`, "kinds:"},
		"unknown kind":               {`["web_session","pat"]`, `["cookie"]`, "kinds[0]:"},
		"kind twice":                 {`["web_session","pat"]`, `["pat","pat"]`, "kinds[1]:"},
		"scheme":                     {`"scheme":"https"`, `"scheme":"ftp"`, "capabilities.http[0].scheme:"},
		"host with path":             {`"host":"gitlab.example"`, `"host":"gitlab.example/x"`, "http[0].host:"},
		"host star":                  {`"host":"gitlab.example"`, `"host":"*"`, "http[0].host:"},
		"host of a top level":        {`"host":"gitlab.example"`, `"host":"*.com"`, "http[0].host:"},
		"host upper case":            {`"host":"gitlab.example"`, `"host":"GitLab.example"`, "http[0].host:"},
		"host with dot":              {`"host":"gitlab.example"`, `"host":"gitlab.example."`, "http[0].host:"},
		"no host":                    {`"host":"gitlab.example",`, ``, "http[0].host:"},
		"port":                       {`"port":443`, `"port":70000`, "http[0].port:"},
		"method lower case":          {`"DELETE"`, `"delete"`, "http[0].methods[1]:"},
		"method CONNECT":             {`"DELETE"`, `"CONNECT"`, "http[0].methods[1]:"},
		"path prefix with dots":      {`"/api/v4/"`, `"/api/../"`, "http[0].path_prefix[0]:"},
		"path prefix without slash":  {`"/api/v4/"`, `"api"`, "http[0].path_prefix[0]:"},
		"secret name":                {`["admin"]`, `["a b"]`, "http[0].secrets[0]:"},
		"private range with host":    {`"10.20.0.0/16"`, `"10.20.0.1/16"`, "http[0].allow_private[0]:"},
		"private range no CIDR":      {`"10.20.0.0/16"`, `"10.20.0.1"`, "http[0].allow_private[0]:"},
		"base_url and host":          {`"port":443`, `"port":443,"base_url":"base_url"`, "http[0].base_url:"},
		"memory above the maximum":   {`"memory_mib":64`, `"memory_mib":9999`, "limits.memory_mib:"},
		"negative timeout":           {`"memory_mib":64`, `"timeout_ms":-1`, "limits.timeout_ms:"},
		"nested without end":         {`"config":{`, `"config":{"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `,`, "nested too deeply"},
		"null instead of the object": {goodManifest, "null", "must be a JSON object"},
		"empty":                      {goodManifest, "", "decoding"},
	}
}

// TestManifestRefused: each faulty manifest is refused, and the error names the field.
func TestManifestRefused(t *testing.T) {
	if _, err := plugins.ParseManifest([]byte(goodManifest)); err != nil {
		t.Fatalf("ParseManifest of the good manifest: %v, want no error", err)
	}
	for name, c := range badManifests() {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(goodManifest, c[0], c[1], 1)
			if doc == goodManifest {
				t.Fatal("the case changes nothing")
			}
			_, err := plugins.ParseManifest([]byte(doc))
			if err == nil || !strings.Contains(err.Error(), c[2]) {
				t.Errorf("ParseManifest: %v, want %q", err, c[2])
			}
		})
	}
	if _, err := plugins.ParseManifest([]byte(strings.Repeat(" ", 65<<10))); err == nil {
		t.Error("ParseManifest of 65 KiB = nil, want an error")
	}
}

// TestManifestFaultsHavePositions checks the line and column of each fault.
func TestManifestFaultsHavePositions(t *testing.T) {
	for name, tt := range map[string]struct{ doc, want string }{
		"empty":              {"\n", "line 1, column 1: the document is empty"},
		"cut short":          {"{\n  \"name\": \"x\",\n", "line 3, column 1: the document ends"},
		"cut in a string":    {"{\"name\": \"x", "line 1, column 12: the document ends"},
		"comma too many":     {"{\n  \"name\": \"x\",\n}", "line 2, column 14: invalid character ','"},
		"comma missing":      {"{\n  \"name\": \"x\"\n  \"version\": \"1\"}", "line 3, column 3: invalid character '\"'"},
		"comment":            {"{\n  // why\n}", "line 2, column 3: invalid character '/'"},
		"field twice":        {"{\n\"name\": \"x\",\n\"Name\": \"y\"}", "line 3, column 7: a name appears twice: \"Name\""},
		"unknown field":      {"{\n\"name\": \"x\",\n\"label\": \"y\"}", "line 3, column 8: unknown field \"label\""},
		"unknown name twice": {"{\"config\": {\"label\": 1}, \"label\": 2}", "unknown field \"label\""},
		"wrong type":         {"{\n\"kinds\": \"pat\"}", "line 2, column 15: kinds must not be a JSON string"},
		"data after":         {"{}\n{}", "line 1, column 3: data follows the document"},
		"no object":          {"[]", "line 1, column 2: the document must be a JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plugins.ParseManifest([]byte(tt.doc))
			if err == nil || !strings.HasPrefix(err.Error(), "decoding the manifest: "+tt.want) &&
				!strings.Contains(err.Error(), "json: "+tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestManifestReportsAllFaults: one error lists all faults of a manifest.
func TestManifestReportsAllFaults(t *testing.T) {
	faults := strings.NewReplacer(`"gitlab"`, `"-"`, `"1.4.2"`, `""`, "31207", "-1", `"port":443`, `"port":-1`)
	doc := faults.Replace(goodManifest)
	_, err := plugins.ParseManifest([]byte(doc))
	for _, want := range []string{"name:", "version:", "module.size:", "capabilities.http[0].port:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s in it", err, want)
		}
	}
}

// FuzzManifest: an accepted manifest is accepted again when it is written out.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	for _, c := range badManifests() {
		f.Add([]byte(strings.Replace(goodManifest, c[0], c[1], 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := plugins.ParseManifest(b)
		if err != nil {
			return
		}
		doc, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("an accepted manifest cannot be written: %v", err)
		}
		if len(doc) > 64<<10 {
			return // it is longer than the bound when written out
		}
		if _, err := plugins.ParseManifest(doc); err != nil {
			t.Fatalf("ParseManifest of an accepted manifest, written again: %v, want no error\n%s", err, doc)
		}
	})
}
