package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scimward/scimward/sidecar/internal/oauth"
	"github.com/scimward/scimward/sidecar/internal/token"
	"github.com/scimward/scimward/store"
)

// sharing has a second server on the store of the first. Confirm returns what confirmed says.
func sharing(t *testing.T, confirmed func() error) (w *world, second *oauth.Server) {
	t.Helper()
	w = newWorld(t, func(w *world) {
		w.options.Confirm = func(context.Context) error { return confirmed() }
	})
	second, err := w.serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	return w, second
}

// proofsOf returns the verifier of acme's proofs.
func proofsOf(t *testing.T, s *oauth.Server) *token.Proofs {
	t.Helper()
	own, err := s.Own("acme")
	if err != nil {
		t.Fatal(err)
	}
	return own.Proofs
}

// TestProofsAreShared: processes with one store accept each other's nonces, also after a rotation and a restart, and
// a proof that one of them accepted is used up at all.
func TestProofsAreShared(t *testing.T) {
	w, second := sharing(t, func() error { return nil })
	k := w.proofKey()
	request := &token.ProofRequest{Method: "POST", URL: acme + "/oauth/token", ID: "r", Nonce: true}
	verify := func(s *oauth.Server, proof, id string) token.Reason {
		r := *request
		r.ID = id
		_, err := proofsOf(t, s).Verify(t.Context(), proof, &r)
		return reason(err)
	}
	for round, change := range []func(){
		func() {},
		func() { // a proof from before the start needs nothing more
			w.reopen()
			second.Close()
			var err error
			if second, err = w.serve(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Close)
		},
		func() {
			if _, err := second.RotateKeys(t.Context(), "acme", operator("oauth.key.rotate")); err != nil {
				t.Fatal(err)
			}
			w.advance(time.Minute)
		},
	} {
		proof := k.sign(object{"nonce": proofsOf(t, w.server).Nonce()})
		change()
		if got := verify(second, proof, "one"); got != "" {
			t.Errorf("round %d: a nonce of another process: %s", round, got)
		}
		for _, id := range []string{"one", "two"} {
			if got := verify(w.server, proof, id); got != token.ReasonProofReplay {
				t.Errorf("round %d: a proof that another process accepted: %q, want a replay", round, got)
			}
		}
	}
}

// TestApart: a process that is out of touch with the others neither issues a token nor takes a proof, and says at once
// why. When it is back, the same assertion is good.
func TestApart(t *testing.T) {
	var apart error
	w := newWorld(t, func(w *world) {
		w.options.Confirm = func(context.Context) error { return nil }
		w.options.InTouch = func() error { return apart }
		w.options.Current = func(context.Context) error { return apart }
	})
	assertion := w.assert("idp", object{"jti": w.fresh()})
	k := w.proofKey()
	verify := func() error {
		proof := k.sign(object{"nonce": proofsOf(t, w.server).Nonce()})
		_, err := proofsOf(t, w.server).Verify(t.Context(), proof, &token.ProofRequest{
			Method: "POST", URL: acme + "/oauth/token", ID: "r", Nonce: true,
		})
		return err
	}
	apart = errors.New("no lease")
	refused := w.do(post(acme, form(assertion).Encode()))
	if text := refused.Body.String(); refused.Code != 503 || !strings.Contains(text, "another core") {
		t.Errorf("asking a process out of touch: %d %s, want 503 that says what to do", refused.Code, text)
	}
	if err := verify(); !errors.Is(err, apart) {
		t.Errorf("a proof at a process out of touch: %v, want that it is", err)
	}
	apart = nil
	if code, body := w.ask(assertion); code != http.StatusOK {
		t.Errorf("the same assertion, when the process is back: %d %v", code, body)
	}
	if err := verify(); err != nil {
		t.Errorf("a proof, when the process is back: %v", err)
	}
}

// TestProofDoesNotWaitForTheLog: a process that is cut off and does not know it yet refuses a request with a proof in
// time for the answer. A new proof is good when the log is back.
func TestProofDoesNotWaitForTheLog(t *testing.T) {
	var cut atomic.Bool
	back := make(chan struct{})
	w := newWorld(t, func(w *world) {
		w.options.Confirm = func(context.Context) error { return nil }
		w.options.ProofWait = 50 * time.Millisecond
		w.faults.BeforeCommit = func() error {
			if cut.Load() {
				<-back
			}
			return nil
		}
	})
	k := w.proofKey()
	verify := func() error {
		_, err := proofsOf(t, w.server).Verify(t.Context(), k.sign(object{"jti": w.fresh()}), &token.ProofRequest{
			Method: "POST", URL: acme + "/oauth/token", ID: w.fresh(),
		})
		return err
	}
	cut.Store(true)
	if err := verify(); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a proof at a process that is cut off: %v, want that nobody answered in time", err)
	}
	cut.Store(false)
	close(back)
	if err := verify(); err != nil {
		t.Errorf("a proof when the log is back: %v", err)
	}
}

// TestTokenAnswerWaits: a revocation, and a token of a key that signs at once, is answered when the other processes
// have it. A revocation of a dead token waits too: another process may have revoked it just now.
func TestTokenAnswerWaits(t *testing.T) {
	asked, fault := 0, error(nil)
	w, second := sharing(t, func() error { asked++; return fault })
	revoke := func(raw string) int { return w.about("revoke", "idp", raw).Code }
	want := func(what string, n int) {
		t.Helper()
		if asked != n {
			t.Errorf("%s: asked the other processes %d times, want %d", what, asked, n)
		}
		asked = 0
	}
	raw := w.issue("idp")
	want("a token of the first key", 1)
	if code := revoke(raw); code != http.StatusOK {
		t.Errorf("revoking: %d", code)
	}
	want("a revocation", 1)
	for range 2 {
		w.server, second = second, w.server
		v := w.accessVerifier("acme", acme)
		if _, err := v.Verify(t.Context(), raw); reason(err) != token.ReasonRevoked {
			t.Errorf("a revoked token: %v", err)
		}
	}
	if code := revoke(raw); code != http.StatusOK {
		t.Errorf("revoking again: %d", code)
	}
	want("a revocation of a dead token", 1)
	fault = errors.New("cut off")
	if code := revoke(raw); code != http.StatusServiceUnavailable {
		t.Errorf("revoking without the others: %d, want 503", code)
	}
	if code, _ := w.ask(w.assert("idp", object{"jti": w.fresh()})); code != http.StatusServiceUnavailable {
		t.Errorf("a token of a young key without the others: %d, want 503", code)
	}
	asked, fault = 0, nil
	w.advance(11 * time.Minute)
	w.issue("idp")
	want("a token of a key that all have", 0)
	if _, err := second.DropKey(t.Context(), "acme", w.signing(), operator("oauth.key.drop")); err != nil {
		t.Fatal(err)
	}
	w.issue("idp")
	want("a token of the key that follows a dropped one", 1)
}
