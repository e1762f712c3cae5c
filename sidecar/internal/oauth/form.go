package oauth

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxFormBytes = 64 << 10

	grantClientCredentials = "client_credentials"
	assertionType          = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// form is the parameters of a token request, each once and with a value.
type form map[string]string

// readForm reads the body of a token request. Bytes are bounded before anything
// is decoded, and a parameter that comes twice is refused, because two readers
// could take different ones (RFC 6749 §3.2).
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, &refusal{fault: faultRequest, detail: "parameters belong into the body, not into the URL"}
	}
	if err := checkMedia(r.Header); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &refusal{fault: faultTooLarge, detail: fmt.Sprintf("the body has more than %d bytes", maxFormBytes)}
	}
	if err != nil {
		return nil, &refusal{fault: faultRequest, detail: "the body broke off"}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &refusal{fault: faultRequest, detail: "the body is not a form"}
	}
	f := make(form, len(values))
	for name, list := range values {
		if len(list) != 1 {
			return nil, &refusal{fault: faultRequest, detail: fmt.Sprintf("parameter %.40q is there more than once", name)}
		}
		if !utf8.ValidString(list[0]) {
			return nil, &refusal{fault: faultRequest, detail: fmt.Sprintf("parameter %.40q is not UTF-8", name)}
		}
		if list[0] != "" { // without a value it counts as omitted
			f[name] = list[0]
		}
	}
	return f, nil
}

func checkMedia(h http.Header) error {
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return &refusal{fault: faultMedia, detail: "send one content-type: application/x-www-form-urlencoded"}
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/x-www-form-urlencoded" {
		return &refusal{fault: faultMedia, detail: "content-type is application/x-www-form-urlencoded"}
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return &refusal{fault: faultMedia, detail: "the charset is UTF-8"}
	}
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &refusal{fault: faultMedia, detail: "the body is sent without content-encoding"}
	}
	return nil
}

// check judges the parameters that need no key (B3, B4, B13).
func (f form) check(t *tenant) error {
	switch {
	case f["grant_type"] == "":
		return &refusal{fault: faultRequest, detail: "parameter grant_type is missing"}
	case f["grant_type"] != grantClientCredentials:
		return &refusal{fault: faultGrant, detail: "unsupported grant type"}
	case f["client_secret"] != "":
		return &refusal{fault: faultClient, detail: "client secrets are not accepted; send a client assertion (RFC 7523)"}
	case f["client_assertion"] == "":
		return &refusal{fault: faultClient, detail: "parameter client_assertion is missing"}
	case f["client_assertion_type"] != assertionType:
		return &refusal{fault: faultClient, detail: "parameter client_assertion_type is " + assertionType}
	case f["scope"] != "" && f["scope"] != Scope:
		return &refusal{fault: faultScope, detail: "unsupported scope"}
	case f["resource"] != "" && f["resource"] != t.Resource:
		return &refusal{fault: faultTarget, detail: "the only resource is " + t.Resource}
	}
	return nil
}
