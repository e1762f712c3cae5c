package sidecar

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/sidecar/internal/cluster"
	"github.com/scimward/scimward/store/log/jetstream"
)

// ClusterStatus is what one core knows of its cluster, the answer of /v1/cluster.
type ClusterStatus struct {
	cluster.State
	Log       *LogStatus         `json:"log"` // null while it is out of reach, see LogFault
	LogFault  string             `json:"log_fault,omitempty"`
	Snapshot  *SnapshotStatus    `json:"newest_snapshot"`
	Confirmed *cluster.Confirmed `json:"last_confirmed_lock"` // of those that this core answered since it started
	Attention []string           `json:"attention"`           // what needs a person
}

type (
	// ClusterCore is a core of the table.
	ClusterCore = cluster.CoreState
	// ClusterEdge is an edge that follows a core.
	ClusterEdge = cluster.EdgeState
	// ClusterGone is a core that is not in the table any more.
	ClusterGone = cluster.GoneCore
	// ConfirmedLock is a lock that every process has in force.
	ConfirmedLock = cluster.Confirmed
)

// LogStatus is the shared log.
type LogStatus struct {
	Leader   string       `json:"leader"` // name of a server; empty while there is none
	Replicas []LogReplica `json:"replicas"`
	First    uint64       `json:"first"` // positions
	Last     uint64       `json:"last"`
	Bytes    uint64       `json:"bytes"`
	// Attested says that the servers keep what they acknowledge, and Reasons why that is not known. AttestedAt is when
	// they were asked.
	Attested   bool      `json:"attested"`
	Reasons    []string  `json:"not_attested,omitempty"`
	AttestedAt time.Time `json:"attested_at,omitzero"`
}

// LogReplica is a copy of the log on another server than the leader.
type LogReplica struct {
	Server  string `json:"server"`
	Current bool   `json:"current"` // it has every record
	Offline bool   `json:"offline"`
	Behind  uint64 `json:"behind_records"`
}

// SnapshotStatus is a snapshot beside the log.
type SnapshotStatus struct {
	Name     string    `json:"name"`
	Position uint64    `json:"position"`
	Bytes    int64     `json:"bytes"`
	Stored   time.Time `json:"stored,omitzero"` // absent: not known
}

// attestedFor is how old an attestation may be. It is renewed every minute.
const attestedFor = 5 * time.Minute

// clusterStatus asks the log and describes the cluster.
func (s *Server) clusterStatus(ctx context.Context) any {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out := &ClusterStatus{State: s.core.State(), Confirmed: s.confirming.last.Load(), Attention: []string{}}
	look, err := s.log.Look(ctx)
	if err == nil {
		out.Log = logStatus(&look)
		out.Snapshot, err = s.newestSnapshot(ctx)
	}
	if err != nil {
		out.LogFault = err.Error()
	}
	out.judge(time.Now(), s.opts.Config.Cluster.Log.AcceptLoss)
	return out
}

func logStatus(look *jetstream.State) *LogStatus {
	out := &LogStatus{
		Leader: look.Leader, First: uint64(look.First), Last: uint64(look.Last), Bytes: look.Bytes, Replicas: []LogReplica{},
		Attested: look.Durability.OK, Reasons: look.Durability.Reasons, AttestedAt: look.Attested,
	}
	for _, c := range look.Copies {
		out.Replicas = append(out.Replicas, LogReplica{c.Server, c.Current, c.Offline, c.Lag})
	}
	return out
}

func (s *Server) newestSnapshot(ctx context.Context) (*SnapshotStatus, error) {
	all, err := cluster.ListSnapshots(ctx, s.log)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	b := &all[len(all)-1]
	return &SnapshotStatus{Name: b.Name, Position: uint64(b.At), Bytes: b.Size, Stored: b.Stored}, nil
}

// judge lists what needs a person.
func (c *ClusterStatus) judge(now time.Time, acceptLoss bool) {
	add := func(format string, args ...any) { c.Attention = append(c.Attention, fmt.Sprintf(format, args...)) }
	if c.Left == 0 {
		add("%s has no lease and lets no request pass: can it reach the servers of the log?", c.Name)
	}
	for _, name := range c.Missing() {
		add("%s is silent: start it, or see why it does not reach the servers of the log", name)
	}
	c.judgeClocks(add)
	for _, d := range c.Differs {
		add("the configuration differs: %s; change the files until they are equal", d)
	}
	if c.Log == nil {
		add("the log is out of reach: %s", c.LogFault)
		return
	}
	if c.LogFault != "" {
		add("the snapshots cannot be listed: %s", c.LogFault)
	}
	c.judgeLog(c.Log, now, acceptLoss, add)
}

func (c *ClusterStatus) judgeClocks(add func(string, ...any)) {
	for i := range c.Cores {
		core := &c.Cores[i]
		if core.Silent || core.Ahead == nil {
			continue
		}
		ahead, how := time.Duration(*core.Ahead*float64(time.Second)).Round(time.Second), "before"
		if ahead < 0 {
			how = "behind"
		}
		if ahead.Abs() > cluster.ClockTolerance {
			add("the clock of %s is %s %s that of %s: set the clocks, or tokens are refused and times in evidence are wrong",
				core.Name, ahead.Abs(), how, c.Name)
		}
	}
}

func (c *ClusterStatus) judgeLog(l *LogStatus, now time.Time, acceptLoss bool, add func(string, ...any)) {
	if l.Leader == "" && len(l.Replicas) > 0 {
		add("the log has no leader: start most of its servers")
	}
	for _, r := range l.Replicas {
		switch {
		case r.Offline:
			add("server %s of the log is offline: start it", r.Server)
		case !r.Current:
			add("server %s of the log lacks %d records: see whether it catches up", r.Server, r.Behind)
		}
	}
	switch {
	case acceptLoss: // the operator has said so
	case l.AttestedAt.IsZero():
		add("nobody has attested that the servers of the log keep what they acknowledge")
	case !l.Attested:
		add("the servers of the log may lose what they acknowledge: %q", l.Reasons)
	case now.Sub(l.AttestedAt) > attestedFor:
		add("the servers of the log were attested last %s ago: see the log of scimward",
			now.Sub(l.AttestedAt).Round(time.Second))
	}
}

// parts returns the digests of the configuration in force.
func (s *Server) parts() map[string]string {
	e := s.now()
	e.digests.Do(func() { e.parts = e.config.Digests() })
	return e.parts
}

// clusterMetrics are those of the shared log. They ask nobody: they show what was found in the last minute.
func (s *Server) clusterMetrics() {
	gauge := func(name, help string, value func() float64) {
		o := prometheus.GaugeOpts{Name: "scimward_cluster_" + name, Help: help}
		s.registry.MustRegister(prometheus.NewGaugeFunc(o, value))
	}
	gauge("log_attested", "1 while the servers of the log keep what they acknowledge, as far as known.", func() float64 {
		if look := s.log.Looked(); look.Durability.OK && time.Since(look.Attested) <= attestedFor {
			return 1
		}
		return 0
	})
	gauge("log_bytes", "Size of the shared log.", func() float64 { return float64(s.log.Looked().Bytes) })
	gauge("log_replicas_missing", "Copies of the shared log that lack records or are offline.", func() float64 {
		missing := 0
		for _, c := range s.log.Looked().Copies {
			if c.Offline || !c.Current {
				missing++
			}
		}
		return float64(missing)
	})
	gauge("snapshot_behind_records", "Records of the shared log behind the newest snapshot.", func() float64 {
		return float64(s.snapshots.Behind())
	})
}
