package jetstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/scimward/scimward/store/log"
	"github.com/scimward/scimward/store/log/jetstream"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
)

// checkRefused checks that a log does not attest its durability and refuses to append. Each of the
// reasons is a part of the message.
func checkRefused(t *testing.T, l *jetstream.Log, reasons ...string) {
	t.Helper()
	d, err := l.Attest(t.Context())
	if err != nil || d.OK || len(d.Reasons) != len(reasons) {
		t.Errorf("Attest = %+v, %v, want %q", d, err, reasons)
	}
	_, err = l.Append(t.Context(), []byte("x"))
	if !errors.Is(err, log.ErrRefused) {
		t.Errorf("Append = %v, want ErrRefused", err)
	}
	for _, r := range reasons {
		if err == nil || !strings.Contains(err.Error(), r) {
			t.Errorf("Append = %v, want the reason %q", err, r)
		}
	}
}

// TestAttestation: a log that could lose an acknowledged record refuses to append and says what to
// set. The operator can accept the loss.
func TestAttestation(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, 3)
	options := func(name string) jetstream.Options { return c.Options(t, name, 0) }
	l := open(t, options("good"))
	if d, err := l.Attest(t.Context()); err != nil || !d.OK || len(d.Reasons) != 0 {
		t.Fatalf("Attest = %+v, %v, want OK", d, err)
	}
	t.Run("one copy", func(t *testing.T) {
		o := options("r1")
		o.Replicas = 1
		refusing := clustertest.Open(t, o)
		checkRefused(t, refusing, "it has 1 copies; set num_replicas to 3")
		if err := refusing.Start(t.Context(), genesis); !errors.Is(err, log.ErrRefused) {
			t.Errorf("Start = %v, want ErrRefused", err)
		}
		o.AcceptLoss = true
		accepting := open(t, o)
		if seq, err := accepting.Append(t.Context(), []byte("x")); seq != 2 || err != nil {
			t.Errorf("Append with AcceptLoss = %d, %v, want 2", seq, err)
		}
	})
	t.Run("no system account", func(t *testing.T) {
		o := options("nosys")
		o.System = jetstream.Login{}
		checkRefused(t, clustertest.Open(t, o), "configure a user of the system account")
	})
	t.Run("another account", func(t *testing.T) {
		o := options("app")
		o.System = o.Login
		checkRefused(t, clustertest.Open(t, o), "it is no user of the system account")
	})
	t.Run("wrong password", func(t *testing.T) {
		o := options("password")
		o.System.Password = "wrong"
		checkRefused(t, clustertest.Open(t, o), "the system account cannot be used")
	})
	t.Run("foreign stream", func(t *testing.T) {
		j, err := js.New(c.Connect(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.CreateStream(t.Context(), js.StreamConfig{
			Name: "SCIM_LOG_foreign", Subjects: []string{"scim.log.foreign"}, Replicas: 3, MaxAge: time.Hour,
			Storage: js.MemoryStorage, AllowRollup: true, AllowMsgTTL: true,
		}); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, clustertest.Open(t, options("foreign")), "in memory", "max_age", "deny_delete", "allow_direct",
			"allow_rollup_hdrs", "allow_msg_ttl", "set republish from scim.log.foreign to live.scim.log.foreign")
	})
	t.Run("member without sync", func(t *testing.T) { lazyMember(t, c, l) })
	t.Run("member that is down", func(t *testing.T) {
		c.Stop(1)
		late := clustertest.Open(t, options("good")) // what it attested before counts
		if err := late.Ready(); err != nil {
			t.Errorf("Ready with a member down = %v, want nil", err)
		}
	})
}

// lazyMember: a member that comes back without sync_interval: always is found. When that is
// repaired, the log accepts records again.
func lazyMember(t *testing.T, c *clustertest.Cluster, l *jetstream.Log) {
	t.Helper()
	c.Stop(2)
	lazy, err := jetstream.StartLazyServer(c.Members[2])
	if err != nil {
		t.Fatal(err)
	}
	attest(t, l, false)
	checkRefused(t, l, "server n2 acknowledges before it syncs; set jetstream { sync_interval: always }")
	lazy.Stop()
	attest(t, l, false) // it is remembered as it was
	c.Run(t, 2)
	attest(t, l, true)
	if _, err := l.Append(t.Context(), []byte("x")); err != nil {
		t.Errorf("Append = %v", err)
	}
}

// attest asks until the cluster gives an answer.
func attest(t *testing.T, l *jetstream.Log, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		d, err := l.Attest(ctx)
		if err == nil && d.OK == ok {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("Attest = %+v, %v, want OK = %v", d, err, ok)
		}
	}
}
