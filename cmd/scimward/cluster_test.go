package main

import (
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar"
)

func ptr[T any](v T) *T { return &v }

// TestClusterText: the text shows each core, edge and copy of the log, and what is not known as unknown. The exit code
// is 1 while something needs a person.
func TestClusterText(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var s sidecar.ClusterStatus
	s.Name, s.ID, s.Applied, s.Left, s.Lease, s.Format = "core-1", "core-1-aa", 900, 14.5, 15, 2
	s.Cores = []sidecar.ClusterCore{
		{
			Name: "core-1", ID: "core-1-aa", This: true, MayDecide: 14.5, Applied: ptr(uint64(900)), Behind: ptr(uint64(0)),
			Told: ptr(0.0), Version: "v1", Reads: 3, Config: "c0ffee",
			Edges: []sidecar.ClusterEdge{{ID: "edge-7", Position: 899, Left: 12}, {ID: "edge-8"}},
		},
		{Name: "core-2", ID: "core-2-bb", Reads: 2, Age: 9, Silent: true, MayDecide: 6.2},
	}
	s.Gone = []sidecar.ClusterGone{{Name: "core-3", ID: "core-3-cc", Since: now.Add(-time.Minute)}}
	text := func(want ...string) {
		t.Helper()
		got := strings.Join(strings.Fields(clusterText(&s, now)), " ")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no %q in:\n%s", w, clusterText(&s, now))
			}
		}
	}
	s.LogFault = "no server answers"
	text("asked core-1 (core-1-aa): at 900, may decide for 14.5s of 15s",
		"core-1 * core-1-aa 0s ago at most 14.5s 900 0 (0s ago) 2 v1 3 c0ffee",
		"core-2 core-2-bb 9s ago SILENT at most 6.2s unknown unknown 0 unknown 2 unknown", "log format: 2; core-2 reads no newer one",
		"core-3 core-3-cc 1m0s ago REMOVED: it was silent", "edge-7 core-1 899 12s", "edge-8 core-1 0 ended",
		"log: OUT OF REACH: no server answers", "last confirmed lock: none that this core answered")
	if err := attention(&s); err != nil {
		t.Errorf("attention = %v without any", err)
	}
	s.Left, s.Format = 0, 1
	s.Gone[0].InOrder = true
	s.Attention = []string{"core-2 is silent"}
	s.Log = &sidecar.LogStatus{
		First: 1, Last: 910, Bytes: 4096, Leader: "log-1", AttestedAt: now.Add(-30 * time.Second), Attested: true,
		Replicas: []sidecar.LogReplica{{Server: "log-2", Current: true}, {Server: "log-3", Offline: true, Behind: 7}, {Server: "log-4"}},
	}
	s.Snapshot = &sidecar.SnapshotStatus{Position: 800, Bytes: 12}
	s.Confirmed = &sidecar.ConfirmedLock{Tenant: "acme", Position: 899}
	s.Confirmed.At, s.Confirmed.Cores, s.Confirmed.Took = now.Add(-time.Hour), 2, 3000
	s.Confirmed.Without("core-2-bb", "")
	text("NO LEASE: it lets no request pass", "log format: 1; every core reads 2: `scimward store raise`", "core-3 core-3-cc 1m0s ago left in good order",
		"log: records 1 to 910, 4096 bytes, leader log-1, attested 30s ago", "copy on log-2: current, 0 records behind",
		"copy on log-3: OFFLINE, 7 records behind", "copy on log-4: NOT CURRENT",
		"newest snapshot: at 800, 12 bytes, at an unknown time",
		"last confirmed lock: of acme, at record 899, 1h0m0s ago: confirmed at 2026-03-01 08:00:00.000 UTC by 2 core(s) within "+
			"3000.0 ms; not by core core-2-bb, whose lease had ended", "ATTENTION: core-2 is silent")
	if attention(&s) == nil {
		t.Error("attention = nil, want an error")
	}
}
