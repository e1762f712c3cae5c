package store

import (
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/machine"
	"github.com/scimward/scimward/store/scim"
)

// checks says what each kind of key must agree with.
func (c *checker) checks() map[byte]func(machine.Entry, DecodedKey) error {
	return map[byte]func(machine.Entry, DecodedKey) error{
		kindAudit: c.auditRecord, kindAuditOf: c.auditOf,
		kindUser: c.user, kindUnique: c.unique, kindIndex: c.index,
		kindGroup: c.group, kindGen: c.ofGroup, kindStat: c.ofGroup,
		kindEdge: c.edge, kindReverse: c.reverse, kindMemberOf: c.memberOf,
		kindLock: c.lock, kindHeld: c.held,
		kindOffboard: c.offboarding, kindOpen: c.open,
		kindJob: c.job, kindJobOf: c.jobOf, kindDue: c.due,
		kindJTI: c.jti, kindJTIExpiry: c.jtiExpiry, kindKey: c.signingKey,
	}
}

func (c *checker) count(tenant, counter string) { c.counts[tenant+"\x00"+counter]++ }

func (c *checker) auditRecord(e machine.Entry, d DecodedKey) error {
	rec, err := decodeAudit(e.Value)
	if err != nil {
		return bad(err)
	}
	chain := c.chains[d.Tenant]
	if chain == nil {
		chain = &audit.Chain{Tenant: d.Tenant}
		c.chains[d.Tenant] = chain
		c.audited[d.Tenant] = map[Seq]bool{}
	}
	var broken *audit.ChainError
	if err := chain.Next(&rec); errors.As(err, &broken) {
		c.find("audit", e.Key, "%v", broken)
		chain.N, chain.Seq, chain.Head = rec.N, rec.Seq, rec.Hash // go on from here
	} else if err != nil {
		return err
	}
	if d.Number != rec.N || Seq(rec.Seq) != e.Version {
		c.find("audit", e.Key, "record %d of log position %d is in the wrong place", rec.N, rec.Seq)
	}
	c.audited[d.Tenant][Seq(rec.Seq)] = true
	if rec.Resource == "" {
		return nil
	}
	_, _, err = c.has("audit", e.Key, auditOfKey(d.Tenant, rec.Resource, rec.N), "entry by resource")
	return err
}

func (c *checker) auditOf(e machine.Entry, d DecodedKey) error {
	_, _, err := c.has("audit", e.Key, auditKey(d.Tenant, d.Number), "record")
	return err
}

func (c *checker) user(e machine.Entry, d DecodedKey) error {
	u, err := decodeUser(d.Parts[0], e.Value, e.Version)
	if err != nil {
		return bad(err)
	}
	c.count(d.Tenant, counterUsers)
	if !c.audited[d.Tenant][e.Version] {
		c.find("audit", e.Key, "no audit record at its version %d", e.Version)
	}
	for _, n := range namesOf(u.Resource) {
		if err := c.indexed(e.Key, d.Tenant, u.ID, n); err != nil {
			return err
		}
	}
	l, err := c.reader(d.Tenant).Lock(u.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		if !u.Active() {
			c.find("lock", e.Key, "the user is inactive and has no lock")
		}
	case err != nil:
		return err
	case u.Active() != (l.State == LockLifted):
		c.find("lock", e.Key, "active is %t and the lock is %s", u.Active(), l.State)
	}
	return nil
}

// indexed checks that a name leads back to its user. Whether externalId is
// unique is configuration, which a verification from outside does not know.
func (c *checker) indexed(k []byte, tenant, id string, n name) error {
	v, _, err := c.all.Peek(key(kindUnique, tenant, n.attr, n.value))
	if err == nil {
		if owner, err := openValue(v); err != nil || string(owner) != id {
			c.find("index", k, "%s leads to %q", n.attr, owner)
		}
		return nil
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if n.attr == attrUserName {
		c.find("index", k, "%s has no index key", n.attr)
		return nil
	}
	_, _, err = c.has("index", k, key(kindIndex, tenant, n.attr, n.value, id), "index key of "+n.attr)
	return err
}

func (c *checker) unique(e machine.Entry, d DecodedKey) error {
	id, err := openValue(e.Value)
	if err != nil {
		return bad(err)
	}
	return c.leadsToUser(e.Key, d.Tenant, string(id))
}

// leadsToUser checks that an index key is one of those its user asks for.
func (c *checker) leadsToUser(k []byte, tenant, id string) error {
	v, ok, err := c.has("index", k, key(kindUser, tenant, id), "user")
	if err != nil || !ok {
		return err
	}
	u, err := decodeUser(id, v, 0)
	if err != nil {
		return nil //nolint:nilerr // found at the user
	}
	for _, n := range namesOf(u.Resource) {
		for _, want := range [][]byte{key(kindUnique, tenant, n.attr, n.value), key(kindIndex, tenant, n.attr, n.value, id)} {
			if string(want) == string(k) {
				return nil
			}
		}
	}
	c.find("index", k, "the user does not have this value")
	return nil
}

func (c *checker) index(e machine.Entry, d DecodedKey) error {
	attr, id := d.Parts[0], d.Parts[2]
	if attr == attrEmail || attr == attrExternalID {
		return c.leadsToUser(e.Key, d.Tenant, id)
	}
	v, ok, err := c.has("index", e.Key, key(kindGroup, d.Tenant, id), "group")
	if err != nil || !ok {
		return err
	}
	o, err := resourceOf(v)
	if err != nil {
		return nil //nolint:nilerr // found at the group
	}
	for _, n := range groupNames(o) {
		if string(key(kindIndex, d.Tenant, n.attr, n.value, id)) == string(e.Key) {
			return nil
		}
	}
	c.find("index", e.Key, "the group does not have this value")
	return nil
}

func resourceOf(v []byte) (scim.Object, error) {
	var row resourceRow
	if err := decodeRow(v, &row); err != nil {
		return nil, err
	}
	return decodeObject(row.Resource)
}

func (c *checker) group(e machine.Entry, d DecodedKey) error {
	o, err := resourceOf(e.Value)
	if err != nil {
		return bad(err)
	}
	id := d.Parts[0]
	c.count(d.Tenant, counterGroups)
	if !c.audited[d.Tenant][e.Version] {
		c.find("audit", e.Key, "no audit record at its version %d", e.Version)
	}
	for _, n := range groupNames(o) {
		if _, _, err := c.has("index", e.Key, key(kindIndex, d.Tenant, n.attr, n.value, id), "index key of "+n.attr); err != nil {
			return err
		}
	}
	gv, ok, err := c.has("edge", e.Key, key(kindGen, d.Tenant, id), "generation")
	if err != nil || !ok {
		return err
	}
	gen, err := decodeU64(gv)
	if err != nil {
		return nil //nolint:nilerr // found at the generation
	}
	sv, ok, err := c.has("count", e.Key, key(kindStat, d.Tenant, id), "counter")
	if err != nil || !ok {
		return err
	}
	s, err := machine.DecodeCounter(sv)
	if err != nil {
		return bad(err)
	}
	var n int64
	if err := c.all.Scan(edgePrefix(d.Tenant, id, gen), nil, false, func(machine.Entry) (bool, error) { n++; return true, nil }); err != nil {
		return err
	}
	if n != s.Count {
		c.find("count", e.Key, "says %d members, there are %d", s.Count, n)
	}
	return nil
}

func (c *checker) ofGroup(e machine.Entry, d DecodedKey) error {
	if d.Kind == kindGen {
		if _, err := decodeU64(e.Value); err != nil {
			return bad(err)
		}
	}
	_, _, err := c.has("edge", e.Key, key(kindGroup, d.Tenant, d.Parts[0]), "group")
	return err
}

func (c *checker) edge(e machine.Entry, d DecodedKey) error {
	gid, id := d.Parts[0], d.Parts[1]
	live, err := c.reader(d.Tenant).liveGeneration(gid, d.Number)
	if err != nil {
		return err
	}
	if !live {
		_, _, err := c.has("edge", e.Key, sweepKey(d.Tenant, gid, d.Number), "the group's generation, and a mark to sweep it,")
		return err
	}
	kind := byte(kindUser)
	if b, err := openValue(e.Value); err == nil && string(b) == "Group" {
		kind = kindGroup
	}
	if _, _, err := c.has("edge", e.Key, key(kind, d.Tenant, id), "member"); err != nil {
		return err
	}
	if _, _, err := c.has("edge", e.Key, key(kindMemberOf, d.Tenant, id), "membership mark"); err != nil {
		return err
	}
	v, ok, err := c.has("edge", e.Key, key(kindReverse, d.Tenant, id, gid), "reverse edge")
	if err != nil || !ok {
		return err
	}
	if gen, err := decodeU64(v); err != nil || gen != d.Number {
		c.find("edge", e.Key, "reverse edge is of generation %d", gen)
	}
	return nil
}

func (c *checker) reverse(e machine.Entry, d DecodedKey) error {
	gen, err := decodeU64(e.Value)
	if err != nil {
		return bad(err)
	}
	_, _, err = c.has("edge", e.Key, edgeKey(d.Tenant, d.Parts[1], gen, d.Parts[0]), "edge")
	return err
}

func (c *checker) memberOf(e machine.Entry, d DecodedKey) error {
	_, _, err := c.all.Peek(key(kindGroup, d.Tenant, d.Parts[0]))
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	_, _, err = c.has("edge", e.Key, key(kindUser, d.Tenant, d.Parts[0]), "user or group")
	return err
}

func lockNames(l *Lock) []name {
	var out []name
	for _, v := range l.UserNames {
		out = append(out, name{attrUserName, v})
	}
	for _, v := range l.FormerIDs {
		out = append(out, name{attrExternalID, v})
	}
	if l.ExternalID != "" {
		out = append(out, name{attrExternalID, l.ExternalID})
	}
	for _, v := range l.Emails {
		out = append(out, name{attrEmail, v})
	}
	return out
}

func (c *checker) lock(e machine.Entry, d DecodedKey) error {
	var l Lock
	if err := decodeRow(e.Value, &l); err != nil {
		return bad(err)
	}
	for _, n := range lockNames(&l) {
		v, ok, err := c.has("lock", e.Key, key(kindHeld, d.Tenant, n.attr, n.value), "held name")
		if err != nil {
			return err
		}
		if id, err := openValue(v); ok && (err != nil || string(id) != l.UserID) {
			c.find("lock", e.Key, "a name of it is held by %q", id)
		}
	}
	for epoch := uint64(1); epoch <= l.Epoch; epoch++ {
		if _, _, err := c.has("lock", e.Key, epochKey(kindOffboard, d.Tenant, l.UserID, epoch), "offboarding"); err != nil {
			return err
		}
	}
	there, err := c.reader(d.Tenant).snap.Exists(key(kindUser, d.Tenant, l.UserID))
	if err != nil {
		return err
	}
	if there == (l.State == LockDeleted) || l.UserID != d.Parts[0] || l.Tenant != d.Tenant {
		c.find("lock", e.Key, "state %s of %q, user present: %t", l.State, l.UserID, there)
	}
	return nil
}

func (c *checker) held(e machine.Entry, d DecodedKey) error {
	id, err := openValue(e.Value)
	if err != nil {
		return bad(err)
	}
	l, err := c.reader(d.Tenant).Lock(string(id))
	if errors.Is(err, ErrNotFound) {
		c.find("lock", e.Key, "the lock of %q is missing", id)
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range lockNames(&l) {
		if string(key(kindHeld, d.Tenant, n.attr, n.value)) == string(e.Key) {
			return nil
		}
	}
	c.find("lock", e.Key, "the lock of %q does not have this name", id)
	return nil
}

func (c *checker) offboarding(e machine.Entry, d DecodedKey) error {
	var o Offboarding
	if err := decodeRow(e.Value, &o); err != nil {
		return bad(err)
	}
	jobs, err := c.reader(d.Tenant).JobsOf(d.Parts[0], d.Number)
	if errors.Is(err, ErrNotFound) {
		c.find("job", e.Key, "%v", err)
	} else if err != nil {
		return fmt.Errorf("jobs of %s: %w", keyText(e.Key), err)
	}
	n := 0
	for i := range jobs {
		if jobs[i].Event != eventReactivated {
			n++
		}
	}
	if n != o.Jobs {
		c.find("job", e.Key, "created %d jobs, there are %d", o.Jobs, n)
	}
	_, _, err = c.all.Peek(epochKey(kindOpen, d.Tenant, d.Parts[0], d.Number))
	if open := err == nil; open != o.VerifiedAt.IsZero() {
		c.find("job", e.Key, "open mark is %t, verified at %v", open, o.VerifiedAt)
	}
	_, _, err = c.has("lock", e.Key, key(kindLock, d.Tenant, d.Parts[0]), "lock")
	return err
}

func (c *checker) open(e machine.Entry, d DecodedKey) error {
	_, _, err := c.has("job", e.Key, epochKey(kindOffboard, d.Tenant, d.Parts[0], d.Number), "offboarding")
	return err
}

func (c *checker) job(e machine.Entry, d DecodedKey) error {
	var j Job
	if err := decodeRow(e.Value, &j); err != nil {
		return bad(err)
	}
	kind := j.Kind
	if j.Event == eventReactivated {
		kind += "/reactivated"
	}
	if want := JobID(d.Tenant, j.App, j.UserID, j.Epoch, kind); j.ID != d.Parts[0] || j.ID != want {
		c.find("job", e.Key, "has the id %s, must have %s", j.ID, want)
	}
	if _, _, err := c.has("job", e.Key, jobOfKey(d.Tenant, j.UserID, j.Epoch, j.ID), "entry by user"); err != nil {
		return err
	}
	if j.Epoch != 0 || j.After == "" { // a new holder of a name has no deactivation yet
		if _, _, err := c.has("job", e.Key, epochKey(kindOffboard, d.Tenant, j.UserID, j.Epoch), "offboarding"); err != nil {
			return err
		}
	}
	if j.NextAt.IsZero() {
		return nil
	}
	_, _, err := c.has("job", e.Key, dueKey(d.Tenant, j.NextAt.UnixNano(), j.ID), "due entry")
	return err
}

func (c *checker) jobOf(e machine.Entry, d DecodedKey) error {
	_, _, err := c.has("job", e.Key, key(kindJob, d.Tenant, d.Parts[1]), "job")
	return err
}

func (c *checker) due(e machine.Entry, d DecodedKey) error {
	v, ok, err := c.has("job", e.Key, key(kindJob, d.Tenant, d.Parts[0]), "job")
	if err != nil || !ok {
		return err
	}
	var j Job
	if err := decodeRow(v, &j); err != nil {
		return nil //nolint:nilerr // found at the job
	}
	if j.NextAt.IsZero() || orderedTime(j.NextAt.UnixNano()) != d.Number {
		c.find("job", e.Key, "the job is due at %v", j.NextAt)
	}
	return nil
}

func (c *checker) jti(e machine.Entry, d DecodedKey) error {
	at, err := decodeU64(e.Value)
	if err != nil {
		return bad(err)
	}
	_, _, err = c.has("jti", e.Key, jtiExpiryKey(d.Tenant, int64(at^1<<63), d.Parts[0], d.Parts[1]), "expiry")
	return err
}

func (c *checker) jtiExpiry(e machine.Entry, d DecodedKey) error {
	_, _, err := c.has("jti", e.Key, key(kindJTI, d.Tenant, d.Parts[0], d.Parts[1]), "jti")
	return err
}

func (c *checker) signingKey(e machine.Entry, d DecodedKey) error {
	var k Key
	if err := decodeRow(e.Value, &k); err != nil {
		return bad(err)
	}
	c.count(d.Tenant, counterKeys)
	if k.ID != d.Parts[0] {
		c.find("value", e.Key, "key %q is in the wrong place", k.ID)
	}
	return nil
}
