package store

import (
	"slices"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/machine"
)

// checks returns the check of each kind of key. A check returns an error for a malformed
// value of its key. It skips malformed values of other keys, which have their own check.
func (c *checker) checks() map[byte]func(machine.Entry, DecodedKey) error {
	return map[byte]func(machine.Entry, DecodedKey) error{
		kindAudit:   c.auditRecord,
		kindAuditOf: c.leads("audit", "record", func(d DecodedKey) []byte { return auditKey(d.Tenant, d.Number) }),
		kindUser:    c.user, kindUnique: c.unique, kindIndex: c.index,
		kindGroup: c.group, kindGen: c.generation,
		kindStat: c.leads("edge", "group", func(d DecodedKey) []byte { return key(kindGroup, d.Tenant, d.Parts[0]) }),
		kindEdge: c.edge, kindReverse: c.reverse, kindMemberOf: c.memberOf,
		kindLock: c.lock, kindLockName: c.lockName, kindOperatorLock: c.operatorLock,
		kindOffboarding: c.offboarding,
		kindOpen: c.leads("job", "offboarding", func(d DecodedKey) []byte {
			return numberedKey(kindOffboarding, d.Tenant, d.Parts[0], d.Number)
		}),
		kindJob:     c.job,
		kindJobOf:   c.leads("job", "job", func(d DecodedKey) []byte { return key(kindJob, d.Tenant, d.Parts[1]) }),
		kindDue:     c.due,
		kindHeld:    c.held,
		kindRefusal: c.refusal,
		kindJTI:     c.jti,
		kindJTIExpiry: c.leads("jti", "jti", func(d DecodedKey) []byte {
			return key(kindJTI, d.Tenant, d.Parts[0], d.Parts[1])
		}),
		kindForgotten: func(e machine.Entry, _ DecodedKey) error { _, err := decodeU64(e.Value); return err },
		kindKey:       c.signingKey,
	}
}

// leads returns a check that the key other(d) exists.
func (c *checker) leads(check, what string, other func(DecodedKey) []byte) func(machine.Entry, DecodedKey) error {
	return func(e machine.Entry, d DecodedKey) error {
		c.has(check, e.Key, other(d), what)
		return nil
	}
}

// row looks up a row like has and decodes it. It returns false for a malformed row, which
// is a finding at its own key.
func (c *checker) row(check string, k, other []byte, what string, row any) bool {
	v, ok := c.has(check, k, other, what)
	return ok && decodeRow(v, row) == nil
}

func (c *checker) auditRecord(e machine.Entry, d DecodedKey) error {
	rec, err := decodeAudit(e.Value)
	if err != nil {
		return err
	}
	chain := c.chains[d.Tenant]
	if chain == nil {
		chain = &audit.Chain{Tenant: d.Tenant}
		c.chains[d.Tenant] = chain
		c.audited[d.Tenant] = map[Seq]bool{}
	}
	if err := chain.Next(&rec); err != nil {
		c.find("audit", e.Key, "%v", err)
		chain.N, chain.Seq, chain.Head = rec.N, rec.Seq, rec.Hash // continue from here
	}
	if d.Number != rec.N || Seq(rec.Seq) != e.Version {
		c.find("audit", e.Key, "record %d of log position %d is in the wrong place", rec.N, rec.Seq)
	}
	c.audited[d.Tenant][Seq(rec.Seq)] = true
	if rec.Resource != "" {
		c.has("audit", e.Key, numberedKey(kindAuditOf, d.Tenant, rec.Resource, rec.N), "entry by resource")
	}
	return nil
}

// resource decodes a user or group and counts it.
func (c *checker) resource(e machine.Entry, tenant, counter string) (resource, error) {
	res, err := decodeResource(e.Value, e.Version)
	if err != nil {
		return resource{}, err
	}
	c.counts[counterID{tenant, counter}]++
	if !c.audited[tenant][e.Version] {
		c.find("audit", e.Key, "no audit record at its version %d", e.Version)
	}
	return res, nil
}

func (c *checker) user(e machine.Entry, d DecodedKey) error {
	res, err := c.resource(e, d.Tenant, counterUsers)
	if err != nil {
		return err
	}
	id := d.Parts[0]
	for _, n := range namesOf(userIndexes, res.object) {
		c.indexed(e.Key, d.Tenant, id, n)
	}
	u := User{Resource: res.object}
	var l Lock
	switch v, ok := c.get(key(kindLock, d.Tenant, id)); {
	case !ok && !u.Active():
		c.find("lock", e.Key, "the user is inactive and has no lock")
	case ok && decodeRow(v, &l) == nil && u.Active() != (l.State == LockLifted):
		c.find("lock", e.Key, "active is %t and the lock is %s", u.Active(), l.State)
	}
	return nil
}

// indexed checks that a name leads back to its user. An offline verification does not know
// whether the configuration makes externalId unique, so both kinds of index are valid.
func (c *checker) indexed(k []byte, tenant, id string, n name) {
	if v, ok := c.get(key(kindUnique, tenant, n.code, n.value)); ok {
		if owner, err := openValue(v); err != nil || string(owner) != id {
			c.find("index", k, "%s leads to %q", n.name, owner)
		}
		return
	}
	if n.index == userNames {
		c.find("index", k, "%s has no index key", n.name)
		return
	}
	c.has("index", k, key(kindIndex, tenant, n.code, n.value, id), "index key of "+n.name)
}

func (c *checker) unique(e machine.Entry, d DecodedKey) error {
	id, err := openValue(e.Value)
	if err == nil {
		c.leadsTo(kindUser, userIndexes, e.Key, d, string(id))
	}
	return err
}

func (c *checker) index(e machine.Entry, d DecodedKey) error {
	id := d.Parts[2]
	if slices.ContainsFunc(userIndexes, func(x *index) bool { return x.code == d.Parts[0] }) {
		c.leadsTo(kindUser, userIndexes, e.Key, d, id)
	} else {
		c.leadsTo(kindGroup, groupIndexes, e.Key, d, id)
	}
	return nil
}

// leadsTo checks that the resource under an index key has the value. The first two
// parts of both kinds of index keys are the attribute and the value.
func (c *checker) leadsTo(kind byte, indexes []*index, k []byte, d DecodedKey, id string) {
	v, ok := c.has("index", k, key(kind, d.Tenant, id), kindOf(kind).name)
	if !ok {
		return
	}
	res, err := decodeResource(v, 0)
	if err != nil {
		return
	}
	for _, n := range namesOf(indexes, res.object) {
		if string(key(d.Kind, d.Tenant, n.code, n.value)) == string(key(d.Kind, d.Tenant, d.Parts[0], d.Parts[1])) {
			return
		}
	}
	c.find("index", k, "the %s does not have this value", kindOf(kind).name)
}

func (c *checker) group(e machine.Entry, d DecodedKey) error {
	res, err := c.resource(e, d.Tenant, counterGroups)
	if err != nil {
		return err
	}
	id := d.Parts[0]
	for _, n := range namesOf(groupIndexes, res.object) {
		c.has("index", e.Key, key(kindIndex, d.Tenant, n.code, n.value, id), "index key of "+n.name)
	}
	gv, gok := c.has("edge", e.Key, key(kindGen, d.Tenant, id), "generation")
	sv, sok := c.has("count", e.Key, key(kindStat, d.Tenant, id), "counter")
	if !gok || !sok {
		return nil
	}
	gen, err := decodeU64(gv)
	if err != nil {
		return err
	}
	count, err := machine.DecodeCounter(sv)
	if err != nil {
		return err
	}
	var n int64
	c.scan(numberedKey(kindEdge, d.Tenant, id, gen), func(machine.Entry) { n++ })
	if n != count.Count {
		c.find("count", e.Key, "says %d members, there are %d", count.Count, n)
	}
	return nil
}

func (c *checker) generation(e machine.Entry, d DecodedKey) error {
	_, err := decodeU64(e.Value)
	c.has("edge", e.Key, key(kindGroup, d.Tenant, d.Parts[0]), "group")
	return err
}

func (c *checker) edge(e machine.Entry, d DecodedKey) error {
	gid, id := d.Parts[0], d.Parts[1]
	v, ok := c.get(key(kindGen, d.Tenant, gid))
	if gen, err := decodeU64(v); !ok || err == nil && gen != d.Number {
		sweep := numberedKey(kindSweep, d.Tenant, gid, d.Number)
		c.has("edge", e.Key, sweep, "the group's generation, and a mark to sweep it,")
		return nil
	}
	member, err := openValue(e.Value)
	kind := byte(kindUser)
	if string(member) == "Group" {
		kind = kindGroup
	}
	c.has("edge", e.Key, key(kind, d.Tenant, id), "member")
	c.has("edge", e.Key, key(kindMemberOf, d.Tenant, id), "membership mark")
	if v, ok := c.has("edge", e.Key, key(kindReverse, d.Tenant, id, gid), "reverse edge"); ok {
		if gens, err := decodeGenerations(v); err != nil || !slices.Contains(gens, d.Number) {
			c.find("edge", e.Key, "reverse edge is of generation %d", gens)
		}
	}
	return err
}

func (c *checker) reverse(e machine.Entry, d DecodedKey) error {
	gens, err := decodeGenerations(e.Value)
	for _, gen := range gens {
		c.has("edge", e.Key, edgeKey(d.Tenant, d.Parts[1], gen, d.Parts[0]), "edge")
	}
	return err
}

func (c *checker) memberOf(e machine.Entry, d DecodedKey) error {
	if _, ok := c.get(key(kindGroup, d.Tenant, d.Parts[0])); !ok {
		c.has("edge", e.Key, key(kindUser, d.Tenant, d.Parts[0]), "user or group")
	}
	return nil
}

func (c *checker) lock(e machine.Entry, d DecodedKey) error {
	var l Lock
	if err := decodeRow(e.Value, &l); err != nil {
		return err
	}
	if l.Revision > 0 { // a lock without changes since an upgrade from a version without the counter
		c.counts[counterID{d.Tenant, counterLocks}] += int64(l.Revision)
	}
	for _, n := range l.names() {
		v, ok := c.has("lock", e.Key, key(kindLockName, d.Tenant, n.code, n.value), "locked name")
		if id, err := openValue(v); ok && (err != nil || string(id) != l.UserID) {
			c.find("lock", e.Key, "one of its names is in the lock of %q", id)
		}
	}
	for epoch := uint64(1); epoch <= l.Epoch; epoch++ {
		c.has("lock", e.Key, numberedKey(kindOffboarding, d.Tenant, l.UserID, epoch), "offboarding")
	}
	_, present := c.get(key(kindUser, d.Tenant, l.UserID))
	if present == (l.State == LockDeleted) || l.UserID != d.Parts[0] || l.Tenant != d.Tenant {
		c.find("lock", e.Key, "state %s of %q, user present: %t", l.State, l.UserID, present)
	}
	return nil
}

func (c *checker) lockName(e machine.Entry, d DecodedKey) error {
	id, err := openValue(e.Value)
	if err != nil {
		return err
	}
	var l Lock
	found := c.row("lock", e.Key, key(kindLock, d.Tenant, string(id)), "lock", &l)
	if found && !slices.ContainsFunc(l.names(), func(n name) bool {
		return string(key(kindLockName, d.Tenant, n.code, n.value)) == string(e.Key)
	}) {
		c.find("lock", e.Key, "the lock of %q does not have this name", id)
	}
	return nil
}

func (c *checker) operatorLock(e machine.Entry, d DecodedKey) error {
	var l OperatorLock
	if err := decodeRow(e.Value, &l); err != nil {
		return err
	}
	c.counts[counterID{d.Tenant, counterOperatorLocks}]++
	if l.ID != d.Parts[0] || l.Tenant != d.Tenant || len(l.Names) == 0 || l.Ended {
		c.find("lock", e.Key, "lock %q of tenant %q with %d names is in the wrong place", l.ID, l.Tenant, len(l.Names))
	}
	return nil
}

func (c *checker) offboarding(e machine.Entry, d DecodedKey) error {
	var o Offboarding
	if err := decodeRow(e.Value, &o); err != nil {
		return err
	}
	n := 0
	c.scan(numberedKey(kindJobOf, d.Tenant, d.Parts[0], d.Number), func(of machine.Entry) {
		var j Job
		if k, err := DecodeKey(of.Key); err == nil {
			if v, ok := c.get(key(kindJob, d.Tenant, k.Parts[1])); ok && decodeRow(v, &j) == nil && !j.AfterRevocation() {
				n++
			}
		}
	})
	if n != o.Jobs {
		c.find("job", e.Key, "created %d jobs, there are %d", o.Jobs, n)
	}
	if _, open := c.get(numberedKey(kindOpen, d.Tenant, d.Parts[0], d.Number)); open != o.SettledAt.IsZero() {
		c.find("job", e.Key, "open mark is %t, settled at %v", open, o.SettledAt)
	}
	c.has("lock", e.Key, key(kindLock, d.Tenant, d.Parts[0]), "lock")
	return nil
}

func (c *checker) job(e machine.Entry, d DecodedKey) error {
	var j Job
	if err := decodeRow(e.Value, &j); err != nil {
		return err
	}
	if want := j.id(); j.ID != d.Parts[0] || j.ID != want || j.Tenant != d.Tenant {
		c.find("job", e.Key, "has the id %s, must have %s", j.ID, want)
	}
	c.has("job", e.Key, jobOfKey(d.Tenant, j.UserID, j.Epoch, j.ID), "entry by user")
	if j.Epoch != 0 || j.After == "" { // an enabling job for a taken-over name has no offboarding
		c.has("job", e.Key, numberedKey(kindOffboarding, d.Tenant, j.UserID, j.Epoch), "offboarding")
	}
	if !j.NextAt.IsZero() {
		c.has("job", e.Key, dueKey(d.Tenant, j.NextAt.UnixNano(), j.ID), "due entry")
	}
	return nil
}

func (c *checker) due(e machine.Entry, d DecodedKey) error {
	var j Job
	if !c.row("job", e.Key, key(kindJob, d.Tenant, d.Parts[0]), "job", &j) {
		return nil
	}
	if j.NextAt.IsZero() || orderedTime(j.NextAt.UnixNano()) != d.Number {
		c.find("job", e.Key, "the job is due at %v", j.NextAt)
	}
	return nil
}

func (c *checker) jti(e machine.Entry, d DecodedKey) error {
	at, err := decodeU64(e.Value)
	if err == nil {
		c.has("jti", e.Key, jtiExpiryKey(d.Tenant, int64(at^1<<63), d.Parts[0], d.Parts[1]), "expiry")
	}
	return err
}

func (c *checker) signingKey(e machine.Entry, d DecodedKey) error {
	var k Key
	if err := decodeRow(e.Value, &k); err != nil {
		return err
	}
	c.counts[counterID{d.Tenant, counterKeys}]++
	if k.ID != d.Parts[0] {
		c.find("value", e.Key, "key %q is in the wrong place", k.ID)
	}
	return nil
}

func (c *checker) refusal(e machine.Entry, d DecodedKey) error {
	var all []Refusal
	if err := decodeRow(e.Value, &all); err != nil {
		return err
	}
	c.counts[counterID{d.Tenant, counterRefusals}]++
	if v, ok := c.has("refusal", e.Key, key(kindUser, d.Tenant, d.Parts[0]), "user"); ok {
		res, err := decodeResource(v, 0) // an error is a finding at the user's own key
		if u := (User{Resource: res.object}); err == nil && !u.Active() {
			c.find("refusal", e.Key, "the user is inactive")
		}
	}
	if len(all) == 0 {
		c.find("refusal", e.Key, "has no refusal")
	}
	return nil
}
