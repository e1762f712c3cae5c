package scimhttp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// mediaType is on every answer, without a charset: RFC 7644 §3.1, and strict
// clients compare it.
const mediaType = "application/scim+json"

// timeForm is xsd:dateTime with milliseconds, in UTC (RFC 7643 §2.3.5).
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// memberPage is how many edges are read at once.
const memberPage = 1000

// writeJSON sends a whole body.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store") // answers name people
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// An error means that the client is gone: there is nobody to tell.
	_, _ = w.Write(body) //nolint:gosec // JSON under application/scim+json, made by scim.Encode; no browser renders it
}

// writeEmpty answers a PATCH with 204. It carries a Content-Type all the same,
// because client libraries read it before they look at the status (design: dialects
// §2.6). A DELETE is answered without.
func writeEmpty(w http.ResponseWriter) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusNoContent)
}

// etag is the value of meta.version: the version of the store as a weak entity tag.
func etag(v store.Seq) string { return fmt.Sprintf(`W/"%d"`, uint64(v)) }

// renderer turns stored rows into SCIM resources for one request.
type renderer struct {
	base       string // of the tenant, no trailing slash
	t          *scim.ResourceType
	attributes []string
	excluded   []string
	limit      int // members a list, or a filter, may read
	budget     int // what is left of it
}

func (h *Handler) renderer(tenant string, t *scim.ResourceType, q scim.Query) *renderer {
	return &renderer{
		base: h.o.Base(tenant), t: t,
		attributes: q.Attributes, excluded: q.Excluded,
		limit: h.o.MemberLimit, budget: h.o.MemberLimit,
	}
}

func (v *renderer) wants(name string) bool {
	return scim.Wants(v.t, v.attributes, v.excluded, name)
}

func (v *renderer) location(id string) string { return v.base + "/" + v.t.Endpoint + "/" + id }

// frame returns a copy of a stored resource with the attributes the store does
// not keep inside it: schemas, id and meta (RFC 7643 §3.1).
func (v *renderer) frame(res scim.Object, id string, created, modified time.Time, version store.Seq) scim.Object {
	o := make(scim.Object, len(res)+4)
	maps.Copy(o, res)
	o["schemas"] = scim.Schemas(v.t, res)
	o["id"] = id
	o["meta"] = scim.Object{
		"resourceType": v.t.ID,
		"created":      created.UTC().Format(timeForm),
		"lastModified": modified.UTC().Format(timeForm),
		"location":     v.location(id),
		"version":      etag(version),
	}
	return o
}

// userFrame is the full resource of a user but for groups.
func (v *renderer) userFrame(u *store.User) scim.Object {
	o := v.frame(u.Resource, u.ID, u.Created, u.Modified, u.Version)
	if _, ok := o["active"]; !ok {
		o["active"] = true // F35: what is not said counts as true, and is said in answers
	}
	if ext, ok := o[scim.EnterpriseUserURN].(scim.Object); ok {
		o[scim.EnterpriseUserURN] = v.withManagerRef(ext)
	}
	return o
}

// withManagerRef sets manager.$ref under the outside base (F20, F21).
func (v *renderer) withManagerRef(ext scim.Object) scim.Object {
	m, ok := ext["manager"].(scim.Object)
	if !ok || m.String("value") == "" {
		return ext
	}
	out, manager := maps.Clone(ext), maps.Clone(m)
	manager["$ref"] = v.base + "/" + endpointUsers + "/" + m.String("value")
	out["manager"] = manager
	return out
}

// groupsOf renders the read-only groups attribute of a user or of a nested group
// from the reverse edges (F14).
func (v *renderer) groupsOf(r *store.Reader, id string) ([]any, error) {
	ids, err := r.GroupsOf(id)
	if err != nil {
		return nil, fmt.Errorf("reading the groups of %s: %w", id, err)
	}
	out := make([]any, 0, len(ids))
	for _, gid := range ids {
		g, err := r.Group(gid)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted since the edge was listed
		}
		if err != nil {
			return nil, fmt.Errorf("reading group %s: %w", gid, err)
		}
		o := scim.Object{"value": gid, "$ref": v.base + "/" + endpointGroups + "/" + gid, "type": "direct"}
		if name := g.Resource.String("displayName"); name != "" {
			o["display"] = name
		}
		out = append(out, o)
	}
	return out, nil
}

// user renders a user as the request asked for it.
func (v *renderer) user(r *store.Reader, u *store.User) ([]byte, error) {
	o := v.userFrame(u)
	if v.wants("groups") {
		groups, err := v.groupsOf(r, u.ID)
		if err != nil {
			return nil, err
		}
		if len(groups) > 0 {
			o["groups"] = groups
		}
	}
	return v.encode(o), nil
}

// group renders a group as the request asked for it. The members are read only
// when they are part of the answer (B74, F59), and never become maps: a large
// group costs about 150 bytes a member.
func (v *renderer) group(r *store.Reader, g *store.Group) ([]byte, error) {
	body := v.encode(v.frame(g.Resource, g.ID, g.Created, g.Modified, g.Version))
	if g.Members == 0 || !v.wants("members") {
		return body, nil
	}
	if v.budget -= g.Members; v.budget < 0 {
		return nil, scim.Errorf(http.StatusBadRequest, scim.TypeTooMany,
			"the answer would hold more than %d members; ask with excludedAttributes=members, or for fewer groups", v.limit)
	}
	shape := v.memberShape()
	buf := bytes.NewBuffer(bytes.TrimSuffix(body, []byte("}")))
	buf.WriteString(`,"members":[`)
	first := true
	err := eachMember(r, g.ID, func(m store.Member) {
		if !first {
			buf.WriteByte(',')
		}
		first = false
		shape.write(buf, v.base, m)
	})
	if err != nil {
		return nil, err
	}
	if first { // the count in the header disagrees with the edges
		return body, nil
	}
	buf.WriteString("]}")
	return buf.Bytes(), nil
}

// encode projects and encodes. schemas and id stay whatever was asked
// (RFC 7643 §7, returned "always").
func (v *renderer) encode(o scim.Object) []byte {
	out := scim.Project(v.t, o, v.attributes, v.excluded)
	for _, name := range []string{"schemas", "id"} {
		if _, ok := out[name]; !ok {
			out[name] = o[name]
		}
	}
	return scim.Encode(out)
}

// eachMember walks the edges of a group a page at a time.
func eachMember(r *store.Reader, gid string, fn func(store.Member)) error {
	after := ""
	for {
		page, err := r.Members(gid, after, memberPage)
		if err != nil {
			return fmt.Errorf("reading the members of %s: %w", gid, err)
		}
		for _, m := range page {
			fn(m)
		}
		if len(page) < memberPage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

// memberShape is which parts of a member were asked for.
type memberShape struct{ value, ref, kind bool }

// memberShape asks the projection what it would leave of one member.
func (v *renderer) memberShape() memberShape {
	probe := scim.Object{"members": []any{scim.Object{"value": "v", "$ref": "r", "type": "User"}}}
	elems, ok := scim.Project(v.t, probe, v.attributes, v.excluded)["members"].([]any)
	if !ok || len(elems) != 1 {
		return memberShape{value: true}
	}
	m, ok := elems[0].(scim.Object)
	if !ok {
		return memberShape{value: true}
	}
	return memberShape{value: m.String("value") != "", ref: m.String("$ref") != "", kind: m.String("type") != ""}
}

// write appends one member. Ids are made by the store and types are one of two
// words; both are encoded like any string all the same.
func (s memberShape) write(buf *bytes.Buffer, base string, m store.Member) {
	sep := byte('{')
	field := func(name, value string) {
		buf.WriteByte(sep)
		sep = ','
		buf.WriteString(name)
		writeString(buf, value)
	}
	if s.value {
		field(`"value":`, m.ID)
	}
	if s.ref {
		field(`"$ref":`, base+"/"+endpointOfMember(m)+"/"+m.ID)
	}
	if s.kind {
		field(`"type":`, m.Type)
	}
	if sep == '{' {
		buf.WriteByte('{')
	}
	buf.WriteByte('}')
}

// endpointOfMember is where the resource behind an edge lives.
func endpointOfMember(m store.Member) string {
	if m.Type == "Group" {
		return endpointGroups
	}
	return endpointUsers
}

// writeString appends a JSON string.
func writeString(buf *bytes.Buffer, s string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic("scimhttp: encoding a string: " + err.Error()) // cannot happen: any string encodes
	}
	buf.Write(b)
}

// listBody renders a ListResponse (F51): the numbers first, then the resources,
// which are encoded already.
func listBody(total, start int, resources [][]byte) []byte {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, `{"schemas":[%q],"totalResults":%d,"startIndex":%d,"itemsPerPage":%d,"Resources":[`,
		scim.ListURN, total, start, len(resources))
	buf.Write(bytes.Join(resources, []byte{','}))
	buf.WriteString("]}")
	return buf.Bytes()
}
