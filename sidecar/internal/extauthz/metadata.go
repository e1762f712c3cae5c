package extauthz

import (
	"cmp"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/request"
	"github.com/scimward/scimward/store/subject"
)

// MetadataNamespace is where Envoy keeps the dynamic metadata of a CheckResponse. The
// ext_proc filter must forward it (metadata_options.forwarding_namespaces.untyped).
const MetadataNamespace = "envoy.filters.http.ext_authz"

// The keys within the namespace. A name's key is metaPrefix and its kind; the value is a
// string, or a list when the person has several.
const (
	metaPrefix = "scimward_"
	metaTenant = metaPrefix + "tenant"
	metaApp    = metaPrefix + "app"
	metaLeash  = metaPrefix + "leash" // "yes" when the user is known, else "no"
	metaIssued = metaPrefix + "issued"
)

// values returns the elements of a list, or v itself.
func values(v *structpb.Value) []*structpb.Value {
	if list := v.GetListValue(); list != nil {
		return list.GetValues()
	}
	return []*structpb.Value{v}
}

// stream is the tenant, application and caller of an open request. A request with the zero caller
// has no user, so no lock can end it.
type stream struct {
	tenant, app string
	caller      authz.Caller
	request     request.Request // only what tells its route
}

// readRoute reads what tells the route of a request from the first message about it.
func (s *stream) readRoute(m *extproc.ProcessingRequest) {
	s.request = request.Request{Surface: request.SurfaceApp, Tenant: s.tenant, App: s.app, Headers: request.Headers{}}
	for _, h := range m.GetRequestHeaders().GetHeaders().GetHeaders() {
		value := cmp.Or(string(h.GetRawValue()), h.GetValue())
		switch h.GetKey() {
		case ":method":
			s.request.Method = value
		case ":path":
			s.request.Path, s.request.Query, _ = strings.Cut(value, "?")
		case "upgrade":
			s.request.Headers["upgrade"] = append(s.request.Headers["upgrade"], value)
		}
	}
}

// readMetadata reads what [allow] wrote. It returns nil when the namespace is missing or
// [allow] did not write it.
func readMetadata(m *corev3.Metadata) *stream {
	f := m.GetFilterMetadata()[MetadataNamespace].GetFields()
	s := &stream{tenant: f[metaTenant].GetStringValue(), app: f[metaApp].GetStringValue()}
	known := f[metaLeash].GetStringValue()
	if s.tenant == "" || s.app == "" || known != "yes" && known != "no" {
		return nil
	}
	for key, v := range f {
		if kind, ok := strings.CutPrefix(key, metaPrefix); ok && kind != "" {
			for _, value := range values(v) {
				s.caller.Add(subject.Name(kind), value.GetStringValue()) // ignores the other keys
			}
		}
	}
	if v := f[metaIssued].GetStringValue(); v != "" {
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return nil
		}
		s.caller.IssuedAt = at
	}
	if s.caller.Known() != (known == "yes") {
		return nil
	}
	return s
}
