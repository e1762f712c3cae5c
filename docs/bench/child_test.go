package bench_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/store/log/jetstream/clustertest"
	"github.com/scimward/scimward/store/storetest/child"
)

// This test binary starts itself again in these roles, so that each server has a
// process, a heap and a processor time of its own.
const (
	roleNoop   = "noop"   // answers OK without reading the request
	roleVerify = "verify" // the same after one bare ES256 verification of the token in the request
	roleReal   = "real"   // scimward as package sidecar wires it
	roleLogged = "logged" // the same, with the decision log written to a file
	roleLog    = "log"    // a server of the shared log
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin-worker" {
		os.Exit(plugins.RunWorker(context.Background(), os.Stdin, os.Stdout))
	}
	roles := map[string]func(string) error{}
	for _, role := range []string{roleNoop, roleVerify, roleReal, roleLogged, roleLog} {
		roles[role] = func(dir string) error { return serveChild(role, dir) }
	}
	child.Run(roles)
	clustertest.Main(m)
}

// serveChild serves until its standard input ends: on dir/authz.sock, or as a server of the shared log.
func serveChild(role, dir string) error {
	switch role {
	case roleNoop:
		return serveFloor(dir, noop{})
	case roleVerify:
		v, err := newVerifyOnly(filepath.Join(dir, keyFile))
		if err != nil {
			return err
		}
		return serveFloor(dir, v)
	}
	cfg, err := config.Load(filepath.Join(dir, "scimward.yaml"))
	if err != nil {
		return err
	}
	o := sidecar.Options{Config: cfg, Worker: []string{os.Args[0], "plugin-worker"}}
	if role == roleLogged {
		f, err := os.Create(filepath.Join(dir, "log.json"))
		if err != nil {
			return err
		}
		defer f.Close()
		o.Logger = slog.New(slog.NewJSONHandler(f, nil))
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	run := (&sidecar.LogCommand{Config: cfg, Logger: slog.New(slog.DiscardHandler)}).Serve
	if role != roleLog {
		s, err := sidecar.New(ctx, o)
		if err != nil {
			return err
		}
		run = s.Run
	}
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	err = control(os.Stdin, os.Stdout)
	stop()
	return errors.Join(err, <-done)
}

// noop is the control: an authorizer that reads no field and allows.
type noop struct {
	authv3.UnimplementedAuthorizationServer
}

func (noop) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}, nil
}

// verifyOnly is the control for a new token: it verifies the signature of the token with crypto/ecdsa and
// allows. It reads no claim and remembers nothing.
type verifyOnly struct {
	noop
	pub *ecdsa.PublicKey
}

// newVerifyOnly reads the public key (PKIX, DER) from a file.
func newVerifyOnly(file string) (*verifyOnly, error) {
	der, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s has a %T, want an ECDSA key", file, k)
	}
	return &verifyOnly{pub: pub}, nil
}

func (v *verifyOnly) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	for _, h := range r.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if h.GetKey() != "authorization" {
			continue
		}
		token := strings.TrimPrefix(string(h.GetRawValue()), "Bearer ")
		end := strings.LastIndexByte(token, '.')
		sig, err := base64.RawURLEncoding.DecodeString(token[end+1:])
		if err != nil || len(sig) != 64 {
			return nil, errors.New("the signature is not 64 bytes in base64url")
		}
		sum := sha256.Sum256([]byte(token[:end]))
		if !ecdsa.Verify(v.pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return nil, errors.New("the signature does not verify")
		}
		return v.noop.Check(ctx, r)
	}
	return nil, errors.New("the request has no token")
}

// serveFloor serves a control on dir/authz.sock until the standard input ends.
func serveFloor(dir string, a authv3.AuthorizationServer) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "authz.sock"))
	if err != nil {
		return err
	}
	g := grpc.NewServer( // as package sidecar makes it
		grpc.NumStreamWorkers(64),
		grpc.MaxRecvMsgSize(384<<10),
		grpc.MaxConcurrentStreams(16384),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	authv3.RegisterAuthorizationServer(g, a)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	err = control(os.Stdin, os.Stdout)
	g.Stop()
	return errors.Join(err, <-done)
}

// control answers each line with the processor time of the process in nanoseconds.
// "profile FILE" starts a CPU profile and "stop" ends it.
func control(in io.Reader, out io.Writer) error {
	var profile *os.File
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, arg, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch word {
		case "profile":
			if profile, err = os.Create(arg); err == nil {
				err = pprof.StartCPUProfile(profile)
			}
		case "stop":
			pprof.StopCPUProfile()
			err = profile.Close()
		}
		if err != nil {
			return err
		}
		spent, err := child.CPU()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, spent.Nanoseconds()); err != nil {
			return err
		}
	}
	return nil
}

// redial is how long the client waits before it tries again to connect to a child that is starting.
const redial = 50 * time.Millisecond

// server is a child process and a client for it.
type server struct {
	*child.Process
	b      *testing.B
	client authv3.AuthorizationClient
}

// start starts a child in a role and connects to it. The path of dir must be short
// enough for a socket.
func start(b *testing.B, role, dir string) *server {
	b.Helper()
	p := child.Start(b, role, dir)
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, "authz.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// By itself the client waits longer after each attempt: a child that is ready after 10 s would be found after 16.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redial, Multiplier: 1, MaxDelay: redial},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { // before the end of the child
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	return &server{Process: p, b: b, client: authv3.NewAuthorizationClient(conn)}
}

// send sends a control line and returns the processor time that the child has used.
func (s *server) send(line string) time.Duration {
	s.b.Helper()
	s.Write(line)
	ns, err := strconv.ParseInt(s.Read(), 10, 64)
	if err != nil {
		s.b.Fatal(err)
	}
	return time.Duration(ns)
}

// waitFor waits until the server allows r, because it may still be starting.
func (s *server) waitFor(r *authv3.CheckRequest) {
	s.b.Helper()
	ctx, cancel := context.WithTimeout(s.b.Context(), 3*time.Minute)
	defer cancel()
	var last *authv3.CheckResponse
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		out, err := s.client.Check(ctx, r, grpc.WaitForReady(true))
		if err == nil && out.GetOkResponse() != nil {
			tick.Stop()
			return
		}
		if out != nil {
			last = out
		}
		select {
		case <-ctx.Done():
			s.b.Fatalf("the server does not allow the request: %v %v", last, err)
		case <-tick.C:
		}
	}
}
