package app

import (
	"net/http"
	"strings"
)

// The account pages of the application. They work on purpose: without the proxy, any user can
// change accounts without the identity service.

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
	return replyAccount(w, http.StatusCreated, acc, err)
}

func plausibleEmail(s string) bool { return len(s) <= maxEmail && strings.Count(s, "@") == 1 }

func (a *App) changeEmail(w http.ResponseWriter, r *http.Request, u who) error {
	email := r.PostFormValue("email")
	if !plausibleEmail(email) {
		return statusError{http.StatusBadRequest, "email is not an address"}
	}
	acc, err := a.state.update(u.account.ID, func(acc *account) { acc.Email = email })
	return replyAccount(w, http.StatusOK, acc, err)
}

func (a *App) changePassword(w http.ResponseWriter, r *http.Request, u who) error {
	hash, err := a.state.hashPassword(r.PostFormValue("password"))
	if err != nil {
		return err
	}
	_, err = a.state.update(u.account.ID, func(acc *account) { acc.hash = hash })
	return noContent(w, err)
}

func (a *App) deleteOwnAccount(w http.ResponseWriter, _ *http.Request, u who) error {
	return noContent(w, a.state.deleteAccount(u.account.ID))
}
