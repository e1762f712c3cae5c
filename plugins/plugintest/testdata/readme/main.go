// Command wiki revokes the credentials that the wiki issued to a user.
package main

import (
	"errors"
	"net/url"

	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

func main() {} // does not run

func init() { revoker.Register(Plugin()) }

// Plugin is the plugin for the wiki.
func Plugin() revoker.Plugin {
	return revoker.Plugin{
		Name: "wiki", Version: "1.0.0",
		Kinds:  []revoker.Kind{revoker.WebSession, revoker.APIToken},
		Revoke: revoke,
		Verify: verify,
	}
}

var admin = revoker.Secret("authorization", "Bearer ", "wiki_admin")

// user returns the path of the user. The wiki knows users by externalId.
func user(ctx *revoker.Context) string {
	return "/admin/users/" + url.PathEscape(ctx.Subject().ExternalID)
}

func revoke(ctx *revoker.Context, kind revoker.Kind) revoker.Result {
	if ctx.Subject().ExternalID == "" {
		return revoker.Failed("no_external_id", "the wiki knows its users by externalId, this one has none")
	}
	l, err := list(ctx, kind)
	switch {
	case err != nil:
		return revoker.Retry("app_error", err.Error(), 0)
	case !l.last.OK() && l.last.Status != 404:
		return ctx.FromHTTP(l.last)
	case l.live == 0:
		return revoker.Nothing() // say so: two such answers in a row end the work
	case kind == revoker.APIToken:
		return ctx.Each(l.ids, func(id string) revoker.Response {
			return ctx.HTTP("DELETE", "/admin/tokens/"+url.PathEscape(id), admin)
		})
	case ctx.DryRun():
		return revoker.WouldRevoke(l.live)
	}
	ended := ctx.HTTP("DELETE", user(ctx)+"/sessions", admin) // one request ends them all
	result := ctx.FromHTTP(ended)
	if ended.OK() {
		result.Found, result.Count = l.live, l.live
	}
	return result
}

func verify(ctx *revoker.Context, kind revoker.Kind) (int, error) {
	if ctx.Subject().ExternalID == "" {
		return 0, errors.New("the user has no externalId")
	}
	l, err := list(ctx, kind)
	if err == nil && !l.last.OK() && l.last.Status != 404 {
		err = l.last.JSON(nil) // gives the status
	}
	return l.live, err
}

// listing is a complete list of the user's credentials of one kind.
type listing struct {
	live int
	ids  []string         // of the tokens
	last revoker.Response // 404 means that the wiki does not know the user
}

func list(ctx *revoker.Context, kind revoker.Kind) (l listing, err error) {
	if kind == revoker.WebSession {
		var body struct{ Count *int }
		if l.last = ctx.HTTP("GET", user(ctx)+"/sessions", admin); l.last.OK() {
			err = l.last.JSON(&body)
		}
		switch {
		case err != nil || !l.last.OK():
			return l, err
		case body.Count == nil:
			return l, errors.New("the answer has no count") // unknown is not zero
		}
		l.live = *body.Count
		return l, nil
	}
	l.last, err = ctx.Pages(user(ctx)+"/tokens", func(r revoker.Response) (string, error) {
		var page struct {
			IDs  *[]string
			Next string
		}
		if err := r.JSON(&page); err != nil {
			return "", err
		}
		if page.IDs == nil {
			return "", errors.New("the answer has no ids")
		}
		l.ids = append(l.ids, *page.IDs...)
		return page.Next, nil
	}, admin)
	if err == nil && l.last.Status == 404 && len(l.ids) > 0 {
		err = l.last.JSON(nil) // a later page is missing: half a list is not a list
	}
	l.live = len(l.ids)
	return l, err
}
