package extauthz

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/scimward/scimward/sidecar/internal/authz"
)

// MetadataNamespace is where Envoy keeps the dynamic metadata of a CheckResponse,
// and from where the ext_proc filter must forward it
// (metadata_options.forwarding_namespaces.untyped).
const MetadataNamespace = "envoy.filters.http.ext_authz"

// The keys within the namespace. They are flat strings: small to write and small
// to read.
const (
	metaTenant = "scimward_tenant"
	metaLeash  = "scimward_leash" // "yes" where the user is known, else "no"
	metaIssued = "scimward_issued"
)

// names lists the name fields of a subject with their metadata keys.
func names(s *authz.Subject) []struct {
	key string
	val *string
} {
	return []struct {
		key string
		val *string
	}{
		{"scimward_scim_id", &s.SCIMID},
		{"scimward_user_name", &s.UserName},
		{"scimward_external_id", &s.ExternalID},
		{"scimward_email", &s.Email},
		{"scimward_app_user_id", &s.AppUserID},
	}
}

// metadata tells the leash whose request it is. It is written for every allowed
// application request, so that a leash that finds none knows that Envoy is not
// forwarding it, and refuses.
func metadata(d *authz.Decision) *structpb.Struct {
	leash := "no"
	if d.Subject.Known() { // on every route: which of them are leashed is Envoy's configuration
		leash = "yes"
	}
	f := map[string]*structpb.Value{
		metaTenant: structpb.NewStringValue(d.Tenant),
		metaLeash:  structpb.NewStringValue(leash),
	}
	s := d.Subject
	for _, n := range names(&s) {
		if *n.val != "" {
			f[n.key] = structpb.NewStringValue(*n.val)
		}
	}
	if !s.IssuedAt.IsZero() {
		f[metaIssued] = structpb.NewStringValue(s.IssuedAt.UTC().Format(time.RFC3339Nano))
	}
	return &structpb.Struct{Fields: f}
}

// readMetadata is the reverse. ok is false where the namespace is missing or not
// written by metadata; known is false for a request that nobody is known for.
func readMetadata(m *corev3.Metadata) (tenant string, s authz.Subject, known, ok bool) {
	f := m.GetFilterMetadata()[MetadataNamespace].GetFields()
	tenant = f[metaTenant].GetStringValue()
	switch f[metaLeash].GetStringValue() {
	case "yes":
		known = true
	case "no":
		return tenant, s, false, tenant != ""
	default:
		return "", s, false, false
	}
	for _, n := range names(&s) {
		*n.val = f[n.key].GetStringValue()
	}
	if v := f[metaIssued].GetStringValue(); v != "" {
		at, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return "", authz.Subject{}, false, false
		}
		s.IssuedAt = at
	}
	return tenant, s, known, tenant != "" && s.Known()
}
