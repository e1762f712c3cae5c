package app

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/internal/program"
)

const (
	defaultPage = 50
	maxPage     = 200
)

// adminRoutes is the admin API (Options.Admin). Every request carries the admin token:
// Authorization: Bearer. {name} is a user name or ~ID. Collections lists the collections. A page is
// {"items":[…],"next":"c17"}. A request selects it with limit (1–200, default 50) and after.
//
//	GET    /admin/healthz
//	GET    /admin/users?user_name=&limit=&after=
//	GET    /admin/users/{name}
//	PUT    /admin/users/{name}           {"email","password","admin","disabled"}: makes or changes it
//	DELETE /admin/users/{name}           with every credential
//	POST   /admin/users/{name}/disable   and /enable; idempotent
//	GET    /admin/users/{name}/{collection}
//	DELETE /admin/users/{name}/{collection}        {"deleted": n}
//	DELETE /admin/users/{name}/{collection}/{id}   204, or 404 when it is not there
//	GET    /admin/users/{name}/{collection}/{id}/gate   {"accepted": …}: what the part that serves requests says
//	GET    /admin/whoami                 header X-Credential -> {"user_id","user_name","kind","issued_at"} or 404,
//	                                     {"anonymous":true} for a session of nobody
//	GET    /admin/counters               Counters
//	GET    /admin/faults                 also PUT (replaces the table) and DELETE
func (a *App) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/healthz", program.Healthy)
	mux.HandleFunc("GET /admin/users", a.faulty(KindAccount, a.listAccounts))
	mux.HandleFunc("GET /admin/users/{name}", a.onAccount(getAccount))
	mux.HandleFunc("PUT /admin/users/{name}", a.faulty(KindAccount, a.putAccount))
	mux.HandleFunc("DELETE /admin/users/{name}", a.onAccount(a.deleteAccount))
	mux.HandleFunc("POST /admin/users/{name}/disable", a.onAccount(a.disable(true)))
	mux.HandleFunc("POST /admin/users/{name}/enable", a.onAccount(a.disable(false)))
	mux.HandleFunc("GET /admin/users/{name}/{collection}", a.onAccount(a.listCredentials))
	mux.HandleFunc("DELETE /admin/users/{name}/{collection}", a.onAccount(a.revokeAll))
	mux.HandleFunc("DELETE /admin/users/{name}/{collection}/{id}", a.onAccount(a.revokeOne))
	mux.HandleFunc("GET /admin/users/{name}/{collection}/{id}/gate", a.onAccount(a.askGate))
	mux.HandleFunc("GET /admin/whoami", a.faulty(FaultWhoami, a.whoami))
	mux.HandleFunc("GET /admin/counters", func(w http.ResponseWriter, _ *http.Request) {
		program.Reply(w, http.StatusOK, a.state.encode(&a.state.count))
	})
	mux.HandleFunc("GET /admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		program.Reply(w, http.StatusOK, a.state.encode(&a.state.faults))
	})
	mux.HandleFunc("PUT /admin/faults", handle(a.putFaults))
	mux.HandleFunc("DELETE /admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		a.state.setFaults(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	want := []byte("Bearer " + a.opts.AdminToken)
	return limitBody(handle(func(w http.ResponseWriter, r *http.Request) error {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="admin"`)
			return statusError{http.StatusUnauthorized, "admin token required"}
		}
		mux.ServeHTTP(w, r)
		return nil
	}))
}

// faulty applies the fault of a kind and then runs next.
func (a *App) faulty(k Kind, next func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		if err := a.fault(w, r, k); err != nil {
			return err
		}
		return next(w, r)
	})
}

// target is the account and the kind in the path of an admin request. For the account itself the
// kind is KindAccount.
type target struct {
	account
	kind Kind
}

// onAccount applies the fault of the kind and then resolves {name}.
func (a *App) onAccount(next func(http.ResponseWriter, *http.Request, target) error) http.HandlerFunc {
	return handle(func(w http.ResponseWriter, r *http.Request) error {
		k, ok := kindOf(r.PathValue("collection"))
		if !ok {
			return statusError{http.StatusNotFound, "no such collection"}
		}
		if err := a.fault(w, r, k); err != nil {
			return err
		}
		acc, err := a.state.find(r.PathValue("name"))
		if err != nil {
			return err
		}
		return next(w, r, target{acc, k})
	})
}

func kindOf(collection string) (Kind, bool) {
	for k, name := range Collections() {
		if name == collection {
			return k, true
		}
	}
	return KindAccount, collection == ""
}

// replyPage answers with the page of items that the query selects.
func replyPage[T any](w http.ResponseWriter, r *http.Request, list func(after string, limit int) ([]T, string)) error {
	limit := defaultPage
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return statusError{http.StatusBadRequest, "limit must be a positive number"}
		}
		limit = min(n, maxPage)
	}
	items, next := list(r.URL.Query().Get("after"), limit)
	if items == nil {
		items = []T{}
	}
	return reply(w, http.StatusOK, map[string]any{"items": items, "next": next})
}

func (a *App) listAccounts(w http.ResponseWriter, r *http.Request) error {
	return replyPage(w, r, func(after string, limit int) ([]account, string) {
		return a.state.users(r.URL.Query().Get("user_name"), after, limit)
	})
}

func getAccount(w http.ResponseWriter, _ *http.Request, t target) error {
	return reply(w, http.StatusOK, t.account)
}

// putAccount makes the account or changes the fields that the body names.
func (a *App) putAccount(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    *string `json:"email"`
		Password *string `json:"password"`
		Admin    *bool   `json:"admin"`
		Disabled *bool   `json:"disabled"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return statusError{http.StatusBadRequest, "want JSON with email, password, admin, disabled"}
	}
	var hash []byte
	if in.Password != nil {
		var err error
		if hash, err = a.state.hashPassword(*in.Password); err != nil {
			return err
		}
	}
	status := http.StatusOK
	acc, err := a.state.find(r.PathValue("name"))
	if errors.Is(err, errNoAccount) {
		status = http.StatusCreated
		acc, err = a.state.createAccount(r.PathValue("name"), "", "")
	}
	if err != nil {
		return err
	}
	acc, err = a.state.update(acc.ID, func(acc *account) {
		set(&acc.Email, in.Email)
		set(&acc.Admin, in.Admin)
		set(&acc.Disabled, in.Disabled)
		if hash != nil {
			acc.hash = hash
		}
	})
	return replyAccount(w, status, acc, err)
}

func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

func (a *App) deleteAccount(w http.ResponseWriter, _ *http.Request, t target) error {
	return noContent(w, a.state.deleteAccount(t.ID))
}

func (a *App) disable(disabled bool) func(http.ResponseWriter, *http.Request, target) error {
	return func(w http.ResponseWriter, _ *http.Request, t target) error {
		acc, err := a.state.update(t.ID, func(acc *account) { acc.Disabled = disabled })
		return replyAccount(w, http.StatusOK, acc, err)
	}
}

func (a *App) listCredentials(w http.ResponseWriter, r *http.Request, t target) error {
	return replyPage(w, r, func(after string, limit int) ([]credential, string) {
		return a.state.list(t.ID, t.kind, after, limit)
	})
}

func (a *App) revokeAll(w http.ResponseWriter, _ *http.Request, t target) error {
	return reply(w, http.StatusOK, map[string]int{"deleted": a.state.revoke(t.ID, t.kind, "")})
}

func (a *App) revokeOne(w http.ResponseWriter, r *http.Request, t target) error {
	if a.state.revoke(t.ID, t.kind, r.PathValue("id")) == 0 {
		return statusError{http.StatusNotFound, "no such credential"}
	}
	return noContent(w, nil)
}

// askGate has the part that serves requests judge a credential by its id, past its caches. So it also
// accepts a deleted credential as long as the fault cache_s makes the application accept it.
func (a *App) askGate(w http.ResponseWriter, r *http.Request, t target) error {
	return reply(w, http.StatusOK, map[string]bool{"accepted": a.state.accepts(t.ID, t.kind, r.PathValue("id"))})
}

// whoami answers with the user of a credential. It does not find a deleted credential, even while
// the application still accepts it because of the fault cache_s.
func (a *App) whoami(w http.ResponseWriter, r *http.Request) error {
	secret := r.Header.Get("X-Credential")
	if secret == "" {
		return statusError{http.StatusBadRequest, "X-Credential is missing"}
	}
	u, ok := a.state.lookup(secret, false)
	if !ok && strings.Count(secret, ".") == 2 {
		u, ok = a.byJWT(secret)
	}
	if !ok && a.state.visitor(secret) {
		return reply(w, http.StatusOK, map[string]any{"anonymous": true})
	}
	if !ok {
		return statusError{http.StatusNotFound, "unknown credential"}
	}
	return reply(w, http.StatusOK, map[string]any{
		"user_id":   u.account.ID,
		"user_name": u.account.UserName,
		"kind":      u.credential.Kind,
		"issued_at": u.credential.Issued.UTC().Format(time.RFC3339Nano),
	})
}
