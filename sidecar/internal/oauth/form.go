package oauth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/internal/token"
)

const (
	maxFormBytes  = 64 << 10
	maxParameters = 32

	formMedia              = "application/x-www-form-urlencoded"
	grantClientCredentials = "client_credentials"
	grantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer" //nolint:gosec // a name, no credential
	assertionType          = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// form contains the parameters of a token request that have a value.
type form map[string]string

// readForm reads the body of a token request. It limits size and number before decoding. It refuses a
// repeated parameter (RFC 6749 §3.2), because two readers could use different values.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, refuse(faultRequest, "send parameters in the body, not in the URL")
	}
	if err := checkMedia(r.Header); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refuse(faultTooLarge, fmt.Sprintf("the body has more than %d bytes", maxFormBytes))
	}
	if err != nil {
		return nil, refuse(faultRequest, "the body ended early: send as many bytes as Content-Length says")
	}
	if bytes.Count(body, []byte("&")) >= maxParameters {
		return nil, refuse(faultRequest, fmt.Sprintf("the body has more than %d parameters", maxParameters))
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse(faultRequest, "the body is not a form: send the body as "+formMedia)
	}
	f := make(form, len(values))
	for name, list := range values {
		if len(list) != 1 {
			return nil, refuse(faultRequest, fmt.Sprintf("parameter %.40q appears more than once: send it once", name))
		}
		if !utf8.ValidString(list[0]) {
			return nil, refuse(faultRequest, fmt.Sprintf("parameter %.40q is not UTF-8", name))
		}
		if list[0] != "" { // without a value it counts as omitted (RFC 6749 §3.2)
			f[name] = list[0]
		}
	}
	return f, nil
}

func checkMedia(h http.Header) error {
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return refuse(faultMedia, "send one content-type: "+formMedia)
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != formMedia {
		return refuse(faultMedia, "send content-type "+formMedia)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse(faultMedia, "send the form in UTF-8")
	}
	if request.Encoded(h.Values("Content-Encoding")) {
		return refuse(faultMedia, "send the body without content-encoding")
	}
	return nil
}

// assertion returns the assertion of a token request and whether the grant is that of RFC 7523 §2.1. It
// checks the parameters that can be checked without a key.
func (f form) assertion(t *tenant) (raw string, bearer bool, err error) {
	switch {
	case f["grant_type"] == "":
		return "", false, refuse(faultRequest, "parameter grant_type is missing")
	case f["grant_type"] == grantJWTBearer && t.jwtBearer():
		bearer = true
	case f["grant_type"] != grantClientCredentials:
		return "", false, refuse(faultGrant, "the grant types are "+strings.Join(t.grantTypes(), " and "))
	}
	if bearer {
		raw, err = f.grantAssertion()
	} else {
		raw, err = f.clientAssertion()
	}
	switch {
	case err != nil:
		return "", bearer, err
	case f["scope"] != "" && f["scope"] != token.Scope:
		return "", bearer, refuse(faultScope, "the only scope is "+token.Scope)
	case f["resource"] != "" && f["resource"] != t.Resource:
		return "", bearer, refuse(faultTarget, "the only resource is "+t.Resource)
	}
	return raw, bearer, nil
}

// secretRefused names what a client may do instead of sending a secret (IL1 §3.2.1).
const secretRefused = "client secrets are not accepted: send a client assertion (RFC 7523) here, " +
	"or send SCIM an access token of an authorization server that external_issuers lists, " +
	"or a static token where the tenant has static_tokens: allow"

// clientAssertion returns the assertion that authenticates a client (RFC 7523 §2.2).
func (f form) clientAssertion() (string, error) {
	switch {
	case f["client_secret"] != "":
		return "", refuse(faultClient, secretRefused)
	case f["client_assertion"] == "":
		return "", refuse(faultClient, "parameter client_assertion is missing")
	case f["client_assertion_type"] != assertionType:
		return "", refuse(faultClient, "parameter client_assertion_type must be "+assertionType)
	}
	return f["client_assertion"], nil
}

// grantAssertion returns the assertion that is the grant (RFC 7523 §2.1). It names the client, so
// nothing else may.
func (f form) grantAssertion() (string, error) {
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		if f[name] != "" {
			return "", refuse(faultRequest, "parameter "+name+" is not accepted with this grant: the assertion names the client")
		}
	}
	if f["assertion"] == "" {
		return "", refuse(faultRequest, "parameter assertion is missing")
	}
	return f["assertion"], nil
}

func (t *tenant) grantTypes() []string {
	if t.jwtBearer() {
		return []string{grantClientCredentials, grantJWTBearer}
	}
	return []string{grantClientCredentials}
}
