package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/scimward/scimward/plugins/abi"
	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

const (
	// Name and Version equal the manifest's.
	Name    = "protected-app"
	Version = "1.0.0"

	adminToken = "admin_token" // the only secret, for the Authorization header

	// perCall bounds the credentials that one call revokes, over all requested kinds. With lookups and lists
	// a call stays within the host's default of 64 requests. The next call does the rest, after a partial
	// result.
	perCall = 40
	page    = 20
	// spare is the time for the answer when a sweep stops before the deadline.
	spare = 500 * time.Millisecond
	// cacheS is how many seconds the host may cache the owner. It checks the owner's lock on every request
	// anyway.
	cacheS = 60
)

// Plugin returns the plugin, for Register and for native tests.
func Plugin() revoker.Plugin {
	return revoker.Plugin{
		Name: Name, Version: Version,
		Kinds:    abi.Order(),
		Revoke:   revoke,
		Verify:   verify,
		Identify: identify,
		Health:   health,
	}
}

// collection returns the admin API's name of a kind, or "" for the account itself.
func collection(kind revoker.Kind) string {
	switch kind {
	case revoker.SSHKey:
		return "ssh-keys"
	case revoker.Device:
		return "devices"
	case revoker.RefreshToken:
		return "refresh-tokens"
	case revoker.PAT:
		return "personal-access-tokens"
	case revoker.APIToken:
		return "api-tokens"
	case revoker.WebSession:
		return "sessions"
	default:
		return ""
	}
}

type account struct {
	ID       string `json:"id"`
	Disabled bool   `json:"disabled"`
}

// admin is an option of every request. The host inserts the token.
func admin() revoker.Option { return revoker.Secret("authorization", "Bearer ", adminToken) }

// find looks up every account under a present or former name of the subject, because the application does
// not learn of a new name. Names go into the query, because they may contain characters that a path must
// not have. Later requests use the id. resp is the last answer, for the case that err is not nil.
func find(ctx *revoker.Context) (accounts []account, resp revoker.Response, err error) {
	s := ctx.Subject()
	if s.UserName == "" {
		return nil, resp, errors.New("the request names no user")
	}
	for _, name := range append([]string{s.UserName}, s.FormerUserNames...) {
		resp = ctx.HTTP("GET", "/admin/users?user_name="+url.QueryEscape(name), admin())
		var list struct {
			Items []account `json:"items"`
		}
		if err := resp.JSON(&list); err != nil {
			return nil, resp, err
		}
		if len(list.Items) > 1 || len(list.Items) == 1 && list.Items[0].ID == "" {
			return nil, resp, errors.New("looking the account up: the answer is not one account")
		}
		accounts = append(accounts, list.Items...)
	}
	return accounts, resp, nil
}

func revoke(ctx *revoker.Context, kind revoker.Kind) revoker.Result {
	enable := ctx.Event().Type == abi.EventReactivated
	if enable && kind != revoker.Account {
		return revoker.Failed(abi.CodeContract, "a reactivation restores no credential")
	}
	accounts, resp, err := find(ctx)
	if err != nil {
		return fault(ctx, resp, err)
	}
	sum := revoker.Nothing()
	for i := range accounts {
		r := revokeIn(ctx, &accounts[i], kind, enable)
		r.Found += sum.Found
		r.Count += sum.Count
		r.Evidence = append(sum.Evidence, r.Evidence...)
		if r.State == abi.StateNothingToRevoke && r.Count > 0 {
			r.State = sum.State // another account had some
		}
		sum = r
		switch sum.State {
		case abi.StateRevoked, abi.StateNothingToRevoke, abi.StateWouldRevoke:
		default:
			return sum // the next call continues here, because the accounts before list nothing
		}
	}
	return sum
}

func revokeIn(ctx *revoker.Context, acc *account, kind revoker.Kind, enable bool) revoker.Result {
	switch {
	case kind == revoker.Account:
		return setAccount(ctx, acc, enable)
	case !ctx.DryRun():
		return sweep(ctx, acc, kind)
	}
	n, r, err := count(ctx, acc, kind)
	if err != nil {
		return fault(ctx, r, err)
	}
	return revoker.WouldRevoke(n)
}

// fault returns the outcome of an answer that the plugin could not use. A list or lookup that answers 404
// does not prove that no credential is left. A malformed 2xx does not either.
func fault(ctx *revoker.Context, r revoker.Response, err error) revoker.Result {
	switch {
	case r.Status == 501:
		return revoker.Unsupported("the application cannot revoke this kind")
	case r.Err == nil && (r.Status == 404 || r.Status == 0 || r.OK()):
		return revoker.Retry(abi.CodeAppError, err.Error(), 0)
	}
	return ctx.FromHTTP(r)
}

// setAccount disables the account, so that the user gets no new credential while the sweep runs, or
// enables it after a reactivation.
func setAccount(ctx *revoker.Context, acc *account, enable bool) revoker.Result {
	if acc.Disabled != enable {
		return revoker.Nothing() // it already is
	}
	if ctx.DryRun() {
		return revoker.WouldRevoke(1)
	}
	target := "/admin/users/~" + acc.ID + "/disable"
	if enable {
		target = "/admin/users/~" + acc.ID + "/enable"
	}
	r := ctx.HTTP("POST", target, admin())
	if !r.OK() {
		return ctx.FromHTTP(r)
	}
	return revoker.Revoked(1, revoker.Evidence{ID: acc.ID, Action: "POST " + target, Status: r.Status})
}

// sweep deletes page after page and then lists again from the start, to find credentials that were
// created meanwhile. It ends when such a list is empty.
func sweep(ctx *revoker.Context, acc *account, kind revoker.Kind) revoker.Result {
	most := max(perCall/max(len(ctx.Request().Kinds), 1), 1)
	sum := revoker.Result{}
	for cursor := ctx.Cursor(kind); ; {
		found, err := list(ctx, acc, kind, cursor, min(page, most))
		if err != nil {
			return merge(sum, fault(ctx, found.r, err))
		}
		if len(found.ids) == 0 && found.next == "" && cursor == "" {
			if sum.Count == 0 {
				return revoker.Nothing()
			}
			return merge(sum, revoker.Revoked(0))
		}
		outcome := ctx.Each(found.ids, func(id string) revoker.Response {
			return ctx.HTTP("DELETE", credentials(acc, kind)+"/"+url.PathEscape(id), admin())
		})
		sum.Found += len(found.ids)
		sum.Count += outcome.Count
		sum.Evidence = append(sum.Evidence, outcome.Evidence...)
		if outcome.State == abi.StatePartial {
			outcome.Cursor = cursor // the page is not finished
		}
		if outcome.State != abi.StateRevoked && outcome.State != abi.StateNothingToRevoke {
			return merge(sum, outcome)
		}
		cursor = found.next
		partial := merge(sum, revoker.Partial(0, 0, cursor))
		if sum.Found >= most || ctx.Left() < spare {
			return partial
		}
		ctx.Report(partial) // counts even if the host kills the plugin
	}
}

func credentials(acc *account, kind revoker.Kind) string {
	return "/admin/users/~" + acc.ID + "/" + collection(kind)
}

// listing is one page of credentials.
type listing struct {
	ids  []string
	next string           // where the next page begins, "" after the last
	r    revoker.Response // also of a page that cannot be read
}

// list reads one page.
func list(ctx *revoker.Context, acc *account, kind revoker.Kind, after string, limit int) (listing, error) {
	target := credentials(acc, kind) + "?limit=" + strconv.Itoa(limit) + "&after=" + url.QueryEscape(after)
	out := listing{r: ctx.HTTP("GET", target, admin())}
	var doc struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
		Next string `json:"next"`
	}
	if err := out.r.JSON(&doc); err != nil {
		return out, err
	}
	for _, item := range doc.Items {
		if item.ID == "" || item.ID == "." || item.ID == ".." {
			return out, errors.New("listing credentials: one has no usable id")
		}
		out.ids = append(out.ids, item.ID)
	}
	if doc.Items == nil {
		return out, errors.New("listing credentials: the answer has no items")
	}
	out.next = doc.Next
	return out, nil
}

// merge adds the work so far to an outcome.
func merge(sum, outcome revoker.Result) revoker.Result {
	outcome.Found, outcome.Count, outcome.Evidence = sum.Found, sum.Count, sum.Evidence
	return outcome
}

// count reads every page.
func count(ctx *revoker.Context, acc *account, kind revoker.Kind) (n int, r revoker.Response, err error) {
	for cursor, pages := "", 0; ; pages++ {
		if pages == perCall {
			return 0, r, fmt.Errorf("counting credentials: more than %d pages", perCall)
		}
		found, err := list(ctx, acc, kind, cursor, 200)
		if r = found.r; err != nil {
			return 0, r, err
		}
		n += len(found.ids)
		if cursor = found.next; cursor == "" {
			return n, r, nil
		}
	}
}

// maxProbes bounds the credentials of one kind that verify probes.
const maxProbes = 3

// verify counts the remaining credentials, and asks the part of the application that serves requests
// whether it still accepts one that was revoked. The list alone would miss a cache there. An enabled
// account counts as one.
func verify(ctx *revoker.Context, kind revoker.Kind) (int, error) {
	accounts, _, err := find(ctx)
	if err != nil {
		return 0, err
	}
	live := 0
	for i := range accounts {
		switch acc := &accounts[i]; {
		case kind != revoker.Account:
			n, _, err := count(ctx, acc, kind)
			if err != nil {
				return 0, err
			}
			accepted, err := probe(ctx, acc, kind)
			if err != nil {
				return 0, err
			}
			live += n + accepted
		case !acc.Disabled:
			live++
		}
	}
	return live, nil
}

// probe counts the revoked credentials of an account that the application still accepts. It tries the
// newest ones, because a cache forgets the older ones first.
func probe(ctx *revoker.Context, acc *account, kind revoker.Kind) (live int, err error) {
	ids := ctx.RevokedIDs(kind)
	for _, id := range ids[max(len(ids)-maxProbes, 0):] {
		r := ctx.HTTP("GET", credentials(acc, kind)+"/"+url.PathEscape(id)+"/gate", admin())
		var gate struct {
			Accepted *bool `json:"accepted"`
		}
		if err := r.JSON(&gate); err != nil {
			return 0, err
		}
		if gate.Accepted == nil {
			return 0, errors.New("probing a credential: the answer does not say whether it is accepted")
		}
		if *gate.Accepted {
			live++
		}
		ctx.Probed(kind, "GET /admin/users/{user}/"+collection(kind)+"/{id}/gate")
	}
	return live, nil
}

// identify asks the application for the owner of a credential. The host inserts the credential into the
// header. This module never sees it.
func identify(ctx *revoker.Context, cred revoker.Credential) (revoker.Owner, error) {
	r := ctx.HTTP("GET", "/admin/whoami", admin(), revoker.CredentialOf("x-credential", "", cred))
	if r.Err == nil && r.Status == 404 {
		return revoker.Owner{}, nil
	}
	var who struct {
		UserID   string    `json:"user_id"`
		UserName string    `json:"user_name"`
		Kind     string    `json:"kind"`
		IssuedAt time.Time `json:"issued_at"`

		Anonymous bool `json:"anonymous"`
	}
	if err := r.JSON(&who); err != nil {
		return revoker.Owner{}, err
	}
	if who.Anonymous {
		return revoker.Owner{Anonymous: true}, nil
	}
	if who.UserID == "" || who.UserName == "" {
		return revoker.Owner{}, errors.New("identifying a credential: the answer names no user")
	}
	owner := revoker.Owner{
		Subject: &revoker.Identity{AppUserID: who.UserID, UserName: who.UserName},
		Kind:    kindOf(who.Kind), CacheS: cacheS,
	}
	if !who.IssuedAt.IsZero() {
		owner.IssuedAt = &who.IssuedAt
	}
	return owner, nil
}

// kindOf translates the application's name of a kind. Revoking the refresh token ends its access tokens.
// The application's JWTs have no kind, because they cannot be revoked.
func kindOf(word string) revoker.Kind {
	if word == "access_token" {
		return revoker.RefreshToken
	}
	if collection(revoker.Kind(word)) != "" {
		return revoker.Kind(word)
	}
	return ""
}

func health(ctx *revoker.Context) revoker.Health {
	r := ctx.HTTP("GET", "/admin/healthz", admin())
	switch {
	case r.OK():
		return revoker.Health{Status: "ok"}
	case r.Err != nil:
		return revoker.Health{Status: "error", Message: "the admin API does not answer: " + r.Err.Code}
	case r.Status == 401 || r.Status == 403:
		return revoker.Health{Status: "error", Message: "the admin API refuses the admin token"}
	default:
		return revoker.Health{Status: "degraded", Message: "the admin API answers " + strconv.Itoa(r.Status)}
	}
}
