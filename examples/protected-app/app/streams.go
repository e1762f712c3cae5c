package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// each calls fn with 1, 2, … once per Tick until fn errs, the client goes, or
// the application ends. It does not look at the credential again: an open
// stream outlives it, as in most applications.
func (a *App) each(ctx context.Context, fn func(n int) error) {
	t := time.NewTicker(a.opts.Tick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-a.stop:
			return
		case <-t.C:
		}
		if fn(n) != nil {
			return
		}
	}
}

// webSocket sends a text message "tick N" each Tick.
func (a *App) webSocket(w http.ResponseWriter, r *http.Request, _ who) {
	// Shutdown waits for other handlers, not for one that took its connection over;
	// counted before it does, it is waited for by Run.
	a.streams.Add(1)
	defer a.streams.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }() // closed already when the goodbye worked
	ctx := conn.CloseRead(r.Context())
	a.each(ctx, func(n int) error { return conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "tick %d", n)) })
	_ = conn.Close(websocket.StatusGoingAway, "the application ends") // the client may be gone
}

// events sends the event "tick N" each Tick (HTML event stream).
func (a *App) events(w http.ResponseWriter, r *http.Request, _ who) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	a.each(r.Context(), func(n int) error {
		if _, err := fmt.Fprintf(w, "data: tick %d\n\n", n); err != nil {
			return err
		}
		return flush.Flush()
	})
}

// download sends DownloadChunks chunks of 1 KiB, one each Tick.
func (a *App) download(w http.ResponseWriter, r *http.Request, _ who) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="report.bin"`)
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	chunk := make([]byte, 1024)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	a.each(ctx, func(n int) error {
		if _, err := w.Write(chunk); err != nil {
			return err
		}
		if n == a.opts.DownloadChunks {
			cancel()
		}
		return flush.Flush()
	})
}
