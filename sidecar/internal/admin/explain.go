package admin

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/scim"
)

// Explanation says what scimward makes of a name in one place of an application.
type Explanation struct {
	authz.Explanation
	Nearest []string `json:"nearest,omitempty"` // user names like it, if nobody has it
}

// The bounds of a search for names that are like another.
const (
	maxCompared = 20_000 // users
	maxNearest  = 3
	maxLetters  = 64 // of a name
)

func (h *Handler) explain(w http.ResponseWriter, r *http.Request) {
	tenant, app := r.PathValue("tenant"), r.PathValue("app")
	n, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("subject"), "0"))
	if err != nil || h.opts.Explain == nil {
		problem(w, http.StatusBadRequest, "subject is the number of an entry of subjects, from 0", nil)
		return
	}
	of, err := h.opts.Explain(r.Context(), tenant, app, n, r.URL.Query().Get("value"))
	if err != nil {
		problem(w, http.StatusNotFound, err.Error(), nil)
		return
	}
	e := Explanation{Explanation: of}
	if e.User == "" {
		if e.Nearest, err = h.nearest(r.Context(), tenant, e.Name); err != nil {
			h.opts.Logger.ErrorContext(r.Context(), "explaining a name", slog.String("tenant", tenant), slog.Any("error", err))
			problem(w, http.StatusServiceUnavailable, "the directory could not be read"+seeLog, nil)
			return
		}
	}
	h.write(w, r, http.StatusOK, e)
}

// nearest returns the user names that are most like a name.
func (h *Handler) nearest(ctx context.Context, tenant, name string) (names []string, err error) {
	err = h.opts.Store.View(ctx, tenant, func(r *store.Reader) error {
		type candidate struct {
			name string
			far  int
		}
		var best []candidate
		n, want := 0, []rune(scim.FoldEmail(name))
		err := r.Users("", func(u store.User) bool {
			best = append(best, candidate{u.UserName(), distance(want, []rune(scim.FoldEmail(u.UserName())))})
			slices.SortStableFunc(best, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
			best = best[:min(len(best), maxNearest)]
			n++
			return n < maxCompared && ctx.Err() == nil
		})
		for _, b := range best {
			names = append(names, b.name)
		}
		return err
	})
	return names, err
}

// distance is the Levenshtein distance of the first letters of two names.
func distance(a, b []rune) int {
	a, b = a[:min(len(a), maxLetters)], b[:min(len(b), maxLetters)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		prev := row[0]
		row[0] = i + 1
		for j := range b {
			if a[i] != b[j] {
				prev++
			}
			prev, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, prev)
		}
	}
	return row[len(b)]
}
