package admin

import (
	"log/slog"
	"net/http"
)

// backup streams a backup. It contains the signing keys and the users of all tenants. If it fails
// in the middle, the connection breaks, and the client finds that the end is missing.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	a, err := h.actOf(r)
	if err != nil {
		h.answer(w, r, "backup", a, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	out := newStream(w)
	m, err := h.opts.Store.Backup(r.Context(), out, h.opts.Version)
	attrs := []any{
		slog.String("action", "backup"), slog.String("operator", a.User), slog.String("request_id", a.RequestID),
	}
	if err != nil {
		h.opts.Logger.ErrorContext(r.Context(), "failed for an operator", append(attrs, slog.Any("error", err))...)
		if !out.begun {
			problem(w, http.StatusServiceUnavailable, "the backup could not be made"+seeLog, nil)
			return
		}
		panic(http.ErrAbortHandler) // the status is sent; the client must see a broken stream
	}
	h.opts.Logger.InfoContext(r.Context(), "done for an operator",
		append(attrs, slog.Uint64("position", uint64(m.Position)), slog.Int("keys", m.Keys))...)
}
