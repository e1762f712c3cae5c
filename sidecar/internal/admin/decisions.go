package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/scimward/scimward/sidecar/internal/decisionlog"
)

// decisions streams the decision records of a tenant.
func (h *Handler) decisions(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	err := h.configured(tenant)
	since, bad := sinceOf(r)
	switch {
	case err != nil:
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	case bad != nil:
		problem(w, http.StatusBadRequest, bad.Error(), nil)
		return
	case h.opts.Decisions == nil:
		problem(w, http.StatusNotFound, "this scimward has no decision log", nil)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := newStream(w)
	enc := json.NewEncoder(out)
	err = h.opts.Decisions(tenant, since, func(rec *decisionlog.Record) error { return enc.Encode(rec) })
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	default:
		h.opts.Logger.ErrorContext(r.Context(), "reading the decision log",
			slog.String("tenant", tenant), slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, "the decision log could not be read"+seeLog, nil)
	}
}

// sinceOf reads ?since, a time; absent is the beginning.
func sinceOf(r *http.Request) (time.Time, error) {
	text := r.URL.Query().Get("since")
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("since is a time such as 2026-01-02T15:04:05Z")
	}
	return at, nil
}
