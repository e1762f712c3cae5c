package bundles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/scimward/scimward/policies/bundle"
	"github.com/scimward/scimward/sidecar/internal/outbound"
)

// OCI is a bundle in an OCI registry, as OPA keeps it: the first layer of the manifest with the media type of a
// tar.gz. Reference is HOST/REPOSITORY@sha256:… or HOST/REPOSITORY:TAG. A registry on loopback is asked over http,
// every other one over https.
type OCI struct {
	Reference string
	Remote
}

// Media types of a bundle in a registry.
const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// maxManifest bounds a manifest and the answer of a token server.
const maxManifest = 256 << 10

// place is a reference in parts.
type place struct {
	origin string // scheme and host
	name   string // of the repository
	digest string // empty with a tag
	tag    string
}

// parseReference splits a reference, whose form the configuration has checked.
func parseReference(s string) (place, error) {
	host, name, _ := strings.Cut(s, "/")
	name, digest, _ := strings.Cut(name, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); digest == "" && i >= 0 {
		name, tag = name[:i], name[i+1:]
	}
	if host == "" || name == "" || digest == "" && tag == "" {
		return place{}, fmt.Errorf("%q is not HOST/REPOSITORY@sha256:DIGEST or HOST/REPOSITORY:TAG", s)
	}
	u := url.URL{Scheme: "https", Host: host}
	if onLoopback(u.Hostname()) {
		u.Scheme = "http"
	}
	return place{origin: u.String(), name: name, digest: digest, tag: tag}, nil
}

func onLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Fetch gets the manifest and its layer, and checks the digest of each. The mark is the digest of the manifest.
func (o OCI) Fetch(ctx context.Context, last Mark) (Fetched, error) {
	p, err := parseReference(o.Reference)
	if err != nil {
		return Fetched{}, err
	}
	if p.digest != "" && p.digest == last.ID {
		return Fetched{Mark: last}, nil // a digest names the same bytes for ever
	}
	client, err := o.client()
	if err != nil {
		return Fetched{}, err
	}
	defer client.CloseIdleConnections()
	return within(ctx, 2*requestTimeout, func(ctx context.Context) (Fetched, error) {
		r := &registry{ctx: ctx, client: client, remote: o.Remote, place: p}
		return r.bundle(last)
	})
}

// bundle gets the manifest and the layer that it names.
func (r *registry) bundle(last Mark) (Fetched, error) {
	text, err := r.get("manifests/"+r.digest+r.tag, manifestType, maxManifest)
	if err != nil {
		return Fetched{}, fmt.Errorf("getting the manifest: %w", err)
	}
	sum := digestOf(text)
	if r.digest != "" && sum != r.digest {
		return Fetched{}, fmt.Errorf("the registry gave another manifest than %s", r.digest)
	}
	if sum == last.ID {
		return Fetched{Mark: last}, nil
	}
	raw, err := r.layer(text)
	return Fetched{Raw: raw, Mark: Mark{ID: sum}}, err
}

func (o OCI) String() string { return "oci://" + o.Reference }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// registry asks one registry for one bundle.
type registry struct {
	ctx    context.Context //nolint:containedctx // of the one fetch
	client *http.Client
	remote Remote
	place
	authorization string // for the next request
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// layer gets the bundle that a manifest names.
func (r *registry) layer(manifest []byte) ([]byte, error) {
	var m struct {
		Layers []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	for _, l := range m.Layers {
		if l.MediaType != layerType {
			continue
		}
		if l.Size > bundle.MaxBytes {
			return nil, &bundle.Error{Stage: "size", Err: fmt.Errorf("the bundle has more than %d bytes", bundle.MaxBytes)}
		}
		if !digestForm.MatchString(l.Digest) {
			return nil, errors.New("the manifest names its layer by no sha256 digest")
		}
		raw, err := r.get("blobs/"+l.Digest, "", bundle.MaxBytes)
		if err != nil {
			return nil, fmt.Errorf("getting the layer: %w", err)
		}
		if digestOf(raw) != l.Digest {
			return nil, errors.New("the registry gave another layer than the manifest names")
		}
		return raw, nil
	}
	return nil, fmt.Errorf("the manifest has no layer of the type %s: push a bundle, not an image or an index", layerType)
}

// get asks for a manifest or a layer. It authenticates if the registry demands it.
func (r *registry) get(path, accept string, limit int64) ([]byte, error) {
	where := r.origin + "/v2/" + r.name + "/" + path
	resp, err := r.ask(where, accept, r.authorization)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && r.authorization == "" {
		challenge := resp.Header.Get("WWW-Authenticate")
		_ = resp.Body.Close()
		if r.authorization, err = r.authorize(challenge); err != nil {
			return nil, err
		}
		resp, err = r.ask(where, accept, r.authorization)
	}
	if err == nil && resp.StatusCode/100 == 3 && strings.HasPrefix(path, "blobs/") {
		// Registries keep layers in another place. Their digest is checked, and that place gets no credential.
		var target *url.URL
		target, err = resp.Location()
		_ = resp.Body.Close()
		if err == nil {
			resp, err = r.elsewhere(target) //nolint:bodyclose // readAnswer closes it
		}
	}
	if err != nil {
		return nil, outbound.WithoutURL(err)
	}
	return readAnswer(resp, limit)
}

// elsewhere follows the one redirect of a layer.
func (r *registry) elsewhere(target *url.URL) (*http.Response, error) {
	if err := r.safe(target); err != nil {
		return nil, fmt.Errorf("the registry redirects: %w", err)
	}
	return r.ask(target.String(), "", "")
}

// safe demands https, or http on loopback if the registry is there too.
func (r *registry) safe(u *url.URL) error {
	local := strings.HasPrefix(r.origin, "http://") && onLoopback(u.Hostname())
	if u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("the URL at %s is not https", u.Host)
	}
	return nil
}

func readAnswer(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		return nil, statusFault(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return b, nil
}

func (r *registry) ask(where, accept, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return r.client.Do(req)
}

var challengePart = regexp.MustCompile(`([a-zA-Z]+)="([^"]*)"`)

// authorize answers a challenge. A credential USER:PASSWORD is for Basic or for the token server that the registry
// names; another one is a token for the registry. Without a credential it asks the token server for a token that
// anybody may have.
func (r *registry) authorize(challenge string) (string, error) {
	credential, err := outbound.Token(r.remote.TokenFile)
	if err != nil {
		return "", err
	}
	user, password, pair := strings.Cut(credential, ":")
	scheme, rest, _ := strings.Cut(challenge, " ")
	basic, bearer := strings.EqualFold(scheme, "Basic"), strings.EqualFold(scheme, "Bearer")
	switch {
	case credential != "" && !pair:
		return "Bearer " + credential, nil
	case basic && pair:
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(user, password)
		return req.Header.Get("Authorization"), nil
	case !bearer:
		return "", errors.New("the registry demands a credential: write USER:PASSWORD into token_file")
	}
	values := map[string]string{}
	for _, m := range challengePart.FindAllStringSubmatch(rest, -1) {
		values[strings.ToLower(m[1])] = m[2]
	}
	return r.token(values["realm"], values["service"], user, password)
}

// token asks the token server of the registry.
func (r *registry) token(realm, service, user, password string) (string, error) {
	u, err := url.Parse(realm)
	if err == nil {
		err = r.safe(u)
	}
	if err != nil {
		return "", fmt.Errorf("the token server of the registry: %w", err)
	}
	q := u.Query()
	q.Set("service", service)
	q.Set("scope", "repository:"+r.name+":pull")
	u.RawQuery = q.Encode()
	req := &http.Request{Header: http.Header{}}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := r.ask(u.String(), "", req.Header.Get("Authorization"))
	if err != nil {
		return "", fmt.Errorf("asking the token server: %w", outbound.WithoutURL(err))
	}
	b, err := readAnswer(resp, maxManifest)
	if err != nil {
		return "", fmt.Errorf("asking the token server: %w", err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Token+answer.AccessToken == "" {
		return "", errors.New("the token server gave no token")
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	return "Bearer " + answer.Token, nil
}
