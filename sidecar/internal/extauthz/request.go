package extauthz

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/sidecar/passes"
)

// The context extensions a route must set. They come from Envoy's configuration,
// never from the client.
const (
	ExtensionSurface = "surface" // "scim", "oauth", "app"
	ExtensionTenant  = "tenant"
	ExtensionApp     = "app"
	ExtensionPasses  = passes.Extension // what Envoy passes on, for surface "app"
)

// complete adds to a decoded request what the message does not say. Whatever is missing stays
// empty, and authz denies an empty surface, path, host or method. It ignores Envoy's own id of
// the stream, which appears in no log of the application.
func complete(r *request.Request, maxBody int) {
	r.ID = request.ID(first(r.Headers["x-request-id"]), rand.Text)
	r.Partial = partial(len(r.Body), r.Headers, maxBody)
	r.Later = r.Surface == request.SurfaceSCIM
}

// partial reports whether bytes of the body may be missing. The client's own word on it
// (x-envoy-auth-partial-body) does not count. A body that fills the buffer may be only the
// start of a longer one, unless its declared length says otherwise; a declared length
// without the bytes means that Envoy did not buffer the body.
func partial(size int, hs request.Headers, maxBody int) bool {
	length, declared := contentLength(hs["content-length"])
	return declared && length != int64(size) || size > maxBody || size == maxBody && !declared
}

// contentLength reads the declared length. One that is no number counts as a declared
// length that no body has.
func contentLength(vs []string) (int64, bool) {
	if len(vs) == 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(vs[0], 10, 62)
	if err != nil || len(vs) > 1 {
		return -1, true
	}
	return int64(n), true
}

func first(vs []string) string {
	if len(vs) == 0 {
		return ""
	}
	return vs[0]
}

func acceptsJSON(h request.Headers) bool {
	for _, v := range h["accept"] {
		if strings.Contains(strings.ToLower(v), "json") {
			return true
		}
	}
	return false
}
