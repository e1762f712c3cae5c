package app

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// each calls fn with 1, 2, … once per Tick until fn fails, the client disconnects, or the
// application ends. It does not check the credential again. As in most applications, an open stream
// outlives its credential.
func (a *App) each(ctx context.Context, fn func(n int) error) {
	t := time.NewTicker(a.opts.Tick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-a.ending:
			return
		case <-t.C:
		}
		if fn(n) != nil {
			return
		}
	}
}

// webSocket sends a text message "tick N" each Tick.
func (a *App) webSocket(w http.ResponseWriter, r *http.Request, _ who) error {
	// http.Server.Shutdown does not wait for a handler that took over its connection. serve does.
	a.streams.Add(1)
	defer a.streams.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }() // closed already after a normal close
	ctx := conn.CloseRead(r.Context())
	a.each(ctx, func(n int) error {
		return conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "tick %d", n))
	})
	_ = conn.Close(websocket.StatusGoingAway, "the application ends") // the client may have disconnected
	return nil
}

// events sends the event "tick N" each Tick (HTML event stream).
func (a *App) events(w http.ResponseWriter, r *http.Request, _ who) error {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	a.stream(w, r, func(n int) []byte { return fmt.Appendf(nil, "data: tick %d\n\n", n) })
	return nil
}

// download sends DownloadChunks chunks of 1 KiB, one each Tick.
func (a *App) download(w http.ResponseWriter, r *http.Request, _ who) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="report.bin"`)
	a.stream(w, r, func(n int) []byte {
		if n > a.opts.DownloadChunks {
			return nil
		}
		return make([]byte, 1024)
	})
	return nil
}

// stream sends the headers at once and then part(1), part(2), … until a part is nil.
func (a *App) stream(w http.ResponseWriter, r *http.Request, part func(n int) []byte) {
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	a.each(r.Context(), func(n int) error {
		b := part(n)
		if b == nil {
			return io.EOF
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return flush.Flush()
	})
}
