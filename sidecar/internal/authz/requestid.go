package authz

// maxRequestID bounds a request id, in bytes.
const maxRequestID = 128

// RequestID returns the id by which a request stands in logs and audit records: the
// x-request-id that the proxy sent, where that is 1 to 128 visible ASCII
// characters, else a new one of fresh. Every surface uses it, so that one request
// has one id wherever it left a trace.
func RequestID(sent string, fresh func() string) string {
	if sent == "" || len(sent) > maxRequestID {
		return fresh()
	}
	for i := range len(sent) {
		if sent[i] <= ' ' || sent[i] >= 0x7f {
			return fresh()
		}
	}
	return sent
}
