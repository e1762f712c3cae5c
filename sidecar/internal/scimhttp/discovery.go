package scimhttp

import (
	"net/http"
	"strings"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// configURN is the schema of /ServiceProviderConfig (RFC 7643 §5).
const configURN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"

// discover serves the three documents of RFC 7644 §4. It ignores paging, sorting and attribute
// parameters. The decision has already refused filters and all methods except GET.
func (h *Handler) discover(w http.ResponseWriter, x *exchange) error {
	base := h.opts.Base(x.Tenant)
	switch x.scim.Endpoint {
	case endpointTypes:
		return document(w, x, typeDocuments(base))
	case endpointSchemas:
		return document(w, x, schemaDocuments(base))
	default:
		return versioned(h.config(x.Tenant, base, x.scim.Dialect.Conformance())).writeRead(w, x.pre)
	}
}

func typeDocuments(base string) []scim.Object {
	var out []scim.Object
	for _, t := range scim.Types() {
		out = append(out, t.JSON(base))
	}
	return out
}

func schemaDocuments(base string) []scim.Object {
	var out []scim.Object
	for _, t := range scim.Types() {
		out = append(out, t.Schema.JSON(base))
		for _, ext := range t.Extensions {
			out = append(out, ext.JSON(base))
		}
	}
	return out
}

// document answers with the document that has the id, or with all documents. The list has no
// version, so its tag is its fingerprint.
func document(w http.ResponseWriter, x *exchange, docs []scim.Object) error {
	id := x.scim.ID
	all := make([][]byte, 0, len(docs))
	for _, d := range docs {
		v := versioned(d)
		if id != "" && strings.EqualFold(d.String("id"), id) { // case does not matter in URNs
			return v.writeRead(w, x.pre)
		}
		all = append(all, v.body)
	}
	if id != "" {
		return store.ErrNotFound
	}
	body := listBody(len(all), 1, all)
	return rendered{body, fingerprint(body)}.writeRead(w, x.pre)
}

// versioned renders a discovery document. The store does not have it, so its version is the
// fingerprint of the rest (RFC 7643 §3.1).
func versioned(doc scim.Object) rendered {
	t := fingerprint(scim.Encode(doc))
	if meta, ok := doc["meta"].(scim.Object); ok {
		meta["version"] = t.etag()
	}
	return rendered{scim.Encode(doc), t}
}

// ConformanceURN is the extension of ServiceProviderConfig that names the profile.
const ConformanceURN = "urn:scimward:params:scim:schemas:1.0:Conformance"

// config describes exactly the supported features (RFC 7643 §5).
func (h *Handler) config(tenant, base string, c policies.Conformance) scim.Object {
	out := h.features(tenant, base)
	if h.opts.StaticTokens(tenant) && policies.TraitsOf(c.Profile).OAuthOnly {
		return out
	}
	if c.Enforced {
		out["schemas"] = []any{configURN, ConformanceURN}
		lines := make([]any, 0, len(c.Missing))
		for _, id := range c.Missing {
			lines = append(lines, id)
		}
		out[ConformanceURN] = scim.Object{"profile": c.Profile, "revision": c.Revision, "incomplete": lines}
	}
	if c.Interop {
		out["interopProfileConformant"] = true
	}
	return out
}

func (h *Handler) features(tenant, base string) scim.Object {
	no := func() scim.Object { return scim.Object{"supported": false} }
	return scim.Object{
		"schemas":               []any{configURN},
		"patch":                 scim.Object{"supported": true},
		"bulk":                  scim.Object{"supported": false, "maxOperations": int64(0), "maxPayloadSize": int64(0)},
		"filter":                scim.Object{"supported": true, "maxResults": int64(h.bounds.MaxResults)},
		"changePassword":        no(),
		"sort":                  no(),
		"etag":                  scim.Object{"supported": true},
		"authenticationSchemes": h.schemes(tenant),
		"meta": scim.Object{
			"resourceType": "ServiceProviderConfig",
			"location":     base + "/" + endpointConfig,
		},
	}
}

// schemes lists how clients of a tenant authenticate. RFC 7643 §5 has one type for every bearer token.
func (h *Handler) schemes(tenant string) []any {
	out := []any{scim.Object{
		"type":        "oauthbearertoken",
		"name":        "OAuth Bearer Token",
		"description": "An access token with scope scim, obtained with a signed JWT (RFC 7523).",
		"specUri":     "https://www.rfc-editor.org/rfc/rfc6750",
		"primary":     true,
	}}
	if h.opts.StaticTokens(tenant) {
		out = append(out, scim.Object{
			"type":        "oauthbearertoken",
			"name":        "Static Bearer Token",
			"description": "A bearer token that an operator creates, and that does not change until it expires.",
			"specUri":     "https://www.rfc-editor.org/rfc/rfc6750",
			"primary":     false,
		})
	}
	return out
}
