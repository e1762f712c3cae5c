package jetstream

import (
	"context"
	"time"
)

// Look is [Log.State] without the blobs and the genesis record. It asks the leader of the stream, and not the servers
// whether they sync: Durability is what was found last.
func (l *Log) Look(ctx context.Context) (State, error) {
	k, err := l.link(ctx)
	if err != nil {
		return State{}, err
	}
	s, err := l.records(ctx, k)
	if err != nil {
		k.unanswered(ctx, err)
		return State{}, err
	}
	l.attestation(&s)
	return s, nil
}

// Looked is what [Log.Look] returned when the durability was attested last, which happens every minute. It asks nobody.
func (l *Log) Looked() State {
	var s State
	if last := l.looked.Load(); last != nil {
		s = *last
	}
	l.attestation(&s)
	return s
}

// attestation adds what was attested last.
func (l *Log) attestation(s *State) {
	if d := l.durability.Load(); d != nil {
		s.Durability, s.Attested = *d, time.Unix(0, l.attestedAt.Load()).UTC()
	}
}
