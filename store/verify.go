package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/scimward/scimward/store/audit"
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
func (s *Store) Verify(ctx context.Context) (Report, error) {
	if err := s.enter(); err != nil {
		return Report{}, err
	}
	defer s.inflight.Done()
	return s.verify(ctx)
}

// Verify opens the database in dir, which no other process may have open, checks
// it like [Store.Verify] and closes it. It creates nothing.
func Verify(ctx context.Context, dir string) (rep Report, err error) {
	if _, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("verifying: %w", err)
	}
	o := Options{Dir: dir, replica: true}.withDefaults()
	o.MinFree = 0 // it writes nothing of its own
	s, err := bind(ctx, o)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, s.release()) }()
	return s.verify(ctx)
}

func (s *Store) verify(ctx context.Context) (Report, error) {
	r, done := s.reader(ctx, "")
	defer done()
	c := &checker{
		all: r, readers: map[string]*Reader{}, chains: map[string]*audit.Chain{}, audited: map[string]map[Seq]bool{},
		counts: map[string]int64{},
	}
	c.byKind = c.checks()
	c.report.Head = r.seq
	if r.seq == 0 {
		c.find("log", nil, "the log is empty")
		return c.report, nil
	}
	if err := c.state(); err != nil {
		return c.report, err
	}
	if err := c.feed(); err != nil {
		return c.report, err
	}
	return c.report, c.log(ctx, s)
}

// checker walks all keys of one snapshot once, the audit records first, and looks
// up what each key says about others.
type checker struct {
	all     *Reader
	byKind  map[byte]func(entry, DecodedKey) error
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
		cp := *c.all
		cp.tenant = tenant
		r = &cp
		c.readers[tenant] = r
	}
	return r
}

// has looks a key up; where it is absent that is a finding about k.
func (c *checker) has(check string, k, other []byte, what string) ([]byte, bool, error) {
	v, _, err := c.all.peek(other)
	if errors.Is(err, ErrNotFound) {
		c.find(check, k, "%s is missing: %s", what, keyText(other))
		return nil, false, nil
	}
	return v, err == nil, err
}

// state walks every state key, kind by kind, so that audit records come first.
func (c *checker) state() error {
	for _, kind := range []byte(stateKinds) {
		if err := c.all.scan([]byte{kind}, nil, true, func(e entry) (bool, error) {
			c.report.Keys++
			return true, c.key(entry{key: bytes.Clone(e.key), value: bytes.Clone(e.value), version: e.version})
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
	known := stateKinds + string([]byte{kindFeed, 'L', 'G', '!'}) // '!' is the engine's own
	for b := range 256 {
		if strings.IndexByte(known, byte(b)) >= 0 {
			continue
		}
		if err := c.all.scan([]byte{byte(b)}, nil, false, func(e entry) (bool, error) {
			c.find("value", bytes.Clone(e.key), "unknown kind of key")
			return false, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// key checks one key. A value that cannot be read is a finding, not an error.
func (c *checker) key(e entry) error {
	d, err := DecodeKey(e.key)
	if err != nil {
		c.find("value", e.key, "malformed key")
		return nil //nolint:nilerr // a finding
	}
	if len(e.value) == 0 || e.value[0] != valueVersion {
		c.find("value", e.key, "unknown value version")
		return nil
	}
	check := c.byKind[d.Kind]
	if check == nil {
		return nil
	}
	err = check(e, d)
	var syntax *valueError
	if errors.As(err, &syntax) {
		c.find("value", e.key, "%v", syntax.err)
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
	if err := c.all.scan([]byte{kindCounter}, nil, true, func(e entry) (bool, error) {
		d, err := DecodeKey(e.key)
		if err != nil || len(d.Parts) != 1 {
			return true, nil //nolint:nilerr // found before
		}
		s, err := decodeStat(e.value)
		if err != nil {
			return true, nil //nolint:nilerr // found before
		}
		id := d.Tenant + "\x00" + d.Parts[0]
		if s.count != c.counts[id] {
			c.find("count", e.key, "says %d, there are %d", s.count, c.counts[id])
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
	v, _, err := c.all.peek(hk)
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
	return c.all.scan([]byte{kindFeed}, nil, true, func(e entry) (bool, error) {
		var feed []Change
		if err := decodeRow(e.value, &feed); err != nil {
			c.find("value", e.key, "%v", err)
			return true, nil
		}
		for _, ch := range feed {
			if ch.Seq != e.version || ch.Tenant == "" {
				c.find("log", e.key, "change of %q says record %d", ch.ID, ch.Seq)
			}
			if !c.audited[ch.Tenant][ch.Seq] {
				c.find("audit", e.key, "no audit record of the change %s %s at %d", ch.Type, ch.ID, ch.Seq)
			}
		}
		return true, nil
	})
}

// log checks that records follow each other without a gap and can be read.
func (c *checker) log(ctx context.Context, s *Store) error {
	first, last, id, err := s.log.Bounds(ctx)
	if err != nil {
		c.find("log", nil, "%v", err)
		return nil
	}
	for seq := first; seq <= last; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec, err := s.log.Read(seq)
		if err != nil {
			c.find("log", nil, "record %d: %v", seq, err)
			continue
		}
		c.report.Records++
		_, genesis, err := s.machine.codec.decode(rec)
		switch {
		case err != nil:
			c.find("log", nil, "record %d: %v", seq, err)
		case (genesis != nil) != (seq == 1):
			c.find("log", nil, "record %d: genesis out of place", seq)
		case genesis != nil && *genesis != id:
			c.find("log", nil, "record 1: another incarnation")
		}
	}
	return nil
}
