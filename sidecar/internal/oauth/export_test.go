package oauth

import "net/http"

// ErrorResponse writes what the mapping makes of err.
func ErrorResponse(w http.ResponseWriter, err error) { writeError(w, answerFor(err)) }

// Refusals returns one refusal of every fault there is, by name.
func Refusals() map[string]error {
	return map[string]error{
		"tenant": &refusal{fault: faultTenant}, "not found": &refusal{fault: faultNotFound},
		"method": &refusal{fault: faultMethod}, "request": &refusal{fault: faultRequest, detail: "x"},
		"too large": &refusal{fault: faultTooLarge, detail: "x"}, "media": &refusal{fault: faultMedia, detail: "x"},
		"grant": &refusal{fault: faultGrant}, "scope": &refusal{fault: faultScope}, "target": &refusal{fault: faultTarget, detail: "x"},
		"client":        &refusal{fault: faultClient, detail: `quote " backslash \ line` + "\n" + "é"},
		"authorization": &refusal{fault: faultAuthorization, detail: "x", scheme: "Basic"},
	}
}
