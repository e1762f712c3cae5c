package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// page is which part of the matches a client wants. start is 1-based (F52).
type page struct{ start, count int }

func (h *Handler) page(q scim.Query) page {
	count := h.o.PageSize
	if q.HasCount {
		count = min(max(q.Count, 0), h.o.MaxResults)
	}
	return page{start: max(q.StartIndex, 1), count: count}
}

// slice cuts the page out of all matches.
func slice[T any](p page, all []T) []T {
	from := min(p.start-1, len(all))
	return all[from:min(from+p.count, len(all))]
}

// source is what a list needs of one kind of resource. Everything runs inside one
// snapshot, so that the total and the page agree.
type source[T any] struct {
	count   func() (int, error)
	indexed []string // attributes ids answers
	page    func(offset, limit int) ([]T, error)
	each    func(after string, fn func(T) bool) error
	byID    func(id string) (T, error)
	ids     func(attr, value string) ([]string, error)
	match   func(T) (bool, error)   // the full filter on the full resource
	render  func(T) ([]byte, error) // as the request asked for it
}

// list finds and renders one page. Its order is the order of ids, which never
// changes (F56).
func list[T any](h *Handler, q scim.Query, src source[T]) ([]byte, error) {
	rows, total, err := find(h, q, src)
	if err != nil {
		return nil, err
	}
	resources := make([][]byte, 0, len(rows))
	for _, row := range rows {
		b, err := src.render(row)
		if err != nil {
			return nil, err
		}
		resources = append(resources, b)
	}
	return listBody(total, h.page(q).start, resources), nil
}

// find plans and runs the query: everything, an index, or a bounded scan.
func find[T any](h *Handler, q scim.Query, src source[T]) ([]T, int, error) {
	p := h.page(q)
	if q.Filter == nil {
		total, err := src.count()
		if err != nil {
			return nil, 0, err
		}
		if p.count == 0 || p.start > total {
			return nil, total, nil
		}
		rows, err := src.page(p.start-1, p.count)
		if err != nil {
			return nil, 0, fmt.Errorf("reading a page: %w", err)
		}
		return rows, total, nil
	}
	all, err := matches(h, q, src)
	if err != nil {
		return nil, 0, err
	}
	return slice(p, all), len(all), nil
}

// matches returns every match in the order of ids.
func matches[T any](h *Handler, q scim.Query, src source[T]) ([]T, error) {
	attr, value, exact, ok := scim.EqLookup(q.Filter)
	if !ok || (attr != "id" && !slices.Contains(src.indexed, attr)) {
		return scan(h, src)
	}
	ids, err := lookup(src, attr, value)
	if err != nil {
		return nil, fmt.Errorf("looking up %s: %w", attr, err)
	}
	if len(ids) > h.o.ScanLimit {
		return nil, tooMany(h.o.ScanLimit)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	out := make([]T, 0, len(ids))
	for _, id := range ids {
		row, err := src.byID(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", id, err)
		}
		keep := exact
		if !exact {
			if keep, err = src.match(row); err != nil {
				return nil, err
			}
		}
		if keep {
			out = append(out, row)
		}
	}
	return out, nil
}

// lookup asks the index; an id is its own index.
func lookup[T any](src source[T], attr, value string) ([]string, error) {
	if attr == "id" {
		return []string{value}, nil
	}
	return src.ids(attr, value)
}

// scan reads every resource. A tenant that is too large for that gets tooMany,
// never a part of the answer (F55); one whose size cannot be read is a fault.
func scan[T any](h *Handler, src source[T]) ([]T, error) {
	n, err := src.count()
	if err != nil {
		return nil, err
	}
	if n > h.o.ScanLimit {
		return nil, tooMany(h.o.ScanLimit)
	}
	var out []T
	var failed error
	err = src.each("", func(row T) bool {
		keep, err := src.match(row)
		if err != nil {
			failed = err
			return false
		}
		if keep {
			out = append(out, row)
		}
		return true
	})
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	return out, nil
}

func tooMany(limit int) error {
	return scim.Errorf(http.StatusBadRequest, scim.TypeTooMany,
		"this filter would read more than %d resources; filter by userName, externalId, emails.value, displayName, members.value or id with eq", limit)
}

// listUsers serves GET /Users (B55, B56).
func (h *Handler) listUsers(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(ctx, x.tenant, func(r *store.Reader) (err error) {
		body, err = list(h, s.Query, source[store.User]{
			count:   r.CountUsers,
			indexed: []string{"userName", "externalId", "emails.value"},
			page:    r.UserPage,
			each:    r.Users,
			byID:    r.User,
			ids:     r.UserIDs,
			match:   v.userMatcher(r, s.Query.Filter),
			render:  func(u store.User) ([]byte, error) { return v.user(r, &u) },
		})
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// listGroups serves GET /Groups (B74, B76).
func (h *Handler) listGroups(ctx context.Context, w http.ResponseWriter, x *exchange, s *authz.SCIMRequest) error {
	v := h.renderer(x.tenant, s.Type, s.Query)
	var body []byte
	err := h.o.Store.View(ctx, x.tenant, func(r *store.Reader) (err error) {
		body, err = list(h, s.Query, source[store.Group]{
			count:   r.CountGroups,
			indexed: []string{"displayName", "externalId", "members.value"},
			page:    r.GroupPage,
			each:    r.Groups,
			byID:    r.Group,
			ids:     r.GroupIDs,
			match:   v.groupMatcher(r, s.Query.Filter),
			render:  func(g store.Group) ([]byte, error) { return v.group(r, &g) },
		})
		return err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}
