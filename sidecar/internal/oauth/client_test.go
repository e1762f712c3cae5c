package oauth_test

import (
	"strings"
	"testing"
)

// TestRefusedAssertionIsLogged: the event says why, and whose it claims to be. It never contains the
// assertion.
func TestRefusedAssertionIsLogged(t *testing.T) {
	w := newWorld(t)
	for _, row := range []struct{ raw, want string }{
		{w.assert("idp", object{"aud": globex}), `"token":"audience","token_issuer":"idp","token_client":"\"idp\"","token_key":`},
		{w.assert("nobody", nil), `"token":"issuer","token_issuer":"\"nobody\"","token_client":"\"nobody\"","token_key":`},
		{w.sign("nobody", "JWT", w.claims(nil)), `"token":"key","token_issuer":"idp","token_client":"\"idp\"","token_key":`},
	} {
		w.logs.Reset()
		if status, _ := w.ask(row.raw); status != 401 {
			t.Errorf("%s: answered %d", row.want, status)
		}
		if log := w.logs.String(); !strings.Contains(log, row.want) || strings.Contains(log, row.raw[len(row.raw)-20:]) {
			t.Errorf("logged %s, want %s", log, row.want)
		}
	}
}
