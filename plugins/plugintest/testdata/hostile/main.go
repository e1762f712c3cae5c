// Command hostile is a guest that misbehaves as its request's id says. The tests of the host build
// it.
package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	revoker "github.com/scimward/scimward/plugins/sdk/go"
)

func main() {}

func init() { revoker.Register(plugin()) }

func plugin() revoker.Plugin {
	return revoker.Plugin{
		Name: "hostile", Version: "1.0.0",
		Kinds:    []revoker.Kind{revoker.WebSession, revoker.PAT},
		Revoke:   revoke,
		Verify:   verify,
		Identify: identify,
		Health:   func(*revoker.Context) revoker.Health { return revoker.Health{Status: "ok"} },
	}
}

// sink stops the compiler from removing work.
var sink int

func revoke(c *revoker.Context, kind revoker.Kind) revoker.Result {
	mode := c.Request().RequestID
	if c.DryRun() && mode == "" {
		return revoker.WouldRevoke(1)
	}
	arg := ""
	mode, arg, _ = strings.Cut(mode, ":")
	switch mode {
	case "loop":
		for {
			sink++
		}
	case "recursion":
		return revoker.Revoked(recurse(1))
	case "sleep":
		time.Sleep(time.Hour)
	case "panic":
		panic("hostile")
	case "warn":
		println("careful")
	case "panic-second":
		if kind == revoker.PAT {
			panic("hostile")
		}
	case "log-flood":
		line := strings.Repeat("x", 1<<20)
		for range 500 {
			c.Log(revoker.Error, line)
		}
	case "print-flood":
		for range 2000 {
			println(strings.Repeat("y", 2000))
		}
	case "hog":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
			sink += len(all)
		}
	case "report-flood":
		for range 10_000 {
			c.Report(revoker.Nothing())
		}
	case "lie":
		return revoker.Result{State: "all_good"}
	case "leave-out":
		return revoker.Result{State: ""}
	case "send":
		return send(c, arg)
	case "clock":
		a := time.Now()
		time.Sleep(30 * time.Millisecond)
		if d := time.Since(a); d < 25*time.Millisecond || d > time.Minute || a.Year() < 2026 {
			return revoker.Failed("clock", d.String())
		}
	}
	return revoker.Revoked(1)
}

func recurse(n int) int { return recurse(n+1) + n }

// send sends "METHOD URL"; headers come from config.headers.
func send(c *revoker.Context, arg string) revoker.Result {
	method, target, _ := strings.Cut(arg, " ")
	var opts []revoker.Option
	if hs, ok := c.Request().Config["headers"].(map[string]any); ok {
		for k, v := range hs {
			s, _ := v.(string)
			opts = append(opts, revoker.Header(k, s))
		}
	}
	r := c.HTTP(method, target, opts...)
	seen, _ := json.Marshal(map[string]any{
		"status": r.Status, "header": r.Header, "body": string(r.Body), "truncated": r.Truncated, "err": r.Err,
	})
	c.Log(revoker.Info, "seen "+string(seen))
	return c.FromHTTP(r)
}

func verify(c *revoker.Context, kind revoker.Kind) (int, error) {
	if c.Request().RequestID == "write" {
		r := c.HTTP("DELETE", "/x")
		return 0, r.JSON(nil)
	}
	if kind == revoker.PAT {
		return 0, errors.New("cannot tell")
	}
	return 3, nil
}

func identify(c *revoker.Context, cred revoker.Credential) (revoker.Owner, error) {
	r := c.HTTP("GET", "/whoami", revoker.CredentialOf("authorization", "Bearer ", cred))
	if r.Status == 404 {
		return revoker.Owner{CacheS: 3600}, nil
	}
	var who struct {
		User      string
		Anonymous bool
	}
	if err := r.JSON(&who); err != nil {
		return revoker.Owner{}, err
	}
	if who.Anonymous {
		return revoker.Owner{Anonymous: true, CacheS: 300}, nil
	}
	age, _ := strconv.Atoi(r.Header["x-request-id"])
	return revoker.Owner{Subject: &revoker.Identity{UserName: who.User}, Kind: revoker.PAT, CacheS: age}, nil
}
