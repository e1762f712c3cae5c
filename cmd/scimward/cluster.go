package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar"
)

// watchEvery is how often `cluster status --watch` asks.
const watchEvery = 2 * time.Second

func newCluster() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "say which cores decide, how far each is, and whether the shared log keeps what it acknowledges",
		Long: `Asks one core, the one of the configuration file, what it knows of the others.

Exits 0 if nothing needs a person. Exits 1 if this core has no lease, a core is silent or was removed because it was,
the clock or the configuration of a core differs, the log is out of reach or has no leader, one of its servers is
offline or lacks records, or the servers do not attest that they keep what they acknowledge. The output ends with what
to do. A core that stopped in good order is listed and is no fault. What a core has forgotten with a restart, the others
may know.

With --watch it asks every 2 s until Ctrl-C, and the exit code is that of the last answer.`,
		Args: noArgs,
	}
	file := configFlag(c)
	asJSON := jsonFlag(c)
	watch := c.Flags().Bool("watch", false, "ask every 2 s until Ctrl-C")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *watch && *asJSON {
			return usage(errors.New("choose one of --watch and --json"))
		}
		admin, err := newAdminClient(*file)
		if err != nil {
			return err
		}
		if *watch {
			return watchCluster(c, admin)
		}
		s, body, err := clusterStatus(c.Context(), admin)
		if err != nil {
			return err
		}
		if !*asJSON {
			body = []byte(clusterText(s, time.Now()))
		}
		return errors.Join(deliver(c.OutOrStdout(), "", body), attention(s))
	}
	return groupOf("cluster", "look at several cores", c)
}

// attention is an error if something needs a person. The output says what.
func attention(s *sidecar.ClusterStatus) error {
	if len(s.Attention) > 0 {
		return failure{errSilent, 1, ""}
	}
	return nil
}

func clusterStatus(ctx context.Context, admin *adminClient) (*sidecar.ClusterStatus, []byte, error) {
	got, err := admin.get(ctx, "/v1/cluster")
	if err != nil {
		return nil, nil, err
	}
	s := &sidecar.ClusterStatus{}
	if err := json.Unmarshal(got.body, s); err != nil {
		return nil, nil, fmt.Errorf("reading the status of the cluster: %w", err)
	}
	return s, got.body, nil
}

// watchCluster redraws the status until the context ends. A core that does not answer is asked again.
func watchCluster(c *cobra.Command, admin *adminClient) error {
	const home, below = "\x1b[H\x1b[2J", "every 2 s; Ctrl-C ends\n"
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s, _, err := clusterStatus(c.Context(), admin)
		var page bytes.Buffer
		page.WriteString(home)
		last := err
		if err == nil {
			page.WriteString(clusterText(s, time.Now()))
			last = attention(s)
		} else {
			fmt.Fprintf(&page, "%v\n", err)
		}
		page.WriteString(below)
		if c.Context().Err() == nil {
			if err := deliver(c.OutOrStdout(), "", page.Bytes()); err != nil {
				return err
			}
		}
		select {
		case <-c.Context().Done():
			if errors.Is(last, context.Canceled) {
				return nil
			}
			return last
		case <-tick.C:
		}
	}
}

// clusterText is the status for people.
func clusterText(s *sidecar.ClusterStatus, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "asked %s (%s): at %d, ", s.Name, s.ID, s.Applied)
	if s.Left > 0 {
		fmt.Fprintf(&b, "may decide for %s of %s\n", seconds(s.Left), seconds(s.Lease))
	} else {
		b.WriteString("NO LEASE: it lets no request pass\n")
	}
	b.WriteString("\nCORE\tID\tHEARTBEAT\tLEASE\tAT\tBEHIND\tEDGES\tVERSION\tREADS\tCONFIGURATION\n")
	for i := range s.Cores {
		writeCore(&b, &s.Cores[i])
	}
	for _, g := range s.Gone {
		how := "REMOVED: it was silent"
		if g.InOrder {
			how = "left in good order"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t-\t-\t-\t-\t-\t-\n", g.Name, g.ID, ago(now, g.Since), how)
	}
	writeFormat(&b, s)
	writeEdges(&b, s)
	writeLog(&b, s, now)
	writeConfirmed(&b, s, now)
	for _, a := range s.Attention {
		fmt.Fprintf(&b, "ATTENTION: %s\n", oneLine(a))
	}
	return columns(b.String())
}

// writeFormat says in which format the log is, and whether every core reads a newer one.
func writeFormat(b *strings.Builder, s *sidecar.ClusterStatus) {
	all, oldest := uint64(math.MaxUint64), ""
	for i := range s.Cores {
		if c := &s.Cores[i]; c.Reads < all {
			all, oldest = c.Reads, c.Name
		}
	}
	switch {
	case len(s.Cores) == 0:
		return
	case all > s.Format:
		fmt.Fprintf(b, "\nlog format: %d; every core reads %d: `scimward store raise` when you will not go back to the "+
			"former version\n", s.Format, all)
	case slices.ContainsFunc(s.Cores, func(c sidecar.ClusterCore) bool { return c.Reads > s.Format }):
		fmt.Fprintf(b, "\nlog format: %d; %s reads no newer one\n", s.Format, oldest)
	default:
		fmt.Fprintf(b, "\nlog format: %d\n", s.Format)
	}
}

func writeCore(b *strings.Builder, c *sidecar.ClusterCore) {
	name, beat, lease := c.Name, seconds(c.Age)+" ago", "ended"
	if c.This {
		name += " *"
	}
	if c.Silent {
		beat += " SILENT"
	}
	if c.MayDecide > 0 {
		lease = "at most " + seconds(c.MayDecide)
	}
	at, behind := "unknown", "unknown"
	if c.Applied != nil && c.Behind != nil && c.Told != nil {
		at, behind = fmt.Sprint(*c.Applied), fmt.Sprintf("%d (%s ago)", *c.Behind, seconds(*c.Told))
	}
	fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n", name, c.ID, beat, lease, at, behind, len(c.Edges),
		cmp.Or(c.Version, "unknown"), c.Reads, cmp.Or(c.Config, "unknown"))
}

// writeEdges lists the edges of all cores.
func writeEdges(b *strings.Builder, s *sidecar.ClusterStatus) {
	head := "\nEDGE\tFOLLOWS\tAT\tLEASE\n"
	for i := range s.Cores {
		for _, e := range s.Cores[i].Edges {
			lease := "ended"
			if e.Left > 0 {
				lease = seconds(e.Left)
			}
			fmt.Fprintf(b, "%s%s\t%s\t%d\t%s\n", head, e.ID, s.Cores[i].Name, e.Position, lease)
			head = ""
		}
	}
}

// writeLog describes the shared log and the newest snapshot.
func writeLog(b *strings.Builder, s *sidecar.ClusterStatus, now time.Time) {
	l := s.Log
	if l == nil {
		fmt.Fprintf(b, "\nlog: OUT OF REACH: %s\n", oneLine(s.LogFault))
		return
	}
	attested := "NOT attested"
	if l.Attested {
		attested = "attested"
	}
	leader := l.Leader
	if leader == "" {
		leader = "none known"
	}
	fmt.Fprintf(b, "\nlog: records %d to %d, %d bytes, leader %s, %s %s\n", l.First, l.Last, l.Bytes, leader, attested,
		ago(now, l.AttestedAt))
	for _, r := range l.Replicas {
		state := "current"
		switch {
		case r.Offline:
			state = "OFFLINE"
		case !r.Current:
			state = "NOT CURRENT"
		}
		fmt.Fprintf(b, "  copy on %s: %s, %d records behind\n", r.Server, state, r.Behind)
	}
	if p := s.Snapshot; p != nil {
		fmt.Fprintf(b, "newest snapshot: at %d, %d bytes, %s\n", p.Position, p.Bytes, ago(now, p.Stored))
	} else {
		b.WriteString("newest snapshot: none\n")
	}
}

// writeConfirmed describes the last lock that was confirmed.
func writeConfirmed(b *strings.Builder, s *sidecar.ClusterStatus, now time.Time) {
	c := s.Confirmed
	if c == nil {
		b.WriteString("last confirmed lock: none that this core answered\n")
		return
	}
	fmt.Fprintf(b, "last confirmed lock: of %s, at record %d, %s: confirmed %s\n", c.Tenant, c.Position, ago(now, c.At),
		c.Confirmation.String())
}

func seconds(n float64) string {
	return time.Duration(n * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// ago says how long ago a time was. The zero time is not known.
func ago(now, t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
