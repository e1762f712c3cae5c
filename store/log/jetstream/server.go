package jetstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout is how long a server may take to read its files.
const startTimeout = time.Minute

// ServerOptions configures StartServer. All members of one cluster have the same Cluster,
// Login and System.
type ServerOptions struct {
	Name      string       // of this member; unique, and the same after a restart
	Cluster   string       // of the members together
	Dir       string       // of the files
	Listen    string       // host:port for clients
	Routes    string       // host:port for the other members
	Members   []string     // host:port of the routes of all members; empty: a single server
	TLS       *tls.Config  `json:"-"`
	RoutesTLS *tls.Config  `json:"-"` // presents a certificate to members, and asks for theirs
	Login     Login        // of the clients
	System    Login        // for Attest
	Logger    *slog.Logger `json:"-"` // nil: discard
}

// Server is one member of the cluster inside this process. It syncs each record before it
// acknowledges it.
type Server struct {
	server *server.Server
}

// nameWithin is how long a server may take to say that it has a name.
const nameWithin = time.Second

// ErrNameTaken says that a server of the same name runs. Two of them count as one in the elections of the cluster, so
// two servers may lead at once, and acknowledged records may be lost.
var ErrNameTaken = errors.New("another server of the log has this name, perhaps with a copy of this folder")

// CheckName fails with ErrNameTaken if a server of this name answers through one of the servers at the URLs. Call it
// before StartServer. Servers that are out of reach are not asked.
func CheckName(ctx context.Context, o Options, name string) error {
	l, err := newLog(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(o.URLs))*nameWithin)
	defer cancel()
	for _, url := range o.URLs {
		found, err := l.ask(ctx, url, []string{name}, nameWithin)
		if err != nil {
			continue // it does not run, or starts
		}
		if _, taken := found[name]; taken {
			return fmt.Errorf("%w: %s runs, and %s knows it", ErrNameTaken, name, url)
		}
		return nil // it knows all that are connected
	}
	return nil
}

// StartServer starts a member. It returns when clients can connect, which is before the
// cluster has a leader.
func StartServer(o ServerOptions) (*Server, error) {
	options, err := o.server()
	if err != nil {
		return nil, err
	}
	return o.start(options)
}

func (o *ServerOptions) start(options *server.Options) (*Server, error) {
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configuring the log server %s: %w", o.Name, err)
	}
	if o.Logger != nil {
		s.SetLoggerV2(serverLog{o.Logger}, false, false, false)
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("the log server %s does not listen on %s; is the port in use, or is %s damaged?",
			o.Name, o.Listen, o.Dir)
	}
	return &Server{server: s}, nil
}

// server makes the options of the NATS server.
func (o *ServerOptions) server() (*server.Options, error) {
	if o.Name == "" || o.Dir == "" {
		return nil, errors.New("jetstream: a server needs a name and a directory")
	}
	if o.Login.User == "" || o.Login.Password == "" || o.System.User == "" || o.System.Password == "" {
		return nil, errors.New("jetstream: a server needs a user and a password for clients and for the system account")
	}
	host, port, err := address(o.Listen)
	if err != nil {
		return nil, err
	}
	system := server.NewAccount("SYS")
	options := &server.Options{
		ServerName:    o.Name,
		Host:          host,
		Port:          port,
		NoSigs:        true,
		JetStream:     true,
		StoreDir:      o.Dir,
		SyncAlways:    true,
		TLSConfig:     o.TLS,
		TLS:           o.TLS != nil,
		Accounts:      []*server.Account{system},
		SystemAccount: system.Name,
		Users: []*server.User{
			{Username: o.Login.User, Password: o.Login.Password},
			{Username: o.System.User, Password: o.System.Password, Account: system},
		},
	}
	if len(o.Members) == 0 {
		return options, nil
	}
	if host, port, err = address(o.Routes); err != nil {
		return nil, err
	}
	// A member may do everything with the records. One authority may issue certificates to others too, such as edges, so
	// a member has to know the password of the system account. It gives it also to a member of a former version, which
	// does not ask for it, and whose own attempts to connect are refused. One connection of the two is enough.
	options.Cluster = server.ClusterOpts{
		Name: o.Cluster, Host: host, Port: port, NoAdvertise: true,
		Username: o.System.User, Password: o.System.Password,
		TLSConfig: o.RoutesTLS, TLSTimeout: 5,
	}
	for _, m := range o.Members {
		if _, _, err := address(m); err != nil {
			return nil, err
		}
		options.Routes = append(options.Routes, &url.URL{
			Scheme: "nats", Host: m, User: url.UserPassword(o.System.User, o.System.Password),
		})
	}
	return options, nil
}

func address(hostport string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(hostport)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("jetstream: %q is no address host:port: %w", hostport, err)
	}
	return host, port, nil
}

// URL is where clients connect.
func (s *Server) URL() string { return s.server.ClientURL() }

// Stop hands leadership over, stops the server and waits for its end. Its files stay.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// Shutdown is Stop, but does not wait longer than ctx. After an error the server goes on stopping, and ends with the
// process at the latest. That loses nothing: it has synced what it acknowledged.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	go func() { defer close(done); s.Stop() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping a server of the log: %w", ctx.Err())
	}
}
