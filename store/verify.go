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

// Finding is one thing that is not as it must be.
type Finding struct {
	Check  string // "index", "edge", "count", "job", "lock", "audit", "jti", "log", "value"
	Key    string // the key it is about, readable
	Detail string
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Check, f.Key, f.Detail) }

// Report is what Verify found; no findings means that everything agrees.
type Report struct {
	Head     Seq
	Keys     int // state keys read
	Records  int // log records read
	Findings []Finding
}

// OK reports that there are no findings.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// maxFindings bounds a report; the last finding then says that there are more.
const maxFindings = 1000

// Verify checks the open store at its newest record: every index against its
// resource and back, edges in both directions, counts, lock rows and the names
// they hold, offboardings, jobs and when they are due, the audit chain of every
// tenant, that no change lacks its audit record, and that the log has no gap.
// Findings are in the report; an error means that the check itself ended early.
func (s *Store) Verify(ctx context.Context) (rep Report, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		c := &checker{
			all: snap, readers: map[string]*Reader{}, chains: map[string]*audit.Chain{}, audited: map[string]map[Seq]bool{},
			counts: map[string]int64{},
		}
		c.byKind = c.checks()
		c.report.Head = snap.Seq()
		err := c.check(ctx, s.m)
		rep = c.report
		return err
	})
	return rep, err
}

// Verify opens the database in dir, which no other process may have open, checks
// it like [Store.Verify] and closes it. It creates nothing.
func Verify(ctx context.Context, dir string) (rep Report, err error) {
	if _, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	o := Options{Dir: dir}.withDefaults()
	o.MinFree = 0 // it writes nothing of its own
	s, err := open(ctx, o, true)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Verify(ctx)
}

func (c *checker) check(ctx context.Context, m *machine.Machine) error {
	if c.report.Head == 0 {
		c.find("log", nil, "the log is empty")
		return nil
	}
	if err := c.state(); err != nil {
		return err
	}
	if err := c.feed(); err != nil {
		return err
	}
	n, err := m.CheckLog(ctx, func(err error) { c.find("log", nil, "%v", err) })
	c.report.Records = n
	return err
}

// checker walks all keys of one snapshot once, the audit records first, and looks
// up what each key says about others.
type checker struct {
	all     *machine.Snapshot
	byKind  map[byte]func(machine.Entry, DecodedKey) error
	readers map[string]*Reader // by tenant
	report  Report

	chains  map[string]*audit.Chain // by tenant
	audited map[string]map[Seq]bool // tenant -> log positions with an audit record
	counts  map[string]int64        // "tenant\x00counter"
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

func (c *checker) reader(tenant string) *Reader {
	r := c.readers[tenant]
	if r == nil {
		r = &Reader{tenant: tenant, snap: c.all}
		c.readers[tenant] = r
	}
	return r
}

// has looks a key up; where it is absent that is a finding about k.
func (c *checker) has(check string, k, other []byte, what string) ([]byte, bool, error) {
	v, _, err := c.all.Peek(other)
	if errors.Is(err, ErrNotFound) {
		c.find(check, k, "%s is missing: %s", what, keyText(other))
		return nil, false, nil
	}
	return v, err == nil, err
}

// state walks every state key, kind by kind, so that audit records come first.
func (c *checker) state() error {
	for _, kind := range []byte(stateKinds) {
		if err := c.all.Scan([]byte{kind}, nil, true, func(e machine.Entry) (bool, error) {
			c.report.Keys++
			return true, c.key(machine.Entry{Key: bytes.Clone(e.Key), Value: bytes.Clone(e.Value), Version: e.Version})
		}); err != nil {
			return fmt.Errorf("verifying %c: %w", kind, err)
		}
	}
	if err := c.unknown(); err != nil {
		return err
	}
	return c.totals()
}

// unknown finds keys of kinds that this version does not know.
func (c *checker) unknown() error {
	known := stateKinds + string([]byte{local.KindFeed, 'L', 'G', '!'}) // '!' is the engine's own
	for b := range 256 {
		if strings.IndexByte(known, byte(b)) >= 0 {
			continue
		}
		if err := c.all.Scan([]byte{byte(b)}, nil, false, func(e machine.Entry) (bool, error) {
			c.find("value", bytes.Clone(e.Key), "unknown kind of key")
			return false, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// key checks one key. A value that cannot be read is a finding, not an error.
func (c *checker) key(e machine.Entry) error {
	d, err := DecodeKey(e.Key)
	if err != nil {
		c.find("value", e.Key, "malformed key")
		return nil //nolint:nilerr // a finding
	}
	if len(e.Value) == 0 || e.Value[0] != valueVersion {
		c.find("value", e.Key, "unknown value version")
		return nil
	}
	check := c.byKind[d.Kind]
	if check == nil {
		return nil
	}
	err = check(e, d)
	var syntax *valueError
	if errors.As(err, &syntax) {
		c.find("value", e.Key, "%v", syntax.err)
		return nil
	}
	return err
}

// valueError is a value that does not decode.
type valueError struct{ err error }

func (b *valueError) Error() string { return b.err.Error() }
func (b *valueError) Unwrap() error { return b.err }

func bad(err error) error {
	if err == nil {
		return nil
	}
	return &valueError{err}
}

// totals compares the counters with what was counted.
func (c *checker) totals() error {
	if err := c.all.Scan([]byte{kindCounter}, nil, true, func(e machine.Entry) (bool, error) {
		d, err := DecodeKey(e.Key)
		if err != nil || len(d.Parts) != 1 {
			return true, nil //nolint:nilerr // found before
		}
		s, err := machine.DecodeCounter(e.Value)
		if err != nil {
			return true, nil //nolint:nilerr // found before
		}
		id := d.Tenant + "\x00" + d.Parts[0]
		if s.Count != c.counts[id] {
			c.find("count", e.Key, "says %d, there are %d", s.Count, c.counts[id])
		}
		delete(c.counts, id)
		return true, nil
	}); err != nil {
		return err
	}
	for id, n := range c.counts {
		c.find("count", nil, "%q has no counter, there are %d", id, n)
	}
	for tenant, chain := range c.chains {
		c.auditHead(tenant, chain)
	}
	return nil
}

func (c *checker) auditHead(tenant string, chain *audit.Chain) {
	hk := key(kindAuditHead, tenant)
	v, _, err := c.all.Peek(hk)
	var h head
	if err == nil {
		err = decodeRow(v, &h)
	}
	if err != nil || h.N != chain.N || h.Hash != chain.Head {
		c.find("audit", hk, "head says %d %s, the chain ends at %d %s", h.N, h.Hash, chain.N, chain.Head)
	}
}

// feed checks that every change of a resource has its audit record (DESIGN §3.4).
func (c *checker) feed() error {
	return c.all.Scan([]byte{local.KindFeed}, nil, true, func(e machine.Entry) (bool, error) {
		var feed []Change
		if err := decodeRow(e.Value, &feed); err != nil {
			c.find("value", e.Key, "%v", err)
			return true, nil
		}
		for _, ch := range feed {
			if ch.Seq != e.Version || ch.Tenant == "" {
				c.find("log", e.Key, "change of %q says record %d", ch.ID, ch.Seq)
			}
			if !c.audited[ch.Tenant][ch.Seq] {
				c.find("audit", e.Key, "no audit record of the change %s %s at %d", ch.Type, ch.ID, ch.Seq)
			}
		}
		return true, nil
	})
}
