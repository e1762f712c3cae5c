package decisionlog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The values of Gap.Reason, and of the metric's label.
const (
	reasonFull   = "full"
	reasonFailed = "failed"
)

// maxBatch is how many records a destination gets at once.
const maxBatch = 1024

// Destination is where records go. Two equal destinations are one.
type Destination interface {
	// Name is the label in metrics: file, stdout, http, otlp.
	Name() string
	// open returns the way to the destination, and how long a record may wait for others on it.
	open(o Options) (s sink, linger time.Duration)
}

// sink writes records of one destination. One goroutine uses it.
type sink interface {
	// write delivers records and the gap behind them, and returns how many records it delivered. It may try again
	// until ctx ends.
	write(ctx context.Context, batch []*Record, gap *Gap) (int, error)
	close() error
}

// worker is the ring of one destination and the goroutine that empties it.
type worker struct {
	log         *Log
	destination Destination
	sink        sink
	size        int
	linger      time.Duration      // how long a record waits for others
	cancel      context.CancelFunc // of a write
	wake        chan struct{}
	ended       chan struct{}

	mu      sync.Mutex // guards the fields below
	waiting []*Record
	gap     *Gap // behind waiting
	closed  bool

	failing bool // of the goroutine: the last write failed
}

// add puts a record into the ring, or counts it as dropped if there is no room.
func (w *worker) add(r *Record) {
	w.mu.Lock()
	full := w.closed || len(w.waiting) >= w.size
	if full {
		w.lose(1, r.Time, r.Time, reasonFull)
	} else {
		w.waiting = append(w.waiting, r)
	}
	first := len(w.waiting) == 1 || len(w.waiting) == w.size/2
	w.mu.Unlock()
	if full {
		w.log.dropped.WithLabelValues(w.destination.Name(), reasonFull).Inc()
	}
	if first || full {
		w.signal()
	}
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// lose extends the gap. The caller holds mu.
func (w *worker) lose(n int, since, until time.Time, reason string) {
	if w.gap == nil {
		w.gap = &Gap{Since: since, Until: until, Reason: reason}
	}
	w.gap.Dropped += uint64(n)
	if since.Before(w.gap.Since) {
		w.gap.Since = since
	}
	if until.After(w.gap.Until) {
		w.gap.Until = until
	}
}

// take returns the oldest records, and the gap if it follows them.
func (w *worker) take() (batch []*Record, gap *Gap, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > maxBatch {
		batch = w.waiting[:maxBatch:maxBatch]
		w.waiting = append(make([]*Record, 0, len(w.waiting)), w.waiting[maxBatch:]...)
		return batch, nil, false
	}
	batch, gap, last = w.waiting, w.gap, w.closed
	w.waiting, w.gap = nil, nil
	return batch, gap, last
}

// run empties the ring until the worker is closed and the ring empty.
func (w *worker) run(ctx context.Context) {
	defer close(w.ended)
	for {
		batch, gap, last := w.take()
		ok := len(batch) == 0 && gap == nil || w.write(ctx, batch, gap)
		switch {
		case len(batch) == 0 && last:
			return
		case len(batch) == 0 || !ok && !w.more():
			<-w.wake
			w.collect()
		}
	}
}

// more reports whether records wait, or nobody will add one.
func (w *worker) more() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting) > 0 || w.closed
}

// collect waits a little for more records, if the destination takes them in large batches.
func (w *worker) collect() {
	if w.linger == 0 {
		return
	}
	timer := time.NewTimer(w.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.wake: // the ring is half full, or the worker closes
	}
}

// write reports whether the destination has taken everything.
func (w *worker) write(ctx context.Context, batch []*Record, gap *Gap) bool {
	n, err := w.sink.write(ctx, batch, gap)
	w.log.written.WithLabelValues(w.destination.Name()).Add(float64(n))
	if lost := batch[n:]; len(lost) > 0 || err != nil && gap != nil {
		w.log.dropped.WithLabelValues(w.destination.Name(), reasonFailed).Add(float64(len(lost)))
		w.mu.Lock()
		if len(lost) > 0 {
			w.lose(len(lost), lost[0].Time, lost[len(lost)-1].Time, reasonFailed)
		}
		if gap != nil { // nobody has seen it
			w.lose(int(gap.Dropped), gap.Since, gap.Until, gap.Reason)
		}
		if w.closed {
			w.gap = nil // nobody will ask for it again
		}
		w.mu.Unlock()
	}
	if failing := err != nil; failing != w.failing {
		w.failing = failing
		to := slog.String("destination", w.destination.Name())
		if failing {
			w.log.o.Logger.LogAttrs(ctx, slog.LevelError, "decisions are not delivered", to, slog.Any("error", err))
		} else {
			w.log.o.Logger.LogAttrs(ctx, slog.LevelInfo, "decisions are delivered again", to)
		}
	}
	return err == nil
}

// abandon waits a second for the end of the write that was cancelled. A write to standard output cannot be cancelled:
// then what waits is lost, and abandon returns false.
func (w *worker) abandon() bool {
	last := time.NewTimer(time.Second)
	defer last.Stop()
	select {
	case <-w.ended:
		return true
	case <-last.C:
		w.mu.Lock()
		w.log.dropped.WithLabelValues(w.destination.Name(), reasonFailed).Add(float64(len(w.waiting)))
		w.waiting = nil
		w.mu.Unlock()
		return false
	}
}

// close writes what waits, within flushTime, and closes the destination.
func (w *worker) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	limit := time.NewTimer(flushTime)
	defer limit.Stop()
	select {
	case <-w.ended:
		w.cancel()
	case <-limit.C:
		w.cancel()
		if !w.abandon() {
			return
		}
	}
	if err := w.sink.close(); err != nil {
		w.log.o.Logger.LogAttrs(context.Background(), slog.LevelWarn, "closing a destination of decisions",
			slog.String("destination", w.destination.Name()), slog.Any("error", err))
	}
}
