package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/internal/program"
)

func push(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("push", flag.ExitOnError)
	var o idp.ClientOptions
	fs.StringVar(&o.ClientID, "client-id", "", "this identity service's name at the application (required)")
	fs.StringVar(&o.BaseURL, "base-url", "", "the application's SCIM service, https://HOST/scim/v2 (required)")
	fs.StringVar(&o.AuthorizationServer, "issuer", "",
		"issuer of the application's authorization server (default: the origin of -base-url)")
	fs.StringVar(&o.Connect, "connect", "", "HOST:PORT to connect to in place of that of -base-url")
	keys := fs.String("keys", "", "file with the signing keys (required)")
	ca := fs.String("ca", "",
		"PEM file of the authorities that may sign the application's certificate (default: the system's)")
	_ = fs.Parse(args) // exits on an error
	if *keys == "" || o.ClientID == "" || o.BaseURL == "" || fs.NArg() == 0 {
		return program.Usage("push needs -keys, -client-id, -base-url and an action\n%s", usage)
	}
	// The application would not accept a new key.
	if _, err := os.Stat(*keys); err != nil {
		return fmt.Errorf("reading keys: %w; serve makes them", err)
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
			return fmt.Errorf("reading the authorities: %s has no PEM certificate", *ca)
		}
	}
	c, err := idp.NewClient(o)
	if err != nil {
		return program.Usage("%w", err)
	}
	return act(ctx, c, fs.Args())
}

// act runs one action and prints the answer as JSON.
func act(ctx context.Context, c *idp.Client, args []string) (err error) {
	var out any
	a := args[1:]
	switch fmt.Sprintf("%s %d", args[0], len(a)) {
	case "create-user 3":
		out, err = c.CreateUser(ctx, idp.User{UserName: a[0], ExternalID: a[1], Email: a[2], DisplayName: a[0]})
	case "create-users 2":
		out, err = createUsers(ctx, c, a[0], a[1])
	case "find-user 1":
		out, err = find(ctx, c, a[0])
	case "deactivate 1":
		out, err = onUser(ctx, c, a[0], c.Deactivate)
	case "reactivate 1":
		out, err = onUser(ctx, c, a[0], c.Reactivate)
	case "delete-user 1":
		out, err = onUser(ctx, c, a[0], c.DeleteUser)
	case "create-group 1":
		out, err = c.CreateGroup(ctx, idp.Group{DisplayName: a[0]})
	case "add-member 2":
		out, err = onMember(ctx, c, a, func(id string) error { return c.AddMembers(ctx, a[0], id) })
	case "remove-member 2":
		out, err = onMember(ctx, c, a, func(id string) error { return c.RemoveMember(ctx, a[0], id) })
	case "raw 2", "raw 3":
		return raw(ctx, c, a)
	default:
		return program.Usage("no such action, or the wrong number of arguments\n%s", usage)
	}
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
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

// createUsers creates the users 1 to count of a domain, eight at a time.
func createUsers(ctx context.Context, c *idp.Client, domain, count string) (any, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return nil, program.Usage("create-users needs the number of users, not %q", count)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	next := make(chan int)
	for range 8 {
		group.Go(func() {
			for i := range next {
				u := idp.User{UserName: fmt.Sprintf("user-%d@%s", i, domain), ExternalID: fmt.Sprintf("x-%d", i)}
				u.Email, u.DisplayName = u.UserName, u.UserName
				if _, err := c.CreateUser(ctx, u); err != nil {
					cancel(fmt.Errorf("creating %s: %w", u.UserName, err))
				}
			}
		})
	}
	for i := 1; i <= n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return map[string]int{"created": n}, nil
}

func onUser(ctx context.Context, c *idp.Client, userName string, do func(context.Context, string) error) (any, error) {
	u, err := find(ctx, c, userName)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": u.ID}, do(ctx, u.ID)
}

func onMember(ctx context.Context, c *idp.Client, a []string, do func(id string) error) (any, error) {
	u, err := find(ctx, c, a[1])
	if err != nil {
		return nil, err
	}
	return map[string]string{"group": a[0], "member": u.ID}, do(u.ID)
}

// raw prints {"status"} on one line and the body, if any, after it.
func raw(ctx context.Context, c *idp.Client, a []string) error {
	var body any
	if len(a) == 3 {
		body = []byte(a[2])
	}
	status, answer, err := c.Raw(ctx, a[0], a[1], body)
	if err != nil {
		return err
	}
	if _, err := fmt.Printf("{\"status\":%d}\n%s\n", status, answer); err != nil {
		return fmt.Errorf("printing the answer: %w", err)
	}
	return nil
}
