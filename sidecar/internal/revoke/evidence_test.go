package revoke_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/storetest"
)

// sign stands for the tenant's key. Package sidecar tests the check of the signature.
func sign(tenant string, claims map[string]any) (string, error) {
	return fmt.Sprintf("signed.by.%s.%v", tenant, claims["digest"]), nil
}

// finished returns a rig with one leaver whose jobs are complete, one of them unsupported.
func finished(t *testing.T) (*rig, string) {
	t.Helper()
	r := newRig(t)
	r.app.set(func(a *app) {
		a.has[abi.KindSSHKey], a.has[abi.KindPAT] = 1, 2
		a.revoke[abi.KindWebSession] = always(abi.KindResult{State: abi.StateUnsupported, Code: "no_api"})
	})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the end", r.settled(id, 1))
	return r, id
}

func (r *rig) report(user string) *revoke.Report {
	r.t.Helper()
	rep, err := revoke.Build(r.t.Context(), r.store, "acme", user, r.clock.Now(), sign)
	if err != nil {
		r.t.Fatalf("building the report: %v", err)
	}
	return rep
}

func encode(t *testing.T, rep *revoke.Report) []byte {
	t.Helper()
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	return b
}

// TestEvidenceIsValid: the report says who requested the deactivation, when, and the result of
// each kind. A reader without the store can check it.
func TestEvidenceIsValid(t *testing.T) {
	r, id := finished(t)
	rep := r.report(id)
	if _, err := revoke.Read(bytes.NewReader(encode(t, rep))); err != nil {
		t.Fatalf("Read of the report: %v, want no error", err)
	}
	o := rep.Offboardings[0]
	if rep.UserName != "ada" || rep.Status != revoke.StatusEnforced || o.Client != "idp" || o.TokenJTI != "jti-1" ||
		o.RequestID != "req-user.patch" || o.Remote != "192.0.2.9" || o.Decision != "ipsie-il1@1" {
		t.Errorf("report %+v, offboarding %+v, want the cause of ada's deactivation", rep, o)
	}
	if o.BlockedAt == nil || o.SettledAt == nil || o.VerifiedAt != nil || o.Breached || len(o.Kinds) != len(abi.Order()) {
		t.Errorf("blocked %v, verified %v, breached %v, %d kinds, want a time, null, false, %d",
			o.BlockedAt, o.VerifiedAt, o.Breached, len(o.Kinds), len(abi.Order()))
	}
	for i, k := range o.Kinds {
		if k.Kind != string(abi.Order()[i]) {
			t.Errorf("kind %d is %s, want the order of revocation", i, k.Kind)
		}
		if unsupported := k.State == "unsupported"; unsupported != (k.EnforcedUntil != nil) || unsupported == k.Verified {
			t.Errorf("%s: %s, enforced until %v, verified %v, want either of them", k.Kind, k.State, k.EnforcedUntil, k.Verified)
		}
		if k.Plugin != "fake 1.2.3" || k.PluginDigest != "sha256:abc" {
			t.Errorf("%s: plugin %q %q, want \"fake 1.2.3\" \"sha256:abc\"", k.Kind, k.Plugin, k.PluginDigest)
		}
	}
	if k := o.Kinds[4]; k.Found != 2 || k.Revoked != 2 || k.Attempts != 1 || len(k.How) != 1 || k.How[0].Status != 204 ||
		len(k.Probes) != 1 || k.Probes[0].Result != "dead" {
		t.Errorf("pat: %+v, want 2 revoked in one attempt and a dead probe", k)
	}
	first, last := rep.Chain[0], rep.Chain[len(rep.Chain)-1]
	if first.Action != "user.patch" || first.Resource != id || last.Resource != id || rep.ChainFrom != 1 || rep.ChainCut {
		t.Errorf("chain from %s %s to %s %s, from epoch %d, want the user's records from epoch 1",
			first.Action, first.Resource, last.Action, last.Resource, rep.ChainFrom)
	}
	if !slices.ContainsFunc(rep.Chain, func(rec audit.Record) bool { return rec.Action == "offboarding.enforced" }) {
		t.Error("the chain has no offboarding.enforced, want the record")
	}
	var page strings.Builder
	if err := rep.HTML(&page); err != nil || !strings.Contains(page.String(), "enforced at the proxy until") ||
		!strings.Contains(page.String(), "<td>-</td><td>-</td>") {
		t.Errorf("page: %v, want one with the kind at the proxy, of which nobody counted the credentials", err)
	}
}

// TestEvidenceOfTheGone: the report is found by id and by name, also when another user has the
// name now. A user who never left has none.
func TestEvidenceOfTheGone(t *testing.T) {
	r := newRig(t)
	id := r.user("ada")
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	r.engine(nil)
	r.await("the end", r.settled(id, 1))
	for _, who := range []string{id, "ada", "ADA"} {
		if rep := r.report(who); rep.User != id || rep.Offboardings[0].Event != abi.EventDeleted || len(rep.Chain) == 0 {
			t.Errorf("%s: user %s, %d records, want the deletion of %s", who, rep.User, len(rep.Chain), id)
		}
	}
	again := r.user("ada")
	for _, who := range []string{id, "ada", "ADA"} {
		rep := r.report(who)
		if rep.User != id {
			t.Errorf("%s, created again: the report of %s, want %s", who, rep.User, id)
		}
		if who != id && rep.Holder != again || who == id && rep.Holder != "" {
			t.Errorf("%s: the name belongs to %q, want %q", who, rep.Holder, again)
		}
		if _, err := revoke.Read(bytes.NewReader(encode(t, rep))); err != nil {
			t.Errorf("Read of the report about %s: %v, want no error", who, err)
		}
	}
	stays := r.user("stan")
	for who, want := range map[string]string{again: again, stays: stays, "STAN": stays} {
		_, err := revoke.Build(t.Context(), r.store, "acme", who, r.clock.Now(), sign)
		var notDeactivated *revoke.NotDeactivatedError
		if !errors.As(err, &notDeactivated) || notDeactivated.User != want || !notDeactivated.Active ||
			notDeactivated.UserName == "" {
			t.Errorf("%s, who never left: %v, want a NotDeactivatedError about %s", who, err, want)
		}
	}
	for _, who := range []string{"unknown", ""} {
		_, err := revoke.Build(t.Context(), r.store, "acme", who, r.clock.Now(), sign)
		if !errors.Is(err, revoke.ErrNothingKnown) {
			t.Errorf("%q: %v, want ErrNothingKnown", who, err)
		}
	}
	_, err := revoke.Build(t.Context(), r.store, "globex", id, r.clock.Now(), sign)
	if !errors.Is(err, revoke.ErrNothingKnown) {
		t.Errorf("another tenant: %v, want ErrNothingKnown", err)
	}
}

// TestEvidenceOfOneNameOfSeveral: a name finds every user who left under it, the newest request
// first, and each has a report by id.
func TestEvidenceOfOneNameOfSeveral(t *testing.T) {
	r := newRig(t)
	var ids []string
	for range 3 {
		id := r.user("ada")
		r.clock.Add(time.Minute)
		r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
		ids = append(ids, id)
	}
	other := r.leaver("bob")
	r.update("user.patch", func(tx *store.Tx) error {
		u, err := tx.User(other)
		if err != nil {
			return err
		}
		u.Resource["userName"] = "bobby"
		_, err = tx.UpdateUser(&u)
		return err
	})
	_, err := revoke.Build(t.Context(), r.store, "acme", "Ada", r.clock.Now(), sign)
	var ambiguous *revoke.AmbiguousNameError
	if !errors.As(err, &ambiguous) || ambiguous.More || len(ambiguous.Matches) != 3 {
		t.Fatalf("%v, want three matches", err)
	}
	for i, m := range ambiguous.Matches {
		if m.User != ids[2-i] || m.UserName != "ada" || m.Epochs != 1 || m.Event != abi.EventDeleted ||
			m.Status != revoke.StatusRunning || m.When.IsZero() {
			t.Errorf("match %d: %+v, want %s", i, m, ids[2-i])
		}
		if rep := r.report(m.User); rep.User != m.User {
			t.Errorf("report of %s by id, want %s", rep.User, m.User)
		}
	}
	for _, who := range []string{"bob", "bobby"} {
		if rep := r.report(who); rep.User != other || rep.Holder != "" {
			t.Errorf("%s, renamed after leaving: %s, name now of %q, want %s and none", who, rep.User, rep.Holder, other)
		}
	}
}

// TestEvidenceOfEveryName: externalId and e-mail address find a leaver as the userName does, also of a user who is
// deleted, and after another user took them. The audit trail and a retry take the same names.
func TestEvidenceOfEveryName(t *testing.T) {
	r := newRig(t)
	id := r.leaver("ada")
	r.update("user.delete", func(tx *store.Tx) error { return tx.DeleteUser(id) })
	r.engine(nil)
	for _, name := range []string{"x-ada", "ADA@example.com", "ada"} {
		if rep := r.report(name); rep.User != id || rep.Holder != "" {
			t.Errorf("%s: the report of %s, name now of %q, want %s and none", name, rep.User, rep.Holder, id)
		}
		var trail bytes.Buffer
		err := revoke.Trail(t.Context(), r.store, "acme", name, &trail)
		if err != nil || !bytes.Contains(trail.Bytes(), []byte(id)) {
			t.Errorf("%s: the trail %v, want records about %s", name, err, id)
		}
		if _, err := r.e.Retry(t.Context(), "acme", cause("operator.retry"), revoke.Selection{Who: name}); err != nil {
			t.Errorf("%s: Retry = %v, want %s to be found", name, err, id)
		}
	}
	again := r.userWith("ada2", "x-ada", "ada@example.com")
	for _, name := range []string{"x-ada", "ada@example.com"} {
		if rep := r.report(name); rep.User != id || rep.Holder != again {
			t.Errorf("%s, taken: the report of %s, name now of %q, want %s and %s", name, rep.User, rep.Holder, id, again)
		}
	}
	ben, bea := r.userWith("ben", "x-ben", "b@example.com"), r.userWith("bea", "x-bea", "b@example.com")
	_, err := revoke.Build(t.Context(), r.store, "acme", "b@example.com", r.clock.Now(), sign)
	var ambiguous *revoke.AmbiguousNameError
	if !errors.As(err, &ambiguous) || len(ambiguous.Matches) != 2 {
		t.Fatalf("an address of two users = %v, want both", err)
	}
	for _, m := range ambiguous.Matches {
		if m.User != ben && m.User != bea || m.UserName == "" || m.Epochs != 0 || !m.When.IsZero() {
			t.Errorf("match %+v, want a user who never left", m)
		}
	}
}

// TestAlteredEvidenceFails: Read finds every kind of change of a report, down to one byte.
func TestAlteredEvidenceFails(t *testing.T) {
	r, id := finished(t)
	rep := r.report(id)
	good := encode(t, rep)
	other := r.leaver("bob")
	r.await("the other", r.settled(other, 1))
	foreign := r.report(other)
	edit := func(fn func(*revoke.Report)) []byte {
		var c revoke.Report
		if err := json.Unmarshal(good, &c); err != nil {
			t.Fatalf("copying: %v", err)
		}
		fn(&c)
		return encode(t, &c)
	}
	text := func(from, to string) []byte {
		if !bytes.Contains(good, []byte(from)) {
			t.Fatalf("the report has no %q, want it for this case", from)
		}
		return bytes.Replace(good, []byte(from), []byte(to), 1)
	}
	kind := func(c *revoke.Report) *revoke.KindReport { return &c.Offboardings[0].Kinds[4] }
	tests := map[string][]byte{
		"schema":           edit(func(c *revoke.Report) { c.Schema = "scimward.evidence/v2" }),
		"tenant":           edit(func(c *revoke.Report) { c.Tenant = "globex" }),
		"user":             edit(func(c *revoke.Report) { c.User = other }),
		"user name":        edit(func(c *revoke.Report) { c.UserName = "adb" }),
		"generated":        edit(func(c *revoke.Report) { c.Generated = c.Generated.Add(1) }),
		"status":           edit(func(c *revoke.Report) { c.Status = revoke.StatusVerified }),
		"epoch":            edit(func(c *revoke.Report) { c.Offboardings[0].Epoch++ }),
		"client":           edit(func(c *revoke.Report) { c.Offboardings[0].Client = "idq" }),
		"jti":              edit(func(c *revoke.Report) { c.Offboardings[0].TokenJTI += "x" }),
		"blocked":          edit(func(c *revoke.Report) { c.Offboardings[0].BlockedAt = nil }),
		"verified":         edit(func(c *revoke.Report) { *c.Offboardings[0].SettledAt = c.Generated.Add(-1) }),
		"breached":         edit(func(c *revoke.Report) { c.Offboardings[0].Breached = true }),
		"state":            edit(func(c *revoke.Report) { kind(c).State = "nothing_to_revoke" }),
		"found":            edit(func(c *revoke.Report) { kind(c).Found-- }),
		"how":              edit(func(c *revoke.Report) { kind(c).How = nil }),
		"probe":            edit(func(c *revoke.Report) { kind(c).Probes[0].Result = "live" }),
		"enforced until":   edit(func(c *revoke.Report) { c.Offboardings[0].Kinds[6].EnforcedUntil = nil }),
		"plugin digest":    edit(func(c *revoke.Report) { kind(c).PluginDigest = "sha256:abd" }),
		"kind removed":     edit(func(c *revoke.Report) { c.Offboardings[0].Kinds = c.Offboardings[0].Kinds[1:] }),
		"record changed":   edit(func(c *revoke.Report) { c.Chain[1].Actor = "client:me" }),
		"record removed":   edit(func(c *revoke.Report) { c.Chain = slices.Delete(c.Chain, 1, 2) }),
		"first removed":    edit(func(c *revoke.Report) { c.Chain = c.Chain[1:] }),
		"last removed":     edit(func(c *revoke.Report) { c.Chain = c.Chain[:len(c.Chain)-1] }),
		"record twice":     edit(func(c *revoke.Report) { c.Chain = append(c.Chain[:2:2], c.Chain[1:]...) }),
		"reordered":        edit(func(c *revoke.Report) { c.Chain[1], c.Chain[2] = c.Chain[2], c.Chain[1] }),
		"no chain":         edit(func(c *revoke.Report) { c.Chain = nil }),
		"chain of another": edit(func(c *revoke.Report) { c.Chain = foreign.Chain }),
		"chain from":       edit(func(c *revoke.Report) { c.ChainFrom = 2 }),
		"digest":           edit(func(c *revoke.Report) { c.Seal.Digest = foreign.Seal.Digest }),
		"head":             edit(func(c *revoke.Report) { c.Seal.Head = foreign.Seal.Head }),
		"seal of another":  edit(func(c *revoke.Report) { c.Seal = foreign.Seal }),
		"no seal":          edit(func(c *revoke.Report) { c.Seal = nil }),
		"key in capitals":  text(`"user_name"`, `"User_name"`),
		"key twice":        text(`"status":`, `"status": "verified", "status":`),
		"unknown key":      text(`"status":`, `"note": "fine", "status":`),
		"number spelled":   text(`"found": 2`, `"found": 2e0`),
		"escaped letter":   text(`"ada"`, `"\u0061da"`),
		"two reports":      append(slices.Clone(good), good...),
		"cut off":          good[:len(good)-2],
		"empty":            nil,
		"not JSON":         []byte("<html>"),
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := revoke.Read(bytes.NewReader(b)); err == nil {
				t.Error("Read of an altered report = nil, want an error")
			}
		})
	}
	// Every byte except white space and the signature, which only the tenant's key can check.
	jws := bytes.Index(good, []byte(`"jws": "`)) + len(`"jws": "`)
	end := jws + bytes.IndexByte(good[jws:], '"')
	step := max(len(good)/700, 1)
	for i := 0; i < len(good); i += step {
		if i >= jws && i < end || bytes.IndexByte([]byte(" \n"), good[i]) >= 0 {
			continue
		}
		b := slices.Clone(good)
		b[i] ^= 1
		if _, err := revoke.Read(bytes.NewReader(b)); err == nil {
			t.Errorf("Read with byte %d changed from %q to %q = nil, want an error", i, good[i], b[i])
		}
	}
	if _, err := revoke.Read(bytes.NewReader(good)); err != nil {
		t.Errorf("Read of the unchanged report: %v, want no error", err)
	}
}

// TestEvidenceHasNoPersonalData: a report shows the userName and no other attribute.
func TestEvidenceHasNoPersonalData(t *testing.T) {
	r, id := finished(t)
	rep := r.report(id)
	var page strings.Builder
	if err := rep.HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(encode(t, rep)), page.String()} {
		for _, bad := range []string{"ada@example.com", "x-ada"} {
			if strings.Contains(text, bad) {
				t.Errorf("the evidence contains %q, want no personal data", bad)
			}
		}
	}
}

// TestNothingSaysVerifiedWithoutProof: where one kind is enforced at the proxy only, no record, log event
// or metric says verified. Where all are verified, each does.
func TestNothingSaysVerifiedWithoutProof(t *testing.T) {
	for _, unsupported := range []int{0, 1, len(abi.Order())} {
		t.Run(fmt.Sprintf("%d kinds unsupported", unsupported), func(t *testing.T) {
			r := newRig(t)
			r.app.set(func(a *app) {
				for _, k := range abi.Order()[:unsupported] {
					a.revoke[k] = always(abi.KindResult{State: abi.StateUnsupported, Code: "no_api"})
				}
			})
			id := r.leaver("ada")
			var events lockedBuffer
			stop := r.engine(func(o *revoke.Options) { o.Logger = slog.New(slog.NewTextHandler(&events, nil)) })
			r.await("the end", r.settled(id, 1))
			stop()
			action, detail := "offboarding.verified", "offboarding epoch 1: every kind verified"
			verified, enforced := 1.0, 0.0
			if unsupported > 0 {
				action, detail = "offboarding.enforced", "offboarding epoch 1: enforced at the proxy, not verified"
				verified, enforced = 0, 1
			}
			rep := r.report(id)
			last := rep.Chain[len(rep.Chain)-1]
			if last.Action != action || last.Detail != detail || len(rep.ChainNotes) != 0 {
				t.Errorf("last record %s %q, %d notes, want %s %q and none", last.Action, last.Detail, len(rep.ChainNotes), action, detail)
			}
			if says := strings.Contains(events.String(), `msg="revocation verified"`); says != (unsupported == 0) {
				t.Errorf("the log says verified: %t, want %t", says, unsupported == 0)
			}
			v, e := r.metric("scimward_revocation_verified_seconds"), r.metric("scimward_revocation_enforced_total")
			if v != verified || e != enforced {
				t.Errorf("metrics: %v verified, %v enforced, want %v and %v", v, e, verified, enforced)
			}
		})
	}
}

// TestOldTrailIsNotReadAsVerified: a record of an older version that says verified gets a note, and the
// page does not repeat its words.
func TestOldTrailIsNotReadAsVerified(t *testing.T) {
	r, id := finished(t)
	for _, detail := range []string{"offboarding epoch 1: verified", "offboarding epoch 1: verified, later than promised"} {
		r.update("offboarding.verified", func(tx *store.Tx) error { tx.AuditOnly(id, detail); return nil })
	}
	rep := r.report(id)
	n := rep.Chain[len(rep.Chain)-1].N
	if len(rep.ChainNotes) != 2 || rep.Note(n) == "" || rep.Note(n-1) == "" || rep.Note(n-2) != "" {
		t.Errorf("notes %+v, want one for each of the last two records", rep.ChainNotes)
	}
	if _, err := revoke.Read(bytes.NewReader(encode(t, rep))); err != nil {
		t.Errorf("Read of the report: %v, want no error", err)
	}
	var page strings.Builder
	if err := rep.HTML(&page); err != nil || strings.Contains(page.String(), "offboarding.verified") ||
		strings.Count(page.String(), "is no proof") != 2 {
		t.Errorf("the page repeats offboarding.verified or has no note, %v", err)
	}
}

// TestEvidenceSaysHowAKindWasVerified: a kind that was listed again is verified by listing. Only a probe
// of a credential is one by probe. The plugin gets the ids that it may probe.
func TestEvidenceSaysHowAKindWasVerified(t *testing.T) {
	r := newRig(t)
	r.app.set(func(a *app) {
		a.has[abi.KindPAT] = 2
		a.verify = func(req abi.Request) (out abi.VerifyResult, err error) {
			for _, k := range req.Kinds {
				l := abi.Liveness{Kind: k}
				if ids := req.Revoked[k]; len(ids) > 0 && ids[0] == "pat-1" {
					l.Method, l.With, l.Probe = abi.MethodProbed, abi.KindPAT, "GET /me"
				}
				out.Kinds = append(out.Kinds, l)
			}
			return out, nil
		}
	})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the end", r.settled(id, 1))
	rep := r.report(id)
	for _, k := range rep.Offboardings[0].Kinds {
		by, with := revoke.ByListing, ""
		if k.Kind == string(abi.KindPAT) {
			by, with = revoke.ByProbe, "pat"
		}
		if !k.Verified || k.VerifiedBy != by || k.Probes[0].With != with {
			t.Errorf("%s: verified %t by %q with %q, want by %q with %q", k.Kind, k.Verified, k.VerifiedBy, k.Probes[0].With, by, with)
		}
	}
	var page strings.Builder
	if err := rep.HTML(&page); err != nil || strings.Count(page.String(), "by probe") != 1 ||
		strings.Count(page.String(), "by listing") != len(abi.Order())-1 {
		t.Errorf("page: %v, %s, want one kind by probe and the others by listing", err, page.String())
	}
}

// TestMessageOfAFailedJobIsShown: the page and the log show why a kind failed. The log names no person.
func TestMessageOfAFailedJobIsShown(t *testing.T) {
	r := newRig(t)
	r.app.set(func(a *app) {
		a.revoke[abi.KindPAT] = always(abi.KindResult{
			State: abi.StateFailed, Code: "no_such_realm",
			Message: "realm <b>42</b> of ADA (ada@example.com, other@example.org) is gone\u202e\x1b[2J",
		})
	})
	id := r.leaver("ada")
	var events lockedBuffer
	stop := r.engine(func(o *revoke.Options) { o.Logger = slog.New(slog.NewTextHandler(&events, nil)) })
	r.await("the failure", func() bool { return r.job(id, abi.KindPAT).State == store.JobFailed })
	stop()
	const want = `realm <b>42</b> of [user] ([address], [address]) is gone  [2J`
	if log := events.String(); !strings.Contains(log, want) || strings.Contains(log, "ADA") || strings.Contains(log, "@example") {
		t.Errorf("log %s, want %s", log, want)
	}
	var page strings.Builder
	if err := r.report(id).HTML(&page); err != nil || !strings.Contains(page.String(), "realm &lt;b&gt;42&lt;/b&gt; of ADA") {
		t.Errorf("page: %v, want the escaped message", err)
	}
}

// TestEvidenceShowsEarlierRefusals: a report says that the deactivation was refused before, until when the
// user still had access.
func TestEvidenceShowsEarlierRefusals(t *testing.T) {
	r := newRig(t)
	id := r.user("ada")
	at := r.clock.Now().UTC()
	r.update("user.patch", func(tx *store.Tx) error {
		_, err := tx.Refuse(store.Refusal{
			UserID: id, ClientID: "idp", Asked: store.AskedDeactivate, Status: 400, Reason: "body", RequestID: "r0",
			First: at, Last: at, Count: 3,
		})
		return err
	})
	r.setActive(id, false)
	rep := r.report(id)
	want := revoke.RefusedReport{
		Client: "idp", Asked: "deactivate", Status: 400, Reason: "body", RequestID: "r0", First: at, Last: at, Count: 3,
	}
	if got := rep.Offboardings[0].Refused; len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	var page strings.Builder
	if err := rep.HTML(&page); err != nil || !strings.Contains(page.String(), "Refused before") {
		t.Errorf("page: %v, want the refusal", err)
	}
	// The user comes back, and the next deactivation is refused too.
	r.setActive(id, true)
	r.update("user.patch", func(tx *store.Tx) error {
		_, err := tx.Refuse(store.Refusal{UserID: id, ClientID: "idp", Asked: store.AskedDelete, Status: 503, Count: 2})
		return err
	})
	rep = r.report(id)
	if got := rep.Refused; len(got) != 1 || got[0].Asked != "delete" || got[0].Count != 2 {
		t.Errorf("since then: %+v, want the deletion", got)
	}
	page.Reset()
	if err := rep.HTML(&page); err != nil || !strings.Contains(page.String(), "Still has access") {
		t.Errorf("page: %v, want that the user still has access", err)
	}
	if _, err := revoke.Read(bytes.NewReader(encode(t, rep))); err != nil {
		t.Errorf("Read of the report: %v, want no error", err)
	}
}

// TestLongIDsAreShownAsHashes: a report shows short ids and UUIDs. A longer id may be the credential.
func TestLongIDsAreShownAsHashes(t *testing.T) {
	const long = "s3cr3t-session-0123456789abcdef"
	ids := []string{"17", "0f8fad5b-d9cb-469f-a165-70867728950e", long}
	r := newRig(t)
	r.app.set(func(a *app) {
		a.revoke[abi.KindWebSession] = func(_ context.Context, n int, _ abi.Request) (abi.KindResult, error) {
			out := abi.KindResult{State: abi.StateNothingToRevoke}
			if n == 1 {
				out = abi.KindResult{State: abi.StateRevoked, Found: 3, Count: 3}
				for _, id := range ids {
					out.Evidence = append(out.Evidence, abi.Evidence{ID: id, Action: "DELETE /x", Status: 204})
				}
			}
			return out, nil
		}
	})
	id := r.leaver("ada")
	r.engine(nil)
	r.await("the end", r.settled(id, 1))
	text := string(encode(t, r.report(id)))
	for _, id := range ids {
		hidden := id == long
		if strings.Contains(text, id) == hidden {
			t.Errorf("the report contains %s: %t, want %t", id, !hidden, hidden)
		}
	}
	if !strings.Contains(text, `"id": "sha256:`) {
		t.Error("the report has no hash, want that of the long id")
	}
}

// TestEvidenceOfSeveralProcesses: of a lock in a shared log the report says when every process had it in force, or
// who did not confirm. Without a record of it, the report says that it is unknown.
func TestEvidenceOfSeveralProcesses(t *testing.T) {
	shared := storetest.SharedLog(t)
	r := newRigWith(t, func(o *store.Options) { o.Shared = shared })
	id := r.leaver("ada")
	told := func(want string) {
		t.Helper()
		rep := r.report(id)
		if _, err := revoke.Read(bytes.NewReader(encode(t, rep))); err != nil {
			t.Fatalf("Read of the report: %v, want no error", err)
		}
		var page strings.Builder
		if err := rep.HTML(&page); err != nil || !strings.Contains(page.String(), want+"</td>") {
			t.Errorf("page: %v, want one with %q:\n%s", err, want, &page)
		}
		if got := rep.Offboardings[0].Confirmation.String(); got != want {
			t.Errorf("confirmed %q, want %q", got, want)
		}
	}
	told("unknown: no record says that every process had the lock in force")
	c := store.Confirmation{At: r.clock.Now(), Took: 3021.5, Cores: 2}
	c.Without("core-3-ab", "")
	err := r.store.ConfirmLocks(t.Context(), "acme", cause("lock.confirmed"), []store.Locked{{Resource: id, Epoch: 1}}, &c)
	if err != nil {
		t.Fatal(err)
	}
	told("at 2026-03-01 09:00:00.000 UTC by 2 core(s) within 3021.5 ms; not by core core-3-ab, whose lease had ended")
	alone, id := finished(t)
	if c := alone.report(id).Offboardings[0].Confirmation; c != nil {
		t.Errorf("the report of a single process has %+v, want no confirmation", c)
	}
}
