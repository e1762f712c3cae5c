package store

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/store/log"
)

// Target is an application of a tenant. A deactivation revokes the credentials there.
type Target struct {
	App      string
	Kinds    []string      // abi.Kind values in revocation order, one job each
	Lifetime time.Duration // longest lifetime of a credential that the app cannot revoke
}

// TenantOptions configures one tenant.
type TenantOptions struct {
	UniqueExternalID bool // no two users have the same externalId
	Targets          []Target
	Issuer           string // the tenant's own issuer of access tokens
	Policy           bool   // a change of a client needs the verdict of the bundle in force, see Cause.Policy
}

// Options configures Open.
type Options struct {
	Dir      string // database directory, created when absent; required unless InMemory
	InMemory bool   // drop the data on Close; for tests
	Tenants  map[string]TenantOptions
	Now      func() time.Time      // nil: time.Now
	Logger   *slog.Logger          // nil: discard
	Metrics  prometheus.Registerer // nil: none
	// MinFree is the free space in bytes below which the store refuses writes with
	// ErrUnavailable; zero means 128 MiB. The engine maps its files, and a mapped
	// write to a full disk kills the process, so the store stops earlier.
	MinFree uint64
	// KeepRecords is the number of log records that survive trimming; zero means 1,048,576.
	KeepRecords uint64
	// SweepEvery is the pause between housekeeping rounds; zero means a minute.
	SweepEvery time.Duration
	// Shared is the log of several stores, nil for one store alone. The store in Dir is then a copy, and every change
	// goes through the shared log. Open neither opens nor closes it.
	Shared log.Shared
	// Faults injects failures, for tests.
	Faults Faults

	offline    bool // Verify: check the blocks and the witness, write neither a genesis record nor a witness
	acceptLoss bool // AcceptLoss
	unsynced   bool // a copy of a shared log, opened without it
}

// Faults are hooks at the two places where a disk fails. Each may be nil.
type Faults struct {
	BeforeCommit func() error // runs before the write
	AfterWrite   func() error // runs after the write and returns the error of the sync
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.MinFree = cmp.Or(o.MinFree, 128<<20)
	o.KeepRecords = cmp.Or(o.KeepRecords, 1<<20)
	o.SweepEvery = cmp.Or(o.SweepEvery, time.Minute)
	return o
}

// newID returns a UUID version 7 (RFC 9562 §5.7): 48 bits of milliseconds, then
// random bits. The order of ids is the order of creation, so pages are stable.
func newID(now time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
