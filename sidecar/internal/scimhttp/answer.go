package scimhttp

import (
	"bytes"
	"context"
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

// mediaType is the Content-Type of every answer (RFC 7644 §3.1). It has no charset, because strict
// clients compare the whole value.
const mediaType = "application/scim+json"

// timeForm is xsd:dateTime with milliseconds, in UTC (RFC 7643 §2.3.5).
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// memberPage is the number of edges in one read.
const memberPage = 1000

// writeJSON sends an answer with a body.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store") // answers contain personal data
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON that scim.Encode made, not HTML; it fails only if the client disconnected
}

// writeEmpty answers a PATCH with 204 and the ETag of the changed resource. It sets a Content-Type,
// because some client libraries read it before the status. The answer to a DELETE has neither.
func writeEmpty(w http.ResponseWriter, t tag) {
	w.Header().Set("ETag", t.etag())
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusNoContent)
}

// rendered is a resource as an answer has it, or only its tag where the client has the rest.
type rendered struct {
	body []byte
	tag  tag
}

// write answers with the resource.
func (a rendered) write(w http.ResponseWriter, status int) {
	w.Header().Set("ETag", a.tag.etag())
	writeJSON(w, status, a.body)
}

// writeRead answers a read: 304 if the client has the answer already.
func (a rendered) writeRead(w http.ResponseWriter, p preconditions) error {
	notModified, err := p.read(a.tag)
	if err != nil {
		return err
	}
	if !notModified {
		a.write(w, http.StatusOK)
		return nil
	}
	w.Header().Set("ETag", a.tag.etag())
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNotModified)
	return nil
}

// renderer renders stored rows as SCIM resources for one request.
type renderer struct {
	base       string // URL of the tenant, without a trailing slash
	t          *scim.ResourceType
	attributes []string
	excluded   []string
	limit      int // members that a filter may read, and that a page has before its last group
	budget     int // members that a filter may still read; starts at limit
	written    int // members in the answer
}

// errPageFull says that a group has more members than the answer may still have. The first group with
// members always fits, so a client that reads page after page reaches every group.
var errPageFull = errors.New("the page has no room for the members of the next group")

func (h *Handler) renderer(x *exchange) *renderer {
	return &renderer{
		base: h.opts.Base(x.Tenant), t: x.scim.Type,
		attributes: x.scim.Query.Attributes, excluded: x.scim.Query.Excluded,
		limit: h.bounds.Members, budget: h.bounds.Members,
	}
}

// render returns what fn renders from one snapshot.
func render[T any](ctx context.Context, h *Handler, x *exchange, fn func(*store.Reader) (T, error)) (out T, err error) {
	err = h.opts.Store.View(ctx, x.Tenant, func(r *store.Reader) (err error) {
		out, err = fn(r)
		return err
	})
	return out, err
}

// writeChanged answers a change with the resource. For a new resource it adds the location.
func (v *renderer) writeChanged(w http.ResponseWriter, status int, id string, a rendered) {
	if status == http.StatusCreated {
		w.Header().Set("Location", v.location(id))
	}
	a.write(w, status)
}

func (v *renderer) wants(name string) bool {
	return scim.Wants(v.t, v.attributes, v.excluded, name)
}

func (v *renderer) location(id string) string { return v.base + "/" + v.t.Endpoint + "/" + id }

// groupFrame returns a group without members.
func (v *renderer) groupFrame(g *store.Group) scim.Object {
	return v.frame(g.Resource, g.ID, g.Created, g.Modified, g.Version)
}

// frame returns a copy of a stored resource with schemas, id and meta (RFC 7643 §3.1). The store
// keeps these outside the resource.
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
		"version":      tagOf(version).etag(),
	}
	return o
}

// userFrame returns a user without groups.
func (v *renderer) userFrame(u *store.User) scim.Object {
	o := v.frame(u.Resource, u.ID, u.Created, u.Modified, u.Version)
	if _, ok := o["active"]; !ok {
		o["active"] = true // the default, which answers show
	}
	if ext, ok := o[scim.EnterpriseUserURN].(scim.Object); ok {
		o[scim.EnterpriseUserURN] = v.withManagerRef(ext)
	}
	return o
}

// withManagerRef sets manager.$ref (RFC 7643 §4.3) to the external URL.
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

// groupsOf renders the read-only groups of a user (RFC 7643 §4.1.2) from the reverse edges.
func (v *renderer) groupsOf(r *store.Reader, id string) ([]any, error) {
	ids, err := r.GroupsOf(id)
	if err != nil {
		return nil, fmt.Errorf("reading the groups of %s: %w", id, err)
	}
	out := make([]any, 0, len(ids))
	for _, gid := range ids {
		g, err := r.Group(gid)
		if errors.Is(err, store.ErrNotFound) {
			continue // the group is deleted and the edge remains
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

// userObject returns a user and its tag, with groups if withGroups is set.
func (v *renderer) userObject(r *store.Reader, u *store.User, withGroups bool) (scim.Object, tag, error) {
	o, t := v.userFrame(u), tagOf(u.Version)
	if !withGroups {
		return o, t, nil
	}
	groups, err := v.groupsOf(r, u.ID)
	if len(groups) > 0 {
		t = t.with(groups)
		o["groups"] = groups
		if meta, ok := o["meta"].(scim.Object); ok {
			meta["version"] = t.etag()
		}
	}
	return o, t, err
}

// user renders a user with the requested attributes.
func (v *renderer) user(r *store.Reader, u *store.User) (rendered, error) {
	o, t, err := v.userObject(r, u, v.wants("groups"))
	if err != nil {
		return rendered{}, err
	}
	return rendered{v.encode(o), t}, nil
}

// group renders a group with the requested attributes. It reads the members only if the answer
// contains them. It writes them without maps, because a member of a large group costs about 150
// bytes.
func (v *renderer) group(r *store.Reader, g *store.Group) (rendered, error) {
	out := rendered{v.encode(v.groupFrame(g)), tagOf(g.Version)}
	if g.Members == 0 || !v.wants(attrMembers) {
		return out, nil
	}
	if v.written > 0 && v.written+g.Members > v.limit {
		return rendered{}, errPageFull
	}
	v.written += g.Members
	shape := v.memberShape()
	buf := bytes.NewBuffer(bytes.TrimSuffix(out.body, []byte("}")))
	buf.WriteString(`,"members":[`)
	first := true
	err := eachMember(r, g.ID, func(m store.Member) {
		if !first {
			buf.WriteByte(',')
		}
		first = false
		shape.write(buf, v.memberRef(m), m)
	})
	if err != nil {
		return rendered{}, err
	}
	if !first { // otherwise the row's count disagrees with the edges
		buf.WriteString("]}")
		out.body = buf.Bytes()
	}
	return out, nil
}

// encode selects the requested attributes and encodes them. schemas and id are always returned (RFC
// 7643 §7).
func (v *renderer) encode(o scim.Object) []byte {
	out := scim.Project(v.t, o, v.attributes, v.excluded)
	for _, name := range []string{"schemas", "id"} {
		if _, ok := out[name]; !ok {
			out[name] = o[name]
		}
	}
	return scim.Encode(out)
}

// eachMember calls fn for each member of a group. It reads a page of edges at a time.
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

// memberShape tells which parts of a member were requested.
type memberShape struct{ value, ref, kind bool }

// memberShape projects a sample member and checks which parts remain.
func (v *renderer) memberShape() memberShape {
	probe := scim.Object{"members": []any{scim.Object{"value": "v", "$ref": "r", "type": "User"}}}
	var m scim.Object
	if elems, ok := scim.Project(v.t, probe, v.attributes, v.excluded)["members"].([]any); ok && len(elems) == 1 {
		m, _ = elems[0].(scim.Object)
	}
	if m == nil {
		return memberShape{value: true}
	}
	return memberShape{value: m.String("value") != "", ref: m.String("$ref") != "", kind: m.String("type") != ""}
}

// write appends one member.
func (s memberShape) write(buf *bytes.Buffer, ref string, m store.Member) {
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
		field(`"$ref":`, ref)
	}
	if s.kind {
		field(`"type":`, m.Type)
	}
	if sep == '{' {
		buf.WriteByte('{')
	}
	buf.WriteByte('}')
}

// memberRef returns the URL of the resource of a member.
func (v *renderer) memberRef(m store.Member) string {
	endpoint := endpointUsers
	if m.Type == "Group" {
		endpoint = endpointGroups
	}
	return v.base + "/" + endpoint + "/" + m.ID
}

// writeString appends a JSON string.
func writeString(buf *bytes.Buffer, s string) {
	b, err := json.Marshal(s)
	if err != nil {
		panic("scimhttp: encoding a string: " + err.Error()) // impossible: any string encodes
	}
	buf.Write(b)
}

// listBody renders a ListResponse (RFC 7644 §3.4.2) of encoded resources.
func listBody(total, start int, resources [][]byte) []byte {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, `{"schemas":[%q],"totalResults":%d,"startIndex":%d,"itemsPerPage":%d,"Resources":[`,
		scim.ListURN, total, start, len(resources))
	buf.Write(bytes.Join(resources, []byte{','}))
	buf.WriteString("]}")
	return buf.Bytes()
}
