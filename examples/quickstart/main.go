package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	s, err := stack.Start(ctx, stack.Options{Dir: "/tmp/smoke/d", Source: ".", Envoy: os.Args[1], Progress: func(w string) { fmt.Println(w) }})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer s.Close()
	u, err := s.Acme.Client.CreateUser(ctx, idp.User{UserName: "ada@acme.example", ExternalID: "e1", Email: "ada@acme.example", DisplayName: "Ada"})
	fmt.Println(u, err)
	fmt.Println(s.Acme.Account(ctx, u.UserName))
	p := s.Person(s.Acme, u.UserName)
	fmt.Println(p.SignIn(ctx))
	fmt.Println(p.MintAll(ctx))
	for _, k := range p.Held() {
		st, b, err := p.Use(ctx, k)
		fmt.Println(k, st, string(b), err)
	}
	ws, err := p.OpenWebSocket(ctx)
	fmt.Println("ws", err)
	t0 := time.Now()
	fmt.Println("deactivate", s.Acme.Client.Deactivate(ctx, u.ID), time.Since(t0))
	for _, k := range p.Held() {
		st, b, err := p.Use(ctx, k)
		fmt.Println(k, st, string(b), err)
	}
	if ws != nil {
		select {
		case <-ws.Done():
			fmt.Println("ws cut", ws.Ended.Sub(t0))
		case <-time.After(2 * time.Second):
			fmt.Println("ws NOT cut")
		}
	}
	time.Sleep(2 * time.Second)
	out, err := s.Command(ctx, "evidence", "ada@acme.example", "--tenant", "acme", "-c", s.Config).CombinedOutput()
	fmt.Println(string(out), err)
}
