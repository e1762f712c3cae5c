// Command wiki revokes what the wiki issued to a user.
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

// user is the path of the user, whom the wiki knows by externalId.
func user(ctx *revoker.Context) string {
	return "/admin/users/" + url.PathEscape(ctx.Subject().ExternalID)
}

func revoke(ctx *revoker.Context, kind revoker.Kind) revoker.Result {
	if ctx.Subject().ExternalID == "" {
		return revoker.Failed("no_external_id", "the wiki knows its users by externalId, this one has none")
	}
	live, ids, last, err := list(ctx, kind)
	switch {
	case err != nil:
		return revoker.Retry("app_error", err.Error(), 0)
	case !last.OK() && last.Status != 404:
		return ctx.FromHTTP(last)
	case live == 0:
		return revoker.Nothing() // say so: two such answers in a row end the work
	case kind == revoker.APIToken:
		return ctx.Each(ids, func(id string) revoker.Response {
			return ctx.HTTP("DELETE", "/admin/tokens/"+url.PathEscape(id), admin)
		})
	case ctx.DryRun():
		return revoker.WouldRevoke(live)
	}
	ended := ctx.HTTP("DELETE", user(ctx)+"/sessions", admin) // one request ends them all
	result := ctx.FromHTTP(ended)
	if ended.OK() {
		result.Found, result.Count = live, live
	}
	return result
}

func verify(ctx *revoker.Context, kind revoker.Kind) (int, error) {
	if ctx.Subject().ExternalID == "" {
		return 0, errors.New("the user has no externalId")
	}
	live, _, last, err := list(ctx, kind)
	if err == nil && !last.OK() && last.Status != 404 {
		err = last.JSON(nil) // says what was answered
	}
	return live, err
}

// list counts what the user has of a kind, and names the tokens. Here 404 means that
// the wiki does not know the user: nothing is alive.
func list(ctx *revoker.Context, kind revoker.Kind) (live int, ids []string, last revoker.Response, err error) {
	if kind == revoker.WebSession {
		var body struct{ Count *int }
		if last = ctx.HTTP("GET", user(ctx)+"/sessions", admin); last.OK() {
			err = last.JSON(&body)
		}
		switch {
		case err != nil || !last.OK():
			return 0, nil, last, err
		case body.Count == nil:
			return 0, nil, last, errors.New("the answer has no count") // unknown is not zero
		}
		return *body.Count, nil, last, nil
	}
	last, err = ctx.Pages(user(ctx)+"/tokens", func(r revoker.Response) (string, error) {
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
		ids = append(ids, *page.IDs...)
		return page.Next, nil
	}, admin)
	if err == nil && last.Status == 404 && len(ids) > 0 {
		err = last.JSON(nil) // a later page is missing: half a list is not a list
	}
	return len(ids), ids, last, err
}
