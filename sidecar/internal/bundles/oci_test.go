package bundles_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/bundles"
)

// registry is an OCI registry with one bundle. It wants the token t0ken, which its token server gives.
type registry struct {
	*httptest.Server
	layer     []byte
	manifest  string // made of the layer if it is empty
	basic     bool   // demand Basic in place of Bearer
	anonymous bool   // demand nothing
	redirect  string // of the layer
	asked     []string
}

func startRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{layer: []byte("the bundle"), anonymous: true}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *registry) text() []byte {
	if r.manifest != "" {
		return []byte(r.manifest)
	}
	return fmt.Appendf(nil, `{"layers":[{"mediaType":"text/plain","digest":"x"},`+
		`{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`, digest(r.layer), len(r.layer))
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked = append(r.asked, req.URL.Path)
	user, password, _ := req.BasicAuth()
	known := user == "ada" && password == "s3cret"
	switch got := req.Header.Get("Authorization"); {
	case req.URL.Path == "/token":
		q := req.URL.Query()
		if q.Get("scope") != "repository:acme/policy:pull" || q.Get("service") != "here" || !known {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"token":"t0ken"}`)
	case r.anonymous, r.basic && known, !r.basic && got == "Bearer t0ken":
		r.serve(w, req)
	case r.basic:
		w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="here",scope="x"`, r.URL))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func (r *registry) serve(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.HasPrefix(req.URL.Path, "/v2/acme/policy/manifests/"):
		_, _ = w.Write(r.text())
	case r.redirect != "":
		http.Redirect(w, req, r.redirect, http.StatusTemporaryRedirect)
	case strings.HasPrefix(req.URL.Path, "/v2/acme/policy/blobs/"):
		_, _ = w.Write(r.layer)
	default:
		http.NotFound(w, req)
	}
}

func (r *registry) source(t *testing.T, name, credential string) bundles.OCI {
	t.Helper()
	o := bundles.OCI{Reference: strings.TrimPrefix(r.URL, "http://") + "/acme/policy" + name}
	if credential != "" {
		o.TokenFile = tokenFile(t, credential)
	}
	return o
}

// TestOCI: a bundle comes by tag and by digest. The same manifest is no change, and a digest is asked for once.
func TestOCI(t *testing.T) {
	r := startRegistry(t)
	byTag, byDigest := r.source(t, ":latest", ""), r.source(t, "@"+digest(r.text()), "")
	var marks []bundles.Mark
	for _, o := range []bundles.OCI{byTag, byDigest} {
		got, err := o.Fetch(t.Context(), bundles.Mark{})
		if err != nil || string(got.Raw) != "the bundle" {
			t.Fatalf("%s: %q %v", o, got.Raw, err)
		}
		again, err := o.Fetch(t.Context(), got.Mark)
		if err != nil || again.Raw != nil || again.Mark != got.Mark {
			t.Errorf("%s again: %+v %v, want no change", o, again, err)
		}
		marks = append(marks, got.Mark)
	}
	if len(r.asked) != 5 { // two by tag and one of the manifest again, two by digest
		t.Errorf("the registry was asked for %q", r.asked)
	}
	r.layer = []byte("the next one")
	if got, err := byTag.Fetch(t.Context(), marks[0]); err != nil || string(got.Raw) != "the next one" {
		t.Errorf("after a change of the tag: %q %v", got.Raw, err)
	}
	if _, err := byDigest.Fetch(t.Context(), bundles.Mark{}); err == nil {
		t.Error("another manifest passed for the one of the digest")
	}
}

// TestOCIAuthentication: the source answers the challenge of the registry with what token_file has.
func TestOCIAuthentication(t *testing.T) {
	for _, c := range []struct {
		name, credential string
		basic, ok        bool
	}{
		{"a token server", "ada:s3cret", false, true},
		{"Basic", "ada:s3cret", true, true},
		{"a token of the registry", "t0ken", false, true},
		{"a wrong password", "ada:wr0ng", false, false},
		{"a wrong token", "wr0ng", false, false},
		{"no credential", "", false, false},
		{"no credential for Basic", "", true, false},
	} {
		r := startRegistry(t)
		r.anonymous, r.basic = false, c.basic
		got, err := r.source(t, ":1", c.credential).Fetch(t.Context(), bundles.Mark{})
		if (err == nil) != c.ok || c.ok != (string(got.Raw) == "the bundle") {
			t.Errorf("%s: %q %v", c.name, got.Raw, err)
		}
		if err != nil && c.credential != "" && strings.Contains(err.Error(), c.credential) {
			t.Errorf("%s: %v contains the credential", c.name, err)
		}
	}
}

// TestOCIRefuses: what does not have the digest or the size that the manifest names is no bundle.
func TestOCIRefuses(t *testing.T) {
	layer := func(digest string, size int) string {
		return fmt.Sprintf(`{"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`,
			digest, size)
	}
	for _, c := range []struct{ name, manifest, redirect, want string }{
		{"no JSON", "{", "", "manifest"},
		{"an index", `{"manifests":[]}`, "", "no layer"},
		{"another layer", layer(digest([]byte("x")), 1), "", "another layer"},
		{"a path for a digest", layer("../../../other", 1), "", "no sha256 digest"},
		{"too large", layer(digest([]byte("x")), bundle.MaxBytes+1), "", "size"},
		{"a plain place", "", "http://registry.example/", "not https"},
		{"a large manifest", strings.Repeat(" ", 1<<20), "", "more than"},
	} {
		r := startRegistry(t)
		r.manifest, r.redirect = c.manifest, c.redirect
		got, err := r.source(t, ":1", "").Fetch(t.Context(), bundles.Mark{})
		if err == nil || got.Raw != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q %v, want %q", c.name, got.Raw, err, c.want)
		}
	}
}

// TestOCIElsewhere: a registry may keep layers in another place, which gets no credential.
func TestOCIElsewhere(t *testing.T) {
	r := startRegistry(t)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "" {
			t.Error("the other place got a credential")
		}
		_, _ = w.Write(r.layer)
	}))
	defer store.Close()
	r.anonymous, r.redirect = false, store.URL
	got, err := r.source(t, ":1", "ada:s3cret").Fetch(t.Context(), bundles.Mark{})
	if err != nil || string(got.Raw) != "the bundle" {
		t.Errorf("%q %v", got.Raw, err)
	}
}

// TestOCIHostile: a registry, its token server or its other place cannot send the credential or the request elsewhere,
// and what is too large is not read to its end.
func TestOCIHostile(t *testing.T) {
	asked := make(chan string, 100)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		asked <- req.URL.Path + req.Header.Get("Authorization")
	}))
	defer elsewhere.Close()
	layerOf := func(b []byte, size int) string {
		return fmt.Sprintf(`{"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`,
			digest(b), size)
	}
	large := make([]byte, bundle.MaxBytes+1)
	for _, c := range []struct {
		name   string
		answer func(r *registry, w http.ResponseWriter, req *http.Request) // of manifests, layers and the token server
		want   string
	}{
		{"a manifest elsewhere", func(_ *registry, w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, elsewhere.URL+"/manifest", http.StatusFound)
		}, "redirects"},
		{"a token server elsewhere, in the clear", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://registry.example/token",service="here"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, "not https"},
		{"a token server with a user in its URL", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://ada@registry.example/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, "not https"},
		{"no token server", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
		}, "token server"},
		{"another scheme", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		}, "credential"},
		{"a token server that redirects", func(r *registry, w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/token" {
				http.Redirect(w, req, elsewhere.URL+"/token", http.StatusTemporaryRedirect)
				return
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, r.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}, "redirects"},
		{"a token that is another header", func(r *registry, w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/token" {
				fmt.Fprint(w, `{"token":"x\r\nX-Other: 1"}`)
				return
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, r.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}, "invalid header"},
		{"a layer larger than the manifest says", func(_ *registry, w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/manifests/") {
				fmt.Fprint(w, layerOf(large, 1))
				return
			}
			_, _ = w.Write(large)
		}, "more than"},
		{"a layer that moves for ever", func(r *registry, w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/manifests/") {
				fmt.Fprint(w, layerOf(nil, 1))
				return
			}
			http.Redirect(w, req, r.URL+req.URL.Path, http.StatusTemporaryRedirect)
		}, "redirects"},
		{"an index with a layer of another type", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"x"}],`+
				`"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip"}]}`)
		}, "no layer"},
		{"a layer by sha512", func(_ *registry, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, strings.Replace(layerOf(nil, 1), "sha256", "sha512", 1))
		}, "no sha256 digest"},
	} {
		r := startRegistry(t)
		r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { c.answer(r, w, req) })
		got, err := r.source(t, ":1", "ada:s3cret").Fetch(t.Context(), bundles.Mark{})
		if err == nil || got.Raw != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %q %v, want %q", c.name, got.Raw, err, c.want)
		}
	}
	if len(asked) > 0 {
		t.Errorf("another place was asked: %q", <-asked)
	}
}
