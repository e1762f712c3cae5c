package admin

import (
	"log/slog"
	"net/http"
	"time"
)

// backupPause is how long the client of a backup may take to read a part of it.
const backupPause = 2 * time.Minute

// backup streams a backup. It contains the signing keys and the users of all tenants. If it fails
// in the middle, the connection breaks, and the client finds that the end is missing.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	a, err := h.actOf(r)
	if err != nil {
		h.answer(w, r, "backup", a, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	out := &patientWriter{w: w, control: http.NewResponseController(w)}
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

// patientWriter gives each write its own deadline, because a backup may take longer than an answer.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (p *patientWriter) Write(b []byte) (int, error) {
	p.begun = true
	// A server without deadlines has none to extend.
	_ = p.control.SetWriteDeadline(time.Now().Add(backupPause))
	return p.w.Write(b)
}
