package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/log/logtest"
)

func TestMain(m *testing.M) { clustertest.Main(m) }

var genesis = []byte("identity of 16 b")

// open opens a log with a genesis record.
func open(t *testing.T, o jetstream.Options) *jetstream.Log {
	t.Helper()
	l := clustertest.Open(t, o)
	if err := l.Start(t.Context(), genesis); err != nil {
		t.Fatal(err)
	}
	return l
}

// load appends to logs, two writers each, and follows each of them.
type load struct {
	logs      []*jetstream.Log
	history   logtest.History
	got       [][][]byte    // what each Tail delivered
	end       atomic.Uint64 // the position up to which the Tails run
	stop      context.CancelFunc
	writers   sync.WaitGroup
	followers sync.WaitGroup

	mu    sync.Mutex
	count []int         // acknowledged records of each log
	grown chan struct{} // closed and replaced with each
}

func startLoad(t *testing.T, logs ...*jetstream.Log) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	n := len(logs)
	l := &load{logs: logs, got: make([][][]byte, n), count: make([]int, n), grown: make(chan struct{}), stop: cancel}
	for i := range logs {
		for w := range 2 {
			l.writers.Go(func() { l.write(ctx, i, w) })
		}
		l.followers.Go(func() {
			if err := l.follow(t.Context(), i); err != nil {
				t.Errorf("Tail %d = %v", i, err)
			}
		})
	}
	return l
}

func (l *load) write(ctx context.Context, i, w int) {
	for n := 0; ctx.Err() == nil; n++ {
		if _, err := l.history.Append(ctx, l.logs[i], fmt.Sprintf("%d.%d.%d", i, w, n)); err != nil {
			continue
		}
		l.mu.Lock()
		l.count[i]++
		close(l.grown)
		l.grown = make(chan struct{})
		l.mu.Unlock()
	}
}

var errEnd = errors.New("end")

func (l *load) follow(ctx context.Context, i int) error {
	err := l.logs[i].Tail(ctx, 1, func(seq log.Seq, rec []byte) error {
		if seq != log.Seq(len(l.got[i])+1) {
			return fmt.Errorf("record %d after %d", seq, len(l.got[i]))
		}
		l.got[i] = append(l.got[i], rec)
		if end := l.end.Load(); end != 0 && uint64(seq) >= end {
			return errEnd
		}
		return nil
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// wait waits until each log has acknowledged n more records, and returns how long that took.
func (l *load) wait(t *testing.T, n int) time.Duration {
	t.Helper()
	start := time.Now()
	l.mu.Lock()
	from := slices.Clone(l.count)
	l.mu.Unlock()
	for {
		l.mu.Lock()
		missing := false
		for i, count := range l.count {
			missing = missing || count < from[i]+n
		}
		grown := l.grown
		l.mu.Unlock()
		if !missing {
			return time.Since(start).Round(time.Millisecond)
		}
		<-grown
	}
}

// finish stops the writers and checks that the log has every acknowledged record once, that the
// order is that of the clock, and that every Tail delivered the same.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	l.writers.Wait()
	var end log.Seq
	for n := 0; end == 0; n++ {
		end, _ = l.history.Append(t.Context(), l.logs[0], fmt.Sprintf("end.%d", n))
	}
	l.end.Store(uint64(end))
	for { // a Tail that is there already ends with this one
		if _, err := l.logs[0].Append(t.Context(), []byte("after the end")); err == nil {
			break
		}
	}
	l.followers.Wait()
	for _, got := range l.got {
		l.history.Check(t, got[:min(int(end), len(got))])
	}
	t.Logf("%d records acknowledged, %d in the log", l.history.Acknowledged(), end)
}

// TestKilledLeader: when the leader is killed with SIGKILL, every process goes on within the time
// of an election. No acknowledged record is lost, and every Tail delivers the same records
// without a gap. The member that comes back takes part again.
func TestKilledLeader(t *testing.T) {
	t.Parallel()
	c := clustertest.New(t, 3)
	for i := range c.Members {
		c.RunProcess(t, i)
	}
	var logs []*jetstream.Log
	for i := range c.Members {
		logs = append(logs, open(t, c.Options(t, "0", i)))
	}
	l := startLoad(t, logs...)
	l.wait(t, 50)
	leader := c.Leader(t, "0")
	c.Stop(leader)
	t.Logf("member %d killed, the slowest went on after %v", leader, l.wait(t, 50))
	c.RunProcess(t, leader)
	l.wait(t, 50)
	second := (leader + 1) % 3
	c.Stop(second) // the majority now needs the member that was down
	t.Logf("member %d killed, the slowest went on after %v", second, l.wait(t, 50))
	l.finish(t)
}

// cutOffClient: a process whose server becomes unreachable without a word goes on with another
// server. Its Tail has no gap.
func cutOffClient(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	proxy := c.NewProxy(t, 0)
	o := c.Options(t, "cut-off", 0)
	o.URLs[0] = "tls://" + proxy.Addr
	l := startLoad(t, open(t, o))
	l.wait(t, 50)
	proxy.Cut()
	took := l.wait(t, 50)
	if t.Logf("went on after %v", took); took > 20*time.Second {
		t.Errorf("the process went on after %v, want at most 20s", took)
	}
	l.finish(t)
}

// gap: when live messages are missing, Tail does not deliver the one behind them. It fetches what
// is missing.
func gap(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	l := open(t, c.Options(t, "gap", 0))
	nc := c.Connect(t)
	var got []string
	err := l.Tail(t.Context(), 1, func(seq log.Seq, rec []byte) error {
		if seq != log.Seq(len(got)+1) {
			t.Errorf("Tail delivered record %d after %d", seq, len(got))
		}
		switch got = append(got, string(rec)); len(got) {
		case 1: // as after a lost connection: the next live message is that of record 4
			ahead := nats.NewMsg("live.scim.log.gap")
			ahead.Header.Set("Nats-Sequence", "4")
			ahead.Data = []byte("live")
			if err := errors.Join(nc.PublishMsg(ahead), nc.Flush()); err != nil {
				return err
			}
			for _, rec := range []string{"2", "3", "4"} {
				if _, err := l.Append(t.Context(), []byte(rec)); err != nil {
					return err
				}
			}
		case 4:
			return errEnd
		}
		return nil
	})
	if want := []string{string(genesis), "2", "3", "4"}; !errors.Is(err, errEnd) || !slices.Equal(got, want) {
		t.Errorf("Tail delivered %q, %v, want %q", got, err, want)
	}
}

// noted notes the messages of a log.
type noted struct {
	slog.Handler
	messages chan string
}

func (noted) Enabled(context.Context, slog.Level) bool { return true }

func (n noted) Handle(_ context.Context, r slog.Record) error {
	select {
	case n.messages <- r.Message:
	default: // nobody looks at so many
	}
	return nil
}

// TestLeaderWithoutFollowers: a leader that has lost the others still answers questions. A process that writes leaves
// it nevertheless.
func TestLeaderWithoutFollowers(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	open(t, c.Options(t, "0", 0))
	leader := c.Leader(t, "0")
	o := c.Options(t, "0", leader)
	handler := noted{slog.DiscardHandler, make(chan string, 100)}
	o.Logger = slog.New(handler)
	l := open(t, o)
	c.Stop((leader + 1) % 3)
	c.Stop((leader + 2) % 3)
	for range 2 {
		if seq, err := l.Append(t.Context(), []byte("record")); err == nil {
			t.Errorf("the leader alone acknowledged record %d", seq)
		}
		if _, err := l.Bounds(t.Context()); err != nil {
			t.Logf("the leader alone does not answer: %v", err)
		}
	}
	for {
		select {
		case m := <-handler.messages:
			if m == "leaving a server of the log" {
				return
			}
		default:
			t.Fatal("the process stays with a server that stores nothing")
		}
	}
}

// TestServerThatHangs: while a follower hangs, whoever begins to follow the log at the leader has a record soon,
// although the leader passes some of the questions to the one that hangs. A log that was connected to that one goes on
// at another server, and comes back there last.
func TestServerThatHangs(t *testing.T) {
	c := clustertest.New(t, 3)
	for i := range c.Members {
		c.RunProcess(t, i)
	}
	open(t, c.Options(t, "0", 0))
	leader := c.Leader(t, "0")
	hangs := (leader + 1) % 3
	reader, there := open(t, c.Options(t, "0", leader)), open(t, c.Options(t, "0", hangs))
	// A follower answers questions, and so gets some, from a moment on that nothing tells: after 2 s.
	for begin := time.Now(); time.Since(begin) < 3*time.Second; {
		if _, err := reader.Append(t.Context(), []byte("a record")); err != nil {
			t.Fatal(err)
		}
	}
	c.Pause(t, hangs)
	defer c.Continue(t, hangs)
	errGot := errors.New("got a record")
	for range 12 {
		start := time.Now()
		if err := reader.Tail(t.Context(), 1, func(log.Seq, []byte) error { return errGot }); !errors.Is(err, errGot) {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 1500*time.Millisecond {
			t.Errorf("the first record came after %s", took)
		}
	}
	for {
		if _, err := there.Append(t.Context(), []byte("a record")); err == nil {
			break
		}
	}
	if missing := there.Missing(); !slices.Equal(missing, []int{0}) {
		t.Errorf("the servers %v are out of reach, want the one that hangs, 0", missing)
	}
}

// TestTurns: the servers are tried from the next one on, and those that were out of reach a moment ago last.
func TestTurns(t *testing.T) {
	for _, c := range []struct {
		next    int
		missing []time.Duration // ago; zero: never
		want    []int
	}{
		{0, []time.Duration{0, 0, 0}, []int{0, 1, 2}},
		{2, []time.Duration{0, 0, 0}, []int{2, 0, 1}},
		{2, []time.Duration{time.Second, 0, 0}, []int{2, 1, 0}},
		{3, []time.Duration{time.Second, 0, time.Second}, []int{1, 0, 2}},
		{0, []time.Duration{time.Minute, 0, time.Second}, []int{0, 1, 2}},
	} {
		if got := jetstream.Turns(c.next, c.missing); !slices.Equal(got, c.want) {
			t.Errorf("from %d, missing %v: %v, want %v", c.next, c.missing, got, c.want)
		}
	}
}
