package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
)

// How often the durability is attested again. A server that comes back with another
// configuration is noticed within this time.
const (
	attestEvery = time.Minute
	attestSoon  = 5 * time.Second // while it is not attested
)

// minReplicas is the number of copies from which the loss of one machine loses nothing.
const minReplicas = 3

// keepAttested attests again until ctx ends.
func (l *Log) keepAttested(ctx context.Context) {
	for {
		every := attestEvery
		if d := l.durability.Load(); d == nil || !d.OK {
			every = attestSoon
		}
		if wait(ctx, every) != nil {
			return
		}
		if _, err := l.Attest(ctx); err != nil && ctx.Err() == nil {
			l.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "attesting the log", slog.Any("err", err))
		}
	}
}

// Attest implements [log.Attester]. It asks the leader for the configuration of the streams and
// every server that has a copy, through the system account, whether it syncs before it
// acknowledges. A server that does not answer counts as it was when it was last attested.
// After an error the former answer stays in force.
func (l *Log) Attest(ctx context.Context) (log.Durability, error) {
	k, err := l.link(ctx)
	if err != nil {
		return log.Durability{}, err
	}
	info, err := l.info(ctx, k)
	if err != nil {
		k.unanswered(ctx, err)
		return log.Durability{}, err
	}
	reasons := judgeStream(info, l.logConfig())
	names, err := holders(info)
	if err != nil {
		return log.Durability{}, err
	}
	more, err := l.judgeServers(ctx, k, names)
	if err != nil {
		return log.Durability{}, err
	}
	d := log.Durability{Reasons: append(reasons, more...)}
	d.OK = len(d.Reasons) == 0
	found := describe(info)
	l.attestedAt.Store(time.Now().UnixNano())
	l.looked.Store(&found)
	if former := l.durability.Swap(&d); former == nil || former.OK != d.OK {
		level := slog.LevelInfo
		if !d.OK {
			level = slog.LevelError
		}
		l.opts.Logger.LogAttrs(ctx, level, "durability of the log attested", slog.Bool("ok", d.OK),
			slog.String("reasons", strings.Join(d.Reasons, "; ")))
	}
	return d, nil
}

// holders are the names of the servers that have a copy of the stream.
func holders(info *js.StreamInfo) (names []string, err error) {
	if info.Cluster != nil && info.Cluster.Leader != "" {
		names = append(names, info.Cluster.Leader)
		for _, p := range info.Cluster.Replicas {
			names = append(names, p.Name)
		}
	}
	if len(names) < info.Config.Replicas || len(names) == 0 {
		return nil, fmt.Errorf("the stream %s has no leader that knows its %d copies", info.Config.Name, info.Config.Replicas)
	}
	slices.Sort(names)
	return names, nil
}

// judgeStream says what in the configuration of the stream can lose a record.
func judgeStream(info *js.StreamInfo, want js.StreamConfig) (reasons []string) {
	c, live := info.Config, want.RePublish
	no := func(bad bool, format string, args ...any) {
		if bad {
			reasons = append(reasons, fmt.Sprintf("stream %s: ", c.Name)+fmt.Sprintf(format, args...))
		}
	}
	no(c.Replicas < minReplicas, "it has %d copies; set num_replicas to %d", c.Replicas, minReplicas)
	no(c.Storage != js.FileStorage, "it is in memory; create it with file storage")
	no(c.Retention != js.LimitsPolicy, "its retention is %s; create it with limits", c.Retention)
	no(c.PersistMode != js.DefaultPersistMode, "it is persisted later; create it with the default persist_mode")
	no(c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0 || c.MaxBytes > 0 || c.MaxAge != 0 || c.MaxConsumers == 0,
		"it drops or refuses records; remove max_msgs, max_msgs_per_subject, max_bytes and max_age")
	no(!c.DenyDelete, "single records can be deleted; set deny_delete")
	no(c.AllowRollup, "records can replace others; unset allow_rollup_hdrs")
	no(c.AllowMsgTTL, "records can end by themselves; unset allow_msg_ttl")
	no(c.Sealed, "it is sealed")
	no(c.Mirror != nil || len(c.Sources) > 0, "it copies another stream; remove mirror and sources")
	no(!slices.Equal(c.Subjects, want.Subjects), "its subjects are %q; set %q", c.Subjects, want.Subjects)
	no(c.RePublish == nil || *c.RePublish != *live,
		"it does not publish its records again; set republish from %s to %s", live.Source, live.Destination)
	no(!c.AllowDirect, "only the leader answers; set allow_direct")
	return reasons
}

// peer is what one server says about itself.
type peer struct {
	ID   string `json:"id"`
	Sync bool   `json:"sync"`
}

// judgeServers says which of the servers acknowledge before they sync, or are not known to sync.
func (l *Log) judgeServers(ctx context.Context, k *link, names []string) (reasons []string, err error) {
	if !l.opts.System.given() {
		return []string{"the servers cannot be asked whether they sync; configure a user of the system account"}, nil
	}
	former, err := l.attested(ctx, k)
	if err != nil {
		return nil, err
	}
	found, err := l.ask(ctx, k.nc.ConnectedUrl(), names, answerTimeout)
	if err != nil {
		return []string{fmt.Sprintf("the system account cannot be used (%v); correct its user", err)}, nil
	}
	known := map[string]peer{}
	ids := map[string]string{}
	for _, name := range names {
		p, answered := found[name]
		if !answered {
			if p, answered = former[name]; !answered {
				reasons = append(reasons, fmt.Sprintf("server %s does not answer and was never attested; start it", name))
				continue
			}
		}
		if !p.Sync {
			reasons = append(reasons, fmt.Sprintf("server %s acknowledges before it syncs; "+
				"set jetstream { sync_interval: always } and restart it", name))
		}
		if other := ids[p.ID]; other != "" {
			reasons = append(reasons, fmt.Sprintf("%s and %s are the same server", other, name))
		}
		ids[p.ID], known[name] = name, p
	}
	if !maps.Equal(known, former) {
		err = l.keepPeers(ctx, known)
	}
	return reasons, err
}

// ask collects the answers of the servers that the one at a URL knows until all have answered, or for a time.
func (l *Log) ask(ctx context.Context, url string, names []string, within time.Duration) (map[string]peer, error) {
	nc, err := l.dial(ctx, url, l.opts.System)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", inbox, []byte("{}")); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	found := map[string]peer{}
	for !containsAll(found, names) {
		m, err := sub.NextMsgWithContext(limited)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return found, nil
		case errors.Is(err, nats.ErrNoResponders):
			return nil, errors.New("nobody answers there, so it is no user of the system account")
		case err != nil:
			return nil, err
		}
		var answer struct {
			Server struct{ Name, ID string } `json:"server"`
			Data   struct {
				Config struct {
					SyncAlways bool `json:"sync_always"`
				} `json:"config"`
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return nil, fmt.Errorf("reading the answer of a server: %w", err)
		}
		found[answer.Server.Name] = peer{ID: answer.Server.ID, Sync: answer.Data.Config.SyncAlways}
	}
	return found, nil
}

func containsAll(found map[string]peer, names []string) bool {
	for _, name := range names {
		if _, ok := found[name]; !ok {
			return false
		}
	}
	return true
}

// attestedSubject is the subject of the newest answers of the servers.
func (l *Log) attestedSubject() string { return l.blobsRoot + "attested" }

// attested returns the answers of the servers that some process has got before. So scimward can
// restart while one server is down.
func (l *Log) attested(ctx context.Context, k *link) (map[string]peer, error) {
	b, err := k.stored(ctx, l.blobs, map[string]any{"last_by_subj": l.attestedSubject()})
	if errors.Is(err, errNotStored) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known map[string]peer
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("reading what was attested: %w", err)
	}
	return known, nil
}

func (l *Log) keepPeers(ctx context.Context, known map[string]peer) error {
	b, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("encoding what was attested: %w", err)
	}
	if _, err := l.publish(ctx, message(l.attestedSubject(), b)); err != nil {
		return fmt.Errorf("keeping what was attested: %w", err)
	}
	return nil
}
