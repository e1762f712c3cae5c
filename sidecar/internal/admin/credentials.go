package admin

import (
	"fmt"
	"net/http"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// CredentialReport lists names on allowed requests of an application that look like credentials and
// that no subject of the configuration reads. It holds no values.
type CredentialReport struct {
	Tenant string `json:"tenant"`
	App    string `json:"app"`
	// Headers is true while Envoy passes every header on, in a discovery window. Otherwise the report has
	// cookies and query parameters only.
	Headers bool                `json:"sees_every_header"`
	Until   string              `json:"discover_until,omitempty"`
	Names   []authz.SuspectName `json:"names"`
	More    bool                `json:"more"` // there were more names than are remembered
}

func (h *Handler) credentials(w http.ResponseWriter, r *http.Request) {
	rep, ok := h.opts.Credentials(r.PathValue("tenant"), r.PathValue("app"))
	if !ok {
		problem(w, http.StatusNotFound, fmt.Sprintf("no app %q of tenant %q: use names of the configuration",
			r.PathValue("app"), r.PathValue("tenant")), nil)
		return
	}
	h.write(w, r, http.StatusOK, rep)
}
