package scimhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// source is the access of a list to one resource type. It reads one snapshot, so that the total and
// the page agree.
type source[T any] struct {
	count   func() (int, error)
	indexed []string // attributes that ids can look up
	page    func(offset, limit int) ([]T, error)
	each    func(after string, fn func(T) bool) error
	byID    func(id string) (T, error)
	ids     func(attr, value string) ([]string, error)
	match   func(T) (bool, error)     // the whole filter on the whole resource
	render  func(T) (rendered, error) // with the requested attributes
}

// list finds and renders one page (RFC 7644 §3.4.2.4). Resources are in the order of their ids,
// which never changes. A page ends early before a group with more members than the answer may still
// have. The next startIndex begins with that group, which is then the first of its page and always fits.
func list[T any](h *Handler, q scim.Query, src source[T]) ([]byte, error) {
	count := h.bounds.PageSize
	if q.HasCount {
		count = min(max(q.Count, 0), h.bounds.MaxResults)
	}
	start := max(q.StartIndex, 1)
	var rows []T
	var total int
	var err error
	if q.Filter == nil {
		if total, err = src.count(); err == nil && count > 0 && start <= total {
			rows, err = src.page(start-1, count)
		}
	} else {
		rows, err = matches(h, q.Filter, src)
		total = len(rows)
		rows = rows[min(start-1, total):]
		rows = rows[:min(count, len(rows))]
	}
	if err != nil {
		return nil, fmt.Errorf("reading a page: %w", err)
	}
	resources := make([][]byte, 0, len(rows))
	for _, row := range rows {
		a, err := src.render(row)
		if errors.Is(err, errPageFull) && len(resources) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		resources = append(resources, a.body)
	}
	return listBody(total, start, resources), nil
}

// matches returns every match in the order of ids, from an index or a scan.
func matches[T any](h *Handler, f scim.Filter, src source[T]) ([]T, error) {
	index := scim.EqLookup(f)
	var ids []string
	var err error
	switch {
	case index != nil && index.Attr == "id":
		ids = []string{index.Value}
	case index != nil && slices.Contains(src.indexed, index.Attr):
		if ids, err = src.ids(index.Attr, index.Value); err != nil {
			return nil, fmt.Errorf("looking up %s: %w", index.Attr, err)
		}
	default:
		return scan(h, src)
	}
	if len(ids) > h.bounds.Scan {
		return nil, tooMany(h.bounds.Scan, src.indexed)
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
		keep := index.Exact
		if !keep {
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

// scan reads every resource. For a tenant that is too large it returns tooMany, never a part of the
// result.
func scan[T any](h *Handler, src source[T]) ([]T, error) {
	n, err := src.count()
	if err != nil {
		return nil, err
	}
	if n > h.bounds.Scan {
		return nil, tooMany(h.bounds.Scan, src.indexed)
	}
	var out []T
	var failed error
	err = src.each("", func(row T) bool {
		var keep bool
		if keep, failed = src.match(row); keep {
			out = append(out, row)
		}
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	return out, nil
}

func tooMany(limit int, indexed []string) error {
	return scim.Errorf(http.StatusBadRequest, scim.TypeTooMany,
		"this filter would read more than %d resources; filter by %s or id with eq", limit, strings.Join(indexed, ", "))
}

// list answers 200 with the page that fn renders from one snapshot. A page has no ETag.
func (h *Handler) list(
	ctx context.Context, w http.ResponseWriter, x *exchange, fn func(*store.Reader) ([]byte, error),
) error {
	body, err := render(ctx, h, x, fn)
	if err == nil {
		writeJSON(w, http.StatusOK, body)
	}
	return err
}

// listUsers serves GET /Users (RFC 7644 §3.4.2).
func (h *Handler) listUsers(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	v := h.renderer(x)
	return h.list(ctx, w, x, func(r *store.Reader) ([]byte, error) {
		return list(h, x.scim.Query, source[store.User]{
			count:   r.CountUsers,
			indexed: store.UserAttributes(),
			page:    r.UserPage,
			each:    r.Users,
			byID:    r.User,
			ids:     r.UserIDs,
			match:   v.userMatcher(r, x.scim.Query.Filter),
			render:  func(u store.User) (rendered, error) { return v.user(r, &u) },
		})
	})
}

// listGroups serves GET /Groups (RFC 7644 §3.4.2).
func (h *Handler) listGroups(ctx context.Context, w http.ResponseWriter, x *exchange) error {
	v := h.renderer(x)
	return h.list(ctx, w, x, func(r *store.Reader) ([]byte, error) {
		return list(h, x.scim.Query, source[store.Group]{
			count:   r.CountGroups,
			indexed: store.GroupAttributes(),
			page:    r.GroupPage,
			each:    r.Groups,
			byID:    r.Group,
			ids:     r.GroupIDs,
			match:   v.groupMatcher(r, x.scim.Query.Filter),
			render:  func(g store.Group) (rendered, error) { return v.group(r, &g) },
		})
	})
}
