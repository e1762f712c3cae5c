package app

import (
	"net/http"
	"strings"
)

// The account pages of the application itself. They work on purpose: without the
// proxy, anybody changes accounts behind the identity service's back.

const maxEmail = 320

func (a *App) signup(w http.ResponseWriter, r *http.Request) error {
	if r.PostFormValue("password") == "" {
		return errBadPassword
	}
	return a.createFromForm(w, r)
}

func (a *App) createByAdmin(w http.ResponseWriter, r *http.Request, u who) error {
	if !u.account.Admin || u.account.Disabled {
		return statusError{http.StatusForbidden, "administrators only"}
	}
	return a.createFromForm(w, r)
}

func (a *App) createFromForm(w http.ResponseWriter, r *http.Request) error {
	email := r.PostFormValue("email")
	if email != "" && !plausibleEmail(email) {
		return statusError{http.StatusBadRequest, "email is not an address"}
	}
	acc, err := a.state.createAccount(r.PostFormValue("username"), email, r.PostFormValue("password"))
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, acc)
}

func plausibleEmail(s string) bool { return len(s) <= maxEmail && strings.Count(s, "@") == 1 }

func (a *App) changeEmail(w http.ResponseWriter, r *http.Request, u who) error {
	email := r.PostFormValue("email")
	if !plausibleEmail(email) {
		return statusError{http.StatusBadRequest, "email is not an address"}
	}
	acc, err := a.state.update(u.account.ID, func(acc *account) { acc.Email = email })
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, acc)
}

func (a *App) changePassword(w http.ResponseWriter, r *http.Request, u who) error {
	hash, err := a.state.hashPassword(r.PostFormValue("password"))
	if err != nil {
		return err
	}
	if _, err := a.state.update(u.account.ID, func(acc *account) { acc.hash = hash }); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *App) deleteOwnAccount(w http.ResponseWriter, r *http.Request, u who) error {
	return a.deleteAccount(w, r, target{account: u.account})
}
