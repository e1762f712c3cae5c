package store

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

// tableLock is a lock in the table. A process has many and looks at few of them. So a lock is in one string, of which
// the keys of the table are parts, until a request meets it.
type tableLock struct {
	row     string // what packLock returns
	inForce time.Time
	met     atomic.Pointer[Lock] // nil before the first request
}

// meet returns the lock for a request.
func (e *tableLock) meet(tenant string) *Lock {
	if l := e.met.Load(); l != nil {
		return l
	}
	l := unpackLock(tenant, e.row)
	e.met.Store(&l)
	return &l
}

// packLock writes a lock without its tenant. An edge with 100,000 locks has most of its memory for them.
//
//	row  = text{7} list{4} uvarint{3} time{2}    in the order of the two functions below
//	text = uvarint(length) bytes
//	list = uvarint(0) | uvarint(texts+1) text…   0: nil
//	time = varint(seconds since 1970) uvarint(nanoseconds)
func packLock(l *Lock) string {
	b := make([]byte, 0, 256)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, s := range []string{l.UserID, string(l.State), l.ExternalID, l.Reason, l.RequestID, l.Operator, l.From} {
		text(s)
	}
	for _, list := range [][]string{l.UserNames, l.FormerIDs, l.Emails, l.Taken} {
		if list == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(list))+1)
		for _, s := range list {
			text(s)
		}
	}
	for _, n := range []uint64{l.Epoch, l.Revision, uint64(l.Version)} {
		b = binary.AppendUvarint(b, n)
	}
	for _, t := range []time.Time{l.NotBefore, l.Since} {
		b = binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond()))
	}
	return string(b)
}

// unpackLock reads what packLock wrote. The strings of the lock are parts of the row.
func unpackLock(tenant, row string) Lock {
	r := packReader(row)
	l := Lock{
		Tenant: tenant, UserID: r.text(), State: LockState(r.text()), ExternalID: r.text(), Reason: r.text(),
		RequestID: r.text(), Operator: r.text(), From: r.text(),
	}
	l.UserNames, l.FormerIDs, l.Emails, l.Taken = r.list(), r.list(), r.list(), r.list()
	l.Epoch, l.Revision, l.Version = r.uvarint(), r.uvarint(), Seq(r.uvarint())
	l.NotBefore, l.Since = r.time(), r.time()
	return l
}

// packReader is the rest of a row. Nobody but packLock writes one, so it is never cut off.
type packReader string

func (r *packReader) uvarint() (n uint64) {
	for shift := 0; ; shift += 7 {
		b := (*r)[0]
		*r = (*r)[1:]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

func (r *packReader) text() string {
	n := r.uvarint()
	s := (*r)[:n]
	*r = (*r)[n:]
	return string(s)
}

func (r *packReader) list() []string {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	out := make([]string, n-1)
	for i := range out {
		out[i] = r.text()
	}
	return out
}

func (r *packReader) time() time.Time {
	n := r.uvarint()
	seconds := int64(n>>1) ^ -int64(n&1) // as binary.AppendVarint writes it
	return time.Unix(seconds, int64(r.uvarint())).UTC()
}
