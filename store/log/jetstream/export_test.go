package jetstream

import "time"

// StartLazyServer starts a server as NATS configures it by default: it acknowledges before it
// syncs.
func StartLazyServer(o ServerOptions) (*Server, error) {
	options, err := o.server()
	if err != nil {
		return nil, err
	}
	options.SyncAlways = false
	return o.start(options)
}

// Turns returns the order in which the URLs are tried from one on, when each was missing some time ago; zero is never.
func Turns(next int, ago []time.Duration) []int {
	now := time.Now()
	l := &Log{opts: Options{URLs: make([]string, len(ago))}, next: next}
	for _, d := range ago {
		at := time.Time{}
		if d > 0 {
			at = now.Add(-d)
		}
		l.missing = append(l.missing, at)
	}
	return l.inTurn(now)
}

// Missing returns the indexes of the URLs that were ever out of reach.
func (l *Log) Missing() (out []int) {
	l.dialing <- struct{}{}
	defer func() { <-l.dialing }()
	for i, at := range l.missing {
		if !at.IsZero() {
			out = append(out, i)
		}
	}
	return out
}
