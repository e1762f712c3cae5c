package scimhttp

import (
	"net/http"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// configURN is the schema of /ServiceProviderConfig (RFC 7643 §5).
const configURN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"

// discover serves the three documents of RFC 7644 §4. Paging, sorting and
// attribute parameters are ignored (F118); filters and other methods than GET were
// refused by the decision.
func (h *Handler) discover(w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	base := h.o.Base(x.tenant)
	switch s.Endpoint {
	case endpointTypes:
		return document(w, s.ID, typeDocuments(base))
	case endpointSchemas:
		return document(w, s.ID, schemaDocuments(base))
	default:
		writeJSON(w, http.StatusOK, scim.Encode(h.config(base)))
		return nil
	}
}

// named is a discovery document and the id it is read by.
type named struct {
	id  string
	doc scim.Object
}

func typeDocuments(base string) []named {
	types := scim.Types()
	out := make([]named, 0, len(types))
	for _, t := range types {
		out = append(out, named{t.ID, t.JSON(base)})
	}
	return out
}

func schemaDocuments(base string) []named {
	var out []named
	for _, t := range scim.Types() {
		out = append(out, named{t.Schema.ID, t.Schema.JSON(base)})
		for _, ext := range t.Extensions {
			out = append(out, named{ext.ID, ext.JSON(base)})
		}
	}
	return out
}

// document answers one document by id, or all of them.
func document(w http.ResponseWriter, id string, docs []named) error {
	if id == "" {
		all := make([][]byte, 0, len(docs))
		for _, d := range docs {
			all = append(all, scim.Encode(d.doc))
		}
		writeJSON(w, http.StatusOK, listBody(len(all), 1, all))
		return nil
	}
	for _, d := range docs {
		if strings.EqualFold(d.id, id) { // URNs compare without letter case
			writeJSON(w, http.StatusOK, scim.Encode(d.doc))
			return nil
		}
	}
	return store.ErrNotFound
}

// config says what is there and nothing more (F117).
func (h *Handler) config(base string) scim.Object {
	no := func() scim.Object { return scim.Object{"supported": false} }
	return scim.Object{
		"schemas":        []any{configURN},
		"patch":          scim.Object{"supported": true},
		"bulk":           scim.Object{"supported": false, "maxOperations": int64(0), "maxPayloadSize": int64(0)},
		"filter":         scim.Object{"supported": true, "maxResults": int64(h.o.MaxResults)},
		"changePassword": no(),
		"sort":           no(),
		"etag":           no(),
		"authenticationSchemes": []any{scim.Object{
			"type":        "oauthbearertoken",
			"name":        "OAuth Bearer Token",
			"description": "An access token with scope scim, obtained with a signed JWT (RFC 7523).",
			"specUri":     "https://www.rfc-editor.org/rfc/rfc6750",
			"primary":     true,
		}},
		"meta": scim.Object{
			"resourceType": "ServiceProviderConfig",
			"location":     base + "/" + endpointConfig,
		},
	}
}
