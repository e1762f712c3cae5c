// Command forum tells whose session a cookie of the forum is.
package main

import (
	"time"

	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

func main() {} // does not run

func init() {
	revoker.Register(revoker.Plugin{
		Name: "forum", Version: "1.0.0",
		Kinds:    []revoker.Kind{revoker.WebSession},
		Revoke:   revoke,
		Identify: identify,
	})
}

// identify asks the forum as the browser would. The host puts the cookie in: the plugin never sees it.
func identify(ctx *revoker.Context, cred revoker.Credential) (revoker.Owner, error) {
	r := ctx.HTTP("GET", "/api/me", revoker.CredentialOf("cookie", "sid=", cred))
	if r.Status == 401 {
		return revoker.Owner{}, nil // the forum does not know this session
	}
	var me struct {
		Login  string
		Since  int64 // when the session began, Unix seconds
		Guests bool  // a session before the sign-in
	}
	if err := r.JSON(&me); err != nil {
		return revoker.Owner{}, err // no answer: the request gets 503
	}
	if me.Guests {
		return revoker.Owner{Anonymous: true}, nil // asked again until somebody signs in
	}
	owner := revoker.Owner{
		Subject: &revoker.Identity{UserName: me.Login},
		Kind:    revoker.WebSession,
		CacheS:  60, // a lock counts at once, whatever is cached
	}
	if me.Since > 0 {
		since := time.Unix(me.Since, 0)
		owner.IssuedAt = &since
	}
	return owner, nil
}

func revoke(*revoker.Context, revoker.Kind) revoker.Result {
	return revoker.Unsupported("the forum has no call that ends sessions")
}
