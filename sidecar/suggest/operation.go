package suggest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// Operation is one method of one path.
type Operation struct {
	Method string
	Path   string // a template, with the base path of the server
	ID     string // operationId, may be empty
	Tags   []string
	Body   Body

	// path is one that the template stands for; nil if no application can have it.
	path *request.Path
}

// Write reports whether the method is one that changes something.
func (o *Operation) Write() bool { return o.Method != http.MethodGet && o.Method != http.MethodHead }

// methods are those of a path item that applications use.
func methods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}
}

// operations fills in the operations, in the order of their paths.
func (r *reader) operations(d *Document) error {
	paths := object(r.root["paths"])
	rootBases := r.bases(r.root, []string{""})
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		item, why := r.resolve(paths[path])
		switch {
		case why == "" && item == nil:
			why = "it is not an object"
		case why == "" && !strings.HasPrefix(path, "/"):
			why = "its path does not start with /"
		}
		if why != "" {
			d.Unread = append(d.Unread, Unread{Path: path, Reason: why})
			continue
		}
		if err := r.item(d, path, item, r.bases(item, rootBases)); err != nil {
			return err
		}
	}
	return nil
}

// item adds the operations of one path.
func (r *reader) item(d *Document, route string, item map[string]any, above []string) error {
	for _, method := range methods() {
		op := object(item[strings.ToLower(method)])
		if op == nil {
			continue
		}
		o := Operation{Method: method, ID: text(op["operationId"]), Tags: texts(op["tags"])}
		if o.Write() {
			o.Body = r.body(item, op)
		}
		for _, base := range r.bases(op, above) {
			o.Path, o.path = base+route, nil
			if path, bad := request.ReadPath(sample(o.Path)); bad == nil {
				o.path = &path
			}
			d.Operations = append(d.Operations, o)
			r.bytes += len(o.Path)
		}
		switch {
		case len(d.Operations) > maxOperations:
			return fmt.Errorf("more than %d operations: split the document", maxOperations)
		case r.bytes > maxPaths:
			return fmt.Errorf("paths of more than %d bytes: split the document", maxPaths)
		case r.steps > maxSteps:
			return fmt.Errorf("schemas with more than %d parts at %s: split the document", maxSteps, short(method+" "+route))
		}
	}
	return nil
}

// maxBases bounds the base paths of one list of servers.
const maxBases = 4

// bases returns the base paths of the servers that an object lists, or those of the level above.
func (r *reader) bases(o map[string]any, above []string) []string {
	if r.swagger {
		if base, is := o["basePath"].(string); is {
			return []string{basePath(base)}
		}
		return above
	}
	var out []string
	for _, s := range list(o["servers"]) {
		server := object(s)
		address := text(server["url"])
		for name, v := range object(server["variables"]) {
			if def := text(object(v)["default"]); def != "" {
				address = strings.ReplaceAll(address, "{"+name+"}", def)
			}
		}
		if base := basePath(address); !slices.Contains(out, base) && len(out) < maxBases {
			out = append(out, base)
		}
	}
	if len(out) == 0 {
		return above
	}
	return out
}

// basePath is the path of a server's address without a slash at its end. A host may contain variables.
func basePath(address string) string {
	if _, rest, absolute := strings.Cut(address, "://"); absolute {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			address = rest[i:]
		} else {
			return ""
		}
	}
	address, _, _ = strings.Cut(address, "?")
	address, _, _ = strings.Cut(address, "#")
	if decoded, err := url.PathUnescape(address); err == nil {
		address = decoded
	}
	address = strings.TrimRight(address, "/")
	if address != "" && address[0] != '/' {
		address = "/" + strings.TrimPrefix(address, "./")
	}
	return strings.TrimRight(address, "/.")
}
