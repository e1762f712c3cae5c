// Command wiki revokes what the wiki issued to a user.
package main

import revoker "github.com/scimward/scimward/plugins/sdk/go"

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

func revoke(ctx *revoker.Context, kind revoker.Kind) revoker.Result {
	if kind == revoker.WebSession { // one request ends them all
		if ctx.DryRun() {
			return revoker.WouldRevoke(1)
		}
		return ctx.FromHTTP(ctx.HTTP("DELETE", "/admin/users/"+ctx.Subject().ExternalID+"/sessions", admin))
	}
	ids, last, err := tokens(ctx)
	switch {
	case err != nil:
		return revoker.Retry("app_error", err.Error(), 0)
	case !last.OK():
		return ctx.FromHTTP(last) // 404: no such user, nothing to revoke
	}
	return ctx.Each(ids, func(id string) revoker.Response { return ctx.HTTP("DELETE", "/admin/tokens/"+id, admin) })
}

func verify(ctx *revoker.Context, kind revoker.Kind) (int, error) {
	if kind == revoker.WebSession {
		var n struct{ Count int }
		return n.Count, ctx.HTTP("GET", "/admin/users/"+ctx.Subject().ExternalID+"/sessions", admin).JSON(&n)
	}
	ids, last, err := tokens(ctx)
	if err == nil && !last.OK() && last.Status != 404 {
		err = last.JSON(nil) // says what was answered
	}
	return len(ids), err
}

// tokens lists the ids of the user's tokens over all pages.
func tokens(ctx *revoker.Context) (ids []string, last revoker.Response, err error) {
	last, err = ctx.Pages("/admin/users/"+ctx.Subject().ExternalID+"/tokens", func(r revoker.Response) (string, error) {
		var page struct {
			IDs  []string
			Next string
		}
		err := r.JSON(&page)
		ids = append(ids, page.IDs...)
		return page.Next, err
	}, admin)
	return ids, last, err
}
