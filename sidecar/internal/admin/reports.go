package admin

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/scimward/scimward/sidecar/internal/revoke"
)

// LeaverList is the answer of the list of leavers.
type LeaverList struct {
	Leavers  []revoke.LeaverRow `json:"leavers"`
	Complete bool               `json:"complete"` // false if the tenant has more than one answer reads
}

// leavers lists the offboardings of a period.
func (h *Handler) leavers(w http.ResponseWriter, r *http.Request) {
	tenant, q := r.PathValue("tenant"), r.URL.Query()
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	var bounds [2]time.Time
	for i, name := range []string{"since", "until"} {
		at, err := time.Parse(time.RFC3339, q.Get(name))
		if q.Get(name) != "" && err != nil {
			problem(w, http.StatusBadRequest, name+" must be a time such as 2026-01-31T00:00:00Z", nil)
			return
		}
		bounds[i] = at
	}
	rows, complete, err := revoke.Leavers(r.Context(), h.opts.Store, tenant, bounds[0], bounds[1], q.Has("open"))
	if err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "listing leavers", slog.String("tenant", tenant), slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the store could not be read"+seeLog, nil)
		return
	}
	h.write(w, r, http.StatusOK, LeaverList{rows, complete})
}

// trail sends audit records as lines of JSON.
func (h *Handler) trail(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if err := h.configured(tenant); err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := newStream(w)
	err := revoke.Trail(r.Context(), h.opts.Store, tenant, r.URL.Query().Get("user"), out)
	switch {
	case err == nil:
	case errors.Is(err, revoke.ErrNothingKnown):
		problem(w, http.StatusNotFound, "no such user here: the audit trail has no record under this id or name", nil)
	default:
		h.opts.Logger.ErrorContext(r.Context(), "reading the audit trail",
			slog.String("tenant", tenant), slog.Any("error", err))
		if out.begun {
			panic(http.ErrAbortHandler) // the client must not take a part for the whole
		}
		problem(w, http.StatusServiceUnavailable, "the audit trail could not be read"+seeLog, nil)
	}
}
