package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/scimward/scimward/examples/identity-service/idp"
)

func push(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("push", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var o idp.ClientOptions
	fs.StringVar(&o.ClientID, "client-id", "", "the name the application knows this identity service by (required)")
	fs.StringVar(&o.BaseURL, "base-url", "", "the application's SCIM service, https://HOST/scim/v2 (required)")
	fs.StringVar(&o.AuthorizationServer, "issuer", "", "issuer of the application's authorization server (default: the origin of -base-url)")
	keys := fs.String("keys", "", "file with the signing keys (required)")
	ca := fs.String("ca", "", "PEM file of the authorities that may sign the application's certificate (default: the system's)")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *keys == "" || o.ClientID == "" || o.BaseURL == "" || fs.NArg() == 0 {
		return fmt.Errorf("%w: push needs -keys, -client-id, -base-url and an action", errUsage)
	}
	if _, err := os.Stat(*keys); err != nil {
		return fmt.Errorf("reading keys: %w; serve makes them", err) // a new key would be known to nobody
	}
	var err error
	if o.Keys, err = idp.OpenKeyring(*keys); err != nil {
		return err
	}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return fmt.Errorf("reading the authorities: %w", err)
		}
		o.Roots = x509.NewCertPool()
		if !o.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("reading the authorities: %s holds no PEM certificate", *ca)
		}
	}
	c, err := idp.NewClient(o)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return act(ctx, c, fs.Args(), stdout)
}

// action is one action of push; it returns what is to be printed as JSON.
type action struct {
	args int
	do   func(ctx context.Context, c *idp.Client, a []string) (any, error)
}

func actions() map[string]action {
	return map[string]action{
		"create-user": {3, func(ctx context.Context, c *idp.Client, a []string) (any, error) {
			return c.CreateUser(ctx, idp.User{UserName: a[0], ExternalID: a[1], Email: a[2], DisplayName: a[0]})
		}},
		"find-user":   {1, func(ctx context.Context, c *idp.Client, a []string) (any, error) { return find(ctx, c, a[0]) }},
		"deactivate":  {1, onUser((*idp.Client).Deactivate)},
		"reactivate":  {1, onUser((*idp.Client).Reactivate)},
		"delete-user": {1, onUser((*idp.Client).DeleteUser)},
		"create-group": {1, func(ctx context.Context, c *idp.Client, a []string) (any, error) {
			return c.CreateGroup(ctx, idp.Group{DisplayName: a[0]})
		}},
		"add-member": {2, onMember(func(ctx context.Context, c *idp.Client, group, user string) error {
			return c.AddMembers(ctx, group, user)
		})},
		"remove-member": {2, onMember(func(ctx context.Context, c *idp.Client, group, user string) error {
			return c.RemoveMember(ctx, group, user)
		})},
	}
}

func act(ctx context.Context, c *idp.Client, args []string, stdout io.Writer) error {
	if args[0] == "raw" {
		return raw(ctx, c, args[1:], stdout)
	}
	a, ok := actions()[args[0]]
	if !ok || len(args)-1 != a.args {
		return fmt.Errorf("%w: no such action, or the wrong number of arguments", errUsage)
	}
	out, err := a.do(ctx, c, args[1:])
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(out); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}

func find(ctx context.Context, c *idp.Client, userName string) (idp.User, error) {
	u, ok, err := c.FindUser(ctx, "userName", userName)
	if err == nil && !ok {
		err = errors.New("the application knows no such user")
	}
	return u, err
}

func onUser(do func(*idp.Client, context.Context, string) error) func(context.Context, *idp.Client, []string) (any, error) {
	return func(ctx context.Context, c *idp.Client, a []string) (any, error) {
		u, err := find(ctx, c, a[0])
		if err != nil {
			return nil, err
		}
		return map[string]string{"id": u.ID}, do(c, ctx, u.ID)
	}
}

func onMember(do func(ctx context.Context, c *idp.Client, group, user string) error) func(context.Context, *idp.Client, []string) (any, error) {
	return func(ctx context.Context, c *idp.Client, a []string) (any, error) {
		u, err := find(ctx, c, a[1])
		if err != nil {
			return nil, err
		}
		return map[string]string{"group": a[0], "member": u.ID}, do(ctx, c, a[0], u.ID)
	}
}

// raw prints {"status"} on one line and the body, if any, after it.
func raw(ctx context.Context, c *idp.Client, args []string, stdout io.Writer) error {
	if len(args) < 2 || len(args) > 3 {
		return fmt.Errorf("%w: raw METHOD PATH [BODY]", errUsage)
	}
	var body any
	if len(args) == 3 {
		body = []byte(args[2])
	}
	status, answer, err := c.Raw(ctx, args[0], args[1], body)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "{\"status\":%d}\n%s\n", status, answer); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}
