package app

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	defaultPage = 50
	maxPage     = 200
	collection  = "collection"
)

// adminRoutes draws the admin API (Options.Admin). Every request carries the
// admin token: Authorization: Bearer. {name} is a user name or ~ID; collections
// are those of Collections; pages are {"items":[…],"next":"c17"}, asked for with
// limit (1–200, default 50) and after.
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
//	GET    /admin/whoami                 header X-Credential -> {"user_id","user_name","kind","issued_at"} or 404
//	GET    /admin/counters               Counters
//	GET    /admin/faults                 also PUT (replaces the table) and DELETE
func (a *App) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /admin/healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /admin/users", a.adminList)
	mux.HandleFunc("GET /admin/users/{name}", a.withAccount(a.adminGet))
	mux.HandleFunc("PUT /admin/users/{name}", a.adminEnsure)
	mux.HandleFunc("DELETE /admin/users/{name}", a.withAccount(a.adminDelete))
	mux.HandleFunc("POST /admin/users/{name}/disable", a.withAccount(a.adminDisable(true)))
	mux.HandleFunc("POST /admin/users/{name}/enable", a.withAccount(a.adminDisable(false)))
	mux.HandleFunc("GET /admin/users/{name}/{collection}", a.withAccount(a.adminCredentials))
	mux.HandleFunc("DELETE /admin/users/{name}/{collection}", a.withAccount(a.adminRevokeAll))
	mux.HandleFunc("DELETE /admin/users/{name}/{collection}/{id}", a.withAccount(a.adminRevoke))
	mux.HandleFunc("GET /admin/whoami", a.whoami)
	mux.HandleFunc("GET /admin/counters", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, a.state.counters()) })
	mux.HandleFunc("GET /admin/faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, a.state.faultTable()) })
	mux.HandleFunc("PUT /admin/faults", a.putFaults)
	mux.HandleFunc("DELETE /admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		a.state.setFaults(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	return limitBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.adminAuthorized(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="admin"`)
			fail(w, http.StatusUnauthorized, "admin token required")
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// withAccount resolves {name} after the faults of the kind had their say.
func (a *App) withAccount(next func(http.ResponseWriter, *http.Request, account)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		k, ok := faultKind(r)
		if !ok {
			fail(w, http.StatusNotFound, "no such collection")
			return
		}
		if a.faulty(w, r, k) {
			return
		}
		acc, err := a.state.find(r.PathValue("name"))
		if err != nil {
			failWith(w, err)
			return
		}
		next(w, r, acc)
	}
}

// faultKind is the row of the fault table for a request: the collection's kind,
// or KindAccount for the account itself.
func faultKind(r *http.Request) (Kind, bool) {
	name := r.PathValue(collection)
	if name == "" {
		return KindAccount, true
	}
	return kindOf(name)
}

func kindOf(name string) (Kind, bool) {
	for k, c := range Collections() {
		if c == name {
			return k, true
		}
	}
	return "", false
}

func page(r *http.Request) (after string, limit int, ok bool) {
	q := r.URL.Query()
	limit = defaultPage
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return "", 0, false
		}
		limit = min(n, maxPage)
	}
	return q.Get("after"), limit, true
}

func (a *App) adminList(w http.ResponseWriter, r *http.Request) {
	if a.faulty(w, r, KindAccount) {
		return
	}
	after, limit, ok := page(r)
	if !ok {
		fail(w, http.StatusBadRequest, "limit must be a positive number")
		return
	}
	users, next := a.state.users(r.URL.Query().Get("user_name"), after, limit)
	if users == nil {
		users = []account{}
	}
	reply(w, http.StatusOK, map[string]any{"items": users, "next": next})
}

func (a *App) adminGet(w http.ResponseWriter, _ *http.Request, acc account) {
	reply(w, http.StatusOK, acc)
}

// adminEnsure makes the account or changes the fields that are named.
func (a *App) adminEnsure(w http.ResponseWriter, r *http.Request) {
	if a.faulty(w, r, KindAccount) {
		return
	}
	var in struct {
		Email    *string `json:"email"`
		Password *string `json:"password"`
		Admin    *bool   `json:"admin"`
		Disabled *bool   `json:"disabled"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "want JSON with email, password, admin, disabled")
		return
	}
	var hash []byte
	if in.Password != nil {
		var err error
		if hash, err = a.state.hashPassword(*in.Password); err != nil {
			failWith(w, err)
			return
		}
	}
	status := http.StatusOK
	acc, err := a.state.find(r.PathValue("name"))
	if err != nil {
		status = http.StatusCreated
		if acc, err = a.state.createAccount(r.PathValue("name"), "", "", false); err != nil {
			failWith(w, err)
			return
		}
	}
	acc, err = a.state.update(acc.ID, func(acc *account) {
		set(&acc.Email, in.Email)
		set(&acc.Admin, in.Admin)
		set(&acc.Disabled, in.Disabled)
		if hash != nil {
			acc.hash = hash
		}
	})
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, status, acc)
}

func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

func (a *App) adminDelete(w http.ResponseWriter, _ *http.Request, acc account) {
	if err := a.state.deleteAccount(acc.ID); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *App) adminDisable(disabled bool) func(http.ResponseWriter, *http.Request, account) {
	return func(w http.ResponseWriter, _ *http.Request, acc account) {
		acc, err := a.state.update(acc.ID, func(acc *account) { acc.Disabled = disabled })
		if err != nil {
			failWith(w, err)
			return
		}
		reply(w, http.StatusOK, acc)
	}
}

func (a *App) adminCredentials(w http.ResponseWriter, r *http.Request, acc account) {
	after, limit, ok := page(r)
	if !ok {
		fail(w, http.StatusBadRequest, "limit must be a positive number")
		return
	}
	k, _ := kindOf(r.PathValue(collection)) // withAccount has checked it
	items, next := a.state.list(acc.ID, k, after, limit)
	if items == nil {
		items = []credential{}
	}
	reply(w, http.StatusOK, map[string]any{"items": items, "next": next})
}

func (a *App) adminRevokeAll(w http.ResponseWriter, r *http.Request, acc account) {
	k, _ := kindOf(r.PathValue(collection)) // withAccount has checked it
	reply(w, http.StatusOK, map[string]int{"deleted": a.state.revoke(acc.ID, k, "")})
}

func (a *App) adminRevoke(w http.ResponseWriter, r *http.Request, acc account) {
	k, _ := kindOf(r.PathValue(collection)) // withAccount has checked it
	if a.state.revoke(acc.ID, k, r.PathValue("id")) == 0 {
		fail(w, http.StatusNotFound, "no such credential")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// whoami tells whose credential it is, from what is true now: a deleted one is
// unknown here even while the data plane's cache still honours it.
func (a *App) whoami(w http.ResponseWriter, r *http.Request) {
	if a.faulty(w, r, FaultWhoami) {
		return
	}
	secret := r.Header.Get("X-Credential")
	if secret == "" {
		fail(w, http.StatusBadRequest, "X-Credential is missing")
		return
	}
	out := map[string]any{}
	if c, acc, ok := a.state.lookup(secret, false); ok {
		out["user_id"], out["user_name"], out["kind"], out["issued_at"] = acc.ID, acc.UserName, c.Kind, c.Issued.UTC().Format(time.RFC3339Nano)
	} else if u, ok := a.byJWT(secret); ok && strings.Count(secret, ".") == 2 {
		out["user_id"], out["user_name"], out["kind"], out["issued_at"] = u.account.ID, u.account.UserName, u.kind, u.issued.UTC().Format(time.RFC3339Nano)
	} else {
		fail(w, http.StatusNotFound, "unknown credential")
		return
	}
	reply(w, http.StatusOK, out)
}
