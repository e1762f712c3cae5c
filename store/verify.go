package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log/local"
	"github.com/scimward/scimward/store/machine"
)

// Finding is one inconsistency.
type Finding struct {
	Check  string // "index", "edge", "count", "job", "lock", "audit", "refusal", "jti", "log", "value"
	Key    string // the faulty key in readable form
	Detail string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Check, f.Key, f.Detail) }

// Report is the result of Verify.
type Report struct {
	Head     Seq
	Witness  Seq // the newest record that the witness knows; zero means that there is no witness
	Keys     int // state keys read
	Records  int // log records read
	Findings []Finding
}

// OK reports that there are no findings.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// maxFindings bounds a report. One more finding says that the rest is left out.
const maxFindings = 1000

// Verify checks, at the newest record:
//   - indexes,
//   - memberships in both directions,
//   - counters,
//   - locks and locked names,
//   - offboardings and jobs,
//   - audit chains,
//   - gaps in the log.
//
// An error means that the check ended early.
func (s *Store) Verify(ctx context.Context) (rep Report, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		c := &checker{
			snap: snap, report: Report{Head: snap.Seq(), Witness: s.m.Witnessed().Position},
			chains: map[string]*audit.Chain{}, audited: map[string]map[Seq]bool{}, counts: map[counterID]int64{},
		}
		c.all(ctx, s.m)
		rep = c.report
		return c.err
	})
	return rep, err
}

// Verify checks every file of the database in dir, opens it, checks it like [Store.Verify]
// and closes it. No other process may have it open. Verify creates no database. It returns
// ErrDamaged, and leaves the files as they are, if the database cannot be opened as a whole.
func Verify(ctx context.Context, dir string) (rep Report, err error) {
	if _, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	o := Options{Dir: dir}.withDefaults()
	o.MinFree, o.offline = 0, true // the check writes nothing
	s, err := open(ctx, o, true)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Verify(ctx)
}

// checker reads all keys of one snapshot once, the audit records first, and compares each
// key with the keys that it must agree with.
type checker struct {
	snap   *machine.Snapshot
	report Report
	err    error // an error of the engine, which ends the check

	chains  map[string]*audit.Chain // by tenant
	audited map[string]map[Seq]bool // tenant -> log positions with an audit record
	counts  map[counterID]int64
}

type counterID struct{ tenant, name string }

func (c *checker) all(ctx context.Context, m *machine.Machine) {
	if c.report.Head == 0 {
		c.find("log", nil, "the log is empty")
		return
	}
	checks := c.checks()
	for i := range keyKinds {
		c.scan([]byte{keyKinds[i].kind}, func(e machine.Entry) {
			c.report.Keys++
			c.key(checks, machine.Entry{Key: bytes.Clone(e.Key), Value: bytes.Clone(e.Value), Version: e.Version})
		})
	}
	c.unknown()
	c.totals()
	c.feed()
	if c.err == nil {
		c.report.Records, c.err = m.CheckLog(ctx, func(err error) { c.find("log", nil, "%v", err) })
	}
}

func (c *checker) find(check string, k []byte, format string, args ...any) {
	n := len(c.report.Findings)
	if n > maxFindings {
		return
	}
	f := Finding{Check: check, Detail: fmt.Sprintf(format, args...)}
	if k != nil {
		f.Key = keyText(k)
	}
	if n == maxFindings {
		f = Finding{Check: "value", Detail: "more findings are left out"}
	}
	c.report.Findings = append(c.report.Findings, f)
}

// scan calls fn for every key below prefix until the engine fails.
func (c *checker) scan(prefix []byte, fn func(machine.Entry)) {
	if c.err == nil {
		c.err = c.snap.Scan(prefix, nil, true, func(e machine.Entry) (bool, error) {
			fn(e)
			return true, c.err
		})
	}
}

// get looks a key up.
func (c *checker) get(k []byte) (v []byte, ok bool) {
	v, _, err := c.snap.Peek(k)
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.err = errors.Join(c.err, err)
	}
	return v, err == nil
}

// has looks up the key other. If it is absent, that is a finding about k.
func (c *checker) has(check string, k, other []byte, what string) (v []byte, ok bool) {
	if v, ok = c.get(other); !ok {
		c.find(check, k, "%s is missing: %s", what, keyText(other))
	}
	return v, ok
}

// key checks one key.
func (c *checker) key(checks map[byte]func(machine.Entry, DecodedKey) error, e machine.Entry) {
	d, err := DecodeKey(e.Key)
	switch {
	case err != nil:
		c.find("value", e.Key, "malformed key")
		return
	case len(e.Value) == 0 || e.Value[0] != valueVersion:
		c.find("value", e.Key, "unknown value version")
		return
	}
	if check := checks[d.Kind]; check != nil {
		if err := check(e, d); err != nil {
			c.find("value", e.Key, "%v", err)
		}
	}
}

// unknown finds keys of unknown kinds.
func (c *checker) unknown() {
	log := string([]byte{local.KindFeed, 'L', 'G', machine.Kind, '!'}) // '!' is the engine's own
	for b := range 256 {
		if kindOf(byte(b)) != nil || strings.IndexByte(log, byte(b)) >= 0 || c.err != nil {
			continue
		}
		c.err = c.snap.Scan([]byte{byte(b)}, nil, false, func(e machine.Entry) (bool, error) {
			c.find("value", bytes.Clone(e.Key), "unknown kind of key")
			return false, nil
		})
	}
}

// totals compares the counters with the counted keys, and the heads with the chains.
func (c *checker) totals() {
	c.scan([]byte{kindCounter}, func(e machine.Entry) {
		d, err := DecodeKey(e.Key)
		if err != nil {
			return // already a finding
		}
		n, err := machine.DecodeCounter(e.Value)
		if err != nil {
			return // already a finding
		}
		id := counterID{d.Tenant, d.Parts[0]}
		if n.Count != c.counts[id] {
			c.find("count", e.Key, "says %d, there are %d", n.Count, c.counts[id])
		}
		delete(c.counts, id)
	})
	for id, n := range c.counts {
		c.find("count", nil, "%q has no counter, there are %d", id, n)
	}
	for tenant, chain := range c.chains {
		hk := key(kindAuditHead, tenant)
		var h head
		v, ok := c.get(hk)
		if !ok || decodeRow(v, &h) != nil || h.N != chain.N || h.Hash != chain.Head {
			c.find("audit", hk, "head says %d %s, the chain ends at %d %s", h.N, h.Hash, chain.N, chain.Head)
		}
	}
}

// feed checks that every change has an audit record.
func (c *checker) feed() {
	c.scan([]byte{local.KindFeed}, func(e machine.Entry) {
		var feed []Change
		if err := decodeRow(e.Value, &feed); err != nil {
			c.find("value", e.Key, "%v", err)
			return
		}
		for _, ch := range feed {
			if ch.Seq != e.Version || ch.Tenant == "" {
				c.find("log", e.Key, "change of %q says record %d", ch.ID, ch.Seq)
			}
			if !c.audited[ch.Tenant][ch.Seq] {
				c.find("audit", e.Key, "no audit record of the change %s %s at %d", ch.Type, ch.ID, ch.Seq)
			}
		}
	})
}
