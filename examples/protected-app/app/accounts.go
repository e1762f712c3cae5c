package app

import (
	"net/http"
	"strings"
)

const maxEmail = 320

// The account pages of the application itself. They work, which is the point:
// without the proxy anybody changes accounts behind the identity service's back.

func (a *App) signup(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("password") == "" {
		failWith(w, errBadPassword)
		return
	}
	a.createFromForm(w, r)
}

func (a *App) adminCreatesUser(w http.ResponseWriter, r *http.Request, u who) {
	if !u.account.Admin || u.account.Disabled {
		fail(w, http.StatusForbidden, "administrators only")
		return
	}
	a.createFromForm(w, r)
}

func (a *App) createFromForm(w http.ResponseWriter, r *http.Request) {
	email := r.PostFormValue("email")
	if !plausibleEmail(email) {
		fail(w, http.StatusBadRequest, "email is not an address")
		return
	}
	acc, err := a.state.createAccount(r.PostFormValue("username"), email, r.PostFormValue("password"), false)
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusCreated, acc)
}

func plausibleEmail(s string) bool {
	return s == "" || (len(s) <= maxEmail && strings.Count(s, "@") == 1)
}

func (a *App) changeEmail(w http.ResponseWriter, r *http.Request, u who) {
	email := r.PostFormValue("email")
	if email == "" || !plausibleEmail(email) {
		fail(w, http.StatusBadRequest, "email is not an address")
		return
	}
	acc, err := a.state.update(u.account.ID, func(acc *account) { acc.Email = email })
	if err != nil {
		failWith(w, err)
		return
	}
	reply(w, http.StatusOK, acc)
}

func (a *App) changePassword(w http.ResponseWriter, r *http.Request, u who) {
	hash, err := a.state.hashPassword(r.PostFormValue("password"))
	if err != nil {
		failWith(w, err)
		return
	}
	if _, err := a.state.update(u.account.ID, func(acc *account) { acc.hash = hash }); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *App) deleteOwnAccount(w http.ResponseWriter, _ *http.Request, u who) {
	if err := a.state.deleteAccount(u.account.ID); err != nil {
		failWith(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
