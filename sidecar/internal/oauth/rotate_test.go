package oauth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// states lists the keys of acme with their states, the newest first.
func (w *world) states() (ids []string, states []oauth.KeyState) {
	w.t.Helper()
	keys, err := w.server.Keys("acme")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, k := range keys {
		ids, states = append(ids, k.ID), append(states, k.State)
	}
	return ids, states
}

func (w *world) wantStates(when string, want ...oauth.KeyState) []string {
	w.t.Helper()
	ids, got := w.states()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	return ids
}

func (w *world) maintain() {
	w.t.Helper()
	if err := w.server.Maintain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) signing() string {
	w.t.Helper()
	s, err := w.server.Signer("acme")
	if err != nil {
		w.t.Fatal(err)
	}
	return s.KeyID()
}

// published reports whether a document of acme has a key.
func (w *world) published(path, kid string) bool {
	w.t.Helper()
	return strings.Contains(w.get(acme+path), kid)
}

func operator(action string) store.Cause {
	return store.Cause{Actor: "operator:root", RequestID: "r", Action: action, Decision: "operator", Received: start}
}

// TestRotationBySchedule: a new key is published before it signs, the old one until its last token has
// expired. The process is replaced between all steps: each follows from the store and the clock.
func TestRotationBySchedule(t *testing.T) {
	const every = 48 * time.Hour
	w := newWorld(t, func(w *world) { w.options.RotateEvery = every })
	first := w.signing()
	step := func(d time.Duration) {
		w.advance(d)
		w.maintain()
		w.reopen()
		w.maintain()
	}
	step(every - 10*time.Minute - time.Second)
	w.wantStates("before it is due", oauth.KeySigning)
	step(time.Second)
	second := w.wantStates("published before use", oauth.KeyNext, oauth.KeySigning)[0]
	if w.signing() != first || !w.published("/oauth/jwks", second) || !w.published("/oauth/jwks", first) {
		t.Errorf("before its time: %s signs, of %s", w.signing(), w.get(acme+"/oauth/jwks"))
	}
	step(10*time.Minute - time.Second)
	raw := w.issue("idp") // the last one of the first key
	step(time.Second)
	w.wantStates("in its time", oauth.KeySigning, oauth.KeyOverlap)
	if w.signing() != second {
		t.Errorf("%s signs, want %s", w.signing(), second)
	}
	v := w.accessVerifier("acme", acme)
	if c, err := v.Verify(t.Context(), raw); err != nil || c.KeyID != first {
		t.Errorf("token of the former key: %+v, %v", c, err)
	}
	if c, err := v.Verify(t.Context(), w.issue("idp")); err != nil || c.KeyID != second {
		t.Errorf("token of the new key: %+v, %v", c, err)
	}
	step(time.Hour + token.Leeway)
	w.wantStates("while its last token may live", oauth.KeySigning, oauth.KeyOverlap)
	step(3 * time.Second)
	w.wantStates("after that", oauth.KeySigning, oauth.KeyRetired)
	if w.published("/oauth/jwks", first) || !w.published("/oauth/evidence-keys", first) || !w.published("/oauth/jwks", second) {
		t.Errorf("retired key: jwks %s, evidence keys %s", w.get(acme+"/oauth/jwks"), w.get(acme+"/oauth/evidence-keys"))
	}
	err := w.store.View(t.Context(), "acme", func(r *store.Reader) error {
		keys, err := r.Keys("access-token")
		for _, k := range keys {
			if k.ID == first && (len(k.JWK) > 0 || bytes.Contains(k.Public, []byte(`"d"`))) {
				t.Error("the private part of the retired key is in the store, want it erased")
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRotationByCommand: a second command does not add a second key that waits.
func TestRotationByCommand(t *testing.T) {
	w := newWorld(t)
	first := w.signing()
	for range 2 {
		if _, err := w.server.RotateKeys(t.Context(), "acme", operator("oauth.key.rotate")); err != nil {
			t.Fatal(err)
		}
	}
	w.wantStates("after the command", oauth.KeyNext, oauth.KeySigning)
	if w.signing() != first {
		t.Error("the new key signs at once, want it published first")
	}
	w.advance(10 * time.Minute)
	if w.signing() == first {
		t.Error("the new key does not sign in its time")
	}
	if _, err := w.server.RotateKeys(t.Context(), "initech", operator("x")); err == nil {
		t.Error("RotateKeys(unknown tenant) = nil, want an error")
	}
}

// TestDroppedKey: the tokens of a dropped key are refused at once, also by a verifier that knows them, and
// another key signs. The audit trail says who and why.
func TestDroppedKey(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"alone": func(*world) {},
		"with a next key": func(w *world) {
			if _, err := w.server.RotateKeys(w.t.Context(), "acme", operator("oauth.key.rotate")); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			bad, raw, v := w.signing(), w.issue("idp"), w.accessVerifier("acme", acme)
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
			cause := operator("oauth.key.drop")
			cause.Reason = "found in a backup"
			if _, err := w.server.DropKey(t.Context(), "acme", bad, cause); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), raw); reason(err) != token.ReasonKey {
				t.Errorf("token of the dropped key: %v", err)
			}
			for _, path := range []string{"/oauth/jwks", "/oauth/evidence-keys"} {
				if w.published(path, bad) {
					t.Errorf("%s has the dropped key", path)
				}
			}
			w.wantStates("after the drop", oauth.KeySigning)
			if _, err := v.Verify(t.Context(), w.issue("idp")); err != nil {
				t.Errorf("token of the key that follows: %v", err)
			}
			w.reopen()
			if _, err := w.accessVerifier("acme", acme).Verify(t.Context(), raw); reason(err) != token.ReasonKey {
				t.Errorf("after a restart: %v", err)
			}
			if _, err := w.server.DropKey(t.Context(), "acme", bad, cause); !errors.Is(err, oauth.ErrNoKey) {
				t.Errorf("second drop: %v", err)
			}
		})
	}
}

// TestRotationSurvivesAFault: a change that the store refuses leaves the keys as they were.
func TestRotationSurvivesAFault(t *testing.T) {
	failing := false
	w := newWorld(t, func(w *world) {
		w.faults.BeforeCommit = func() error {
			if failing {
				return errDown
			}
			return nil
		}
	})
	first, raw := w.signing(), w.issue("idp")
	failing = true
	if _, err := w.server.DropKey(t.Context(), "acme", first, operator("oauth.key.drop")); err == nil {
		t.Error("a drop without the store succeeded")
	}
	if _, err := w.accessVerifier("acme", acme).Verify(t.Context(), raw); err != nil || w.signing() != first {
		t.Errorf("after the fault: %v", err)
	}
	failing = false
	w.reopen()
	w.wantStates("after a restart", oauth.KeySigning)
	if w.signing() != first {
		t.Error("another key signs after a restart")
	}
}

func kek(tb testing.TB, b byte) *oauth.KeyEncryptionKey {
	tb.Helper()
	k, err := oauth.NewKeyEncryptionKey([]byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// storedKeys are the keys of acme as they are in the store.
func (w *world) storedKeys() (keys []store.Key) {
	w.t.Helper()
	if err := w.store.View(w.t.Context(), "acme", func(r *store.Reader) (err error) {
		keys, err = r.Keys("access-token")
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return keys
}

// TestKeysEncrypted: turning encryption on encrypts the keys that are there, with a key-encryption key that
// can be changed. A wrong one refuses to start and says what to do. Keys of now sign as before.
func TestKeysEncrypted(t *testing.T) {
	w := newWorld(t)
	kid, raw := w.signing(), w.issue("idp")
	if keys := w.storedKeys(); keys[0].Sealed != "" || w.server.KeysEncrypted() {
		t.Fatal("the key is encrypted without a key-encryption key")
	}
	restart := func(current, former *oauth.KeyEncryptionKey) error {
		w.server.Close()
		w.options.Encryption, w.options.FormerEncryption = current, former
		s, err := w.serve(t.Context())
		if err == nil {
			w.server = s
		}
		return err
	}
	check := func(when string) {
		t.Helper()
		keys := w.storedKeys()
		if len(keys) != 1 || keys[0].Sealed == "" || bytes.Contains(keys[0].JWK, []byte(`"d"`)) || !w.server.KeysEncrypted() {
			t.Errorf("%s: the key is stored in plain", when)
		}
		if _, err := w.accessVerifier("acme", acme).Verify(t.Context(), raw); err != nil || w.signing() != kid {
			t.Errorf("%s: %v", when, err)
		}
	}
	one, two, three := kek(t, 1), kek(t, 2), kek(t, 3)
	if err := restart(one, nil); err != nil {
		t.Fatal(err)
	}
	check("turned on")
	under := w.storedKeys()[0].Sealed
	for name, row := range map[string][2]*oauth.KeyEncryptionKey{
		"none": {nil, nil}, "a wrong one": {two, nil}, "two wrong ones": {two, three},
	} {
		err := restart(row[0], row[1])
		if err == nil || !strings.Contains(err.Error(), "key_encryption_key_file") || !strings.Contains(err.Error(), under) {
			t.Errorf("start with %s: %v", name, err)
		}
	}
	if err := restart(two, one); err != nil {
		t.Fatal(err)
	}
	check("changed")
	if w.storedKeys()[0].Sealed == under {
		t.Error("the key is still under the former key-encryption key")
	}
	if err := restart(two, nil); err != nil {
		t.Fatal(err)
	}
	check("without the former one")
	if _, err := w.server.RotateKeys(t.Context(), "acme", operator("oauth.key.rotate")); err != nil {
		t.Fatal(err)
	}
	if keys := w.storedKeys(); slices.ContainsFunc(keys, func(k store.Key) bool { return k.Sealed == "" }) {
		t.Error("a new key is stored in plain")
	}
}

// TestSealedKeyStaysInItsPlace: a sealed key does not open at another tenant or under another name.
func TestSealedKeyStaysInItsPlace(t *testing.T) {
	w := newWorld(t, func(w *world) { w.options.Encryption = kek(t, 1) })
	k := w.storedKeys()[0]
	_, err := w.store.Update(t.Context(), "globex", operator("oauth.key.move"), func(tx *store.Tx) error {
		k.Signs = start.Add(time.Hour)
		return tx.PutKey(k)
	})
	if err != nil {
		t.Fatal(err)
	}
	w.server.Close()
	if _, err := w.serve(t.Context()); err == nil || !strings.Contains(err.Error(), "belongs to another tenant") {
		t.Errorf("start with a key of another tenant: %v", err)
	}
}

// TestKeyEncryptionKeyText: 32 bytes as base64 or hexadecimal text, nothing else. An error quotes nothing.
func TestKeyEncryptionKeyText(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, 32)
	for _, text := range []string{
		hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw) + "\r\n",
	} {
		if _, err := oauth.NewKeyEncryptionKey([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", "secret-text", hex.EncodeToString(raw[:31]), base64.StdEncoding.EncodeToString(raw[:16]), string(raw),
	} {
		_, err := oauth.NewKeyEncryptionKey([]byte(text))
		if err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestLostKeyEncryptionKey: with the switch for it, a start makes new keys in place of those that it cannot
// decrypt. What they signed is refused; their evidence still verifies.
func TestLostKeyEncryptionKey(t *testing.T) {
	for name, next := range map[string]*oauth.KeyEncryptionKey{"another": kek(t, 2), "none": nil} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.options.Encryption = kek(t, 1) })
			lost, raw := w.signing(), w.issue("idp")
			w.options.Encryption, w.options.ReplaceUnreadable = next, true
			w.advance(time.Second)
			w.reopen()
			w.wantStates("after the start", oauth.KeySigning, oauth.KeyRetired)
			if w.published("/oauth/jwks", lost) || !w.published("/oauth/evidence-keys", lost) {
				t.Error("the lost key is published for tokens, or not for evidence")
			}
			v := w.accessVerifier("acme", acme)
			if _, err := v.Verify(t.Context(), raw); reason(err) != token.ReasonKey {
				t.Errorf("token of the lost key: %v", err)
			}
			if _, err := v.Verify(t.Context(), w.issue("idp")); err != nil {
				t.Errorf("token of the new key: %v", err)
			}
			now := w.signing()
			w.reopen()
			if w.signing() != now {
				t.Error("the next start replaces readable keys")
			}
		})
	}
}
