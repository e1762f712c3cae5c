package oauth

import (
	"fmt"
	"net/http"
	"time"

	"github.com/scimward/scimward/sidecar/internal/token"
)

// ErrorResponse writes the answer to err.
func ErrorResponse(w http.ResponseWriter, err error) { writeError(w, answerFor(err)) }

// Refusals returns one refusal of every fault, by name.
func Refusals() map[string]error {
	out := map[string]error{"client": refuse(faultClient, `quote " backslash \ line`+"\n"+"é")}
	for name, f := range map[string]fault{
		"tenant": faultTenant, "not found": faultNotFound, "method": faultMethod, "request": faultRequest,
		"too large": faultTooLarge, "media": faultMedia, "grant": faultGrant, "scope": faultScope, "target": faultTarget,
		"unauthorized": faultUnauthorized, "of another": faultGrantOther, "token type": faultTokenType,
		"authorization": faultAuthorization, "basic": faultBasic,
	} {
		out[name] = refuse(f, "x")
	}
	return out
}

// Revoked returns how many revoked tokens of a tenant are in memory.
func Revoked(s *Server, tenant string) int { return len(s.tenant(tenant).state.revoked.until) }

// FullDenylist returns a list of n revoked tokens, token-0 and so on.
func FullDenylist(n int) token.Revocations {
	d := &denylist{until: map[string]time.Time{}}
	for i := range n {
		d.add(fmt.Sprint("token-", i), time.Now().Add(time.Hour))
	}
	return d
}
