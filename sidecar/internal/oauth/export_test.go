package oauth

import "net/http"

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
