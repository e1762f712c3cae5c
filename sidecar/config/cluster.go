package config

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// The roles of a process.
const (
	RoleStandalone = "standalone"
	RoleCore       = "core"
	RoleEdge       = "edge"
)

// The values of on_stale.
const (
	OnStaleRefuse = "refuse"
	OnStaleServe  = "serve"
)

// Stale returns how long a process without a lease serves the application: zero, or stale_limit.
func (a *App) Stale() time.Duration {
	if a.OnStale != OnStaleServe {
		return 0
	}
	return a.StaleLimit
}

// Stale returns the longest stale_limit of all applications that are served without a lease.
func (c *Config) Stale() (longest time.Duration) {
	for _, a := range c.AllApps() {
		longest = max(longest, a.Stale())
	}
	return longest
}

// Cluster makes this process one of several that keep one promise: when the SCIM answer is sent, nobody is served
// any more, at any of them. A change needs a restart.
type Cluster struct {
	// Role of this process. With standalone its own store is all that there is. A core shares the log of all
	// changes with the other cores: SCIM, checks and the revocation of credentials work at each of them. An edge
	// has no store: it answers the checks of applications with the locks that a core tells it. Default standalone.
	Role string `yaml:"role"`
	// Name of this process in the installation, unique and the same after a restart: 1 to 63 of a-z, 0-9 and -.
	// Required for a core and an edge.
	Name string `yaml:"name"`
	// Lease is how long a core may decide after it was last in touch with the log, and an edge with its core. A SCIM
	// answer that takes a right away waits so long for a process that is out of reach. The same in all processes.
	// Default 15s, which is longer than an election of the log takes. 2s to 2m.
	Lease time.Duration `yaml:"lease"`
	// Heartbeat is how often a core extends its lease. An edge extends its own when a fifth of it has passed. The same in
	// all processes. Default 1s. At most a fifth of lease.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Log is the shared log.
	Log ClusterLog `yaml:"log"`
	// Edges is where the edges connect to a core. Empty means that it serves none.
	Edges ClusterEdges `yaml:"edges"`
	// Cores are the addresses of edges.listen of all cores, "HOST:PORT". An edge connects to any of them, and to
	// another one when that does not answer. Required for an edge.
	Cores []string `yaml:"cores"`
	// TLS is the certificate that an edge shows to the cores; client_ca names the authority of theirs. Required for
	// cores beyond loopback.
	TLS TLS `yaml:"tls"`
}

// ClusterEdges is the listener of a core for edges.
type ClusterEdges struct {
	// Listen is "HOST:PORT".
	Listen string `yaml:"listen"`
	// TLS is the certificate of the listener. Required beyond loopback, with client_ca and client_names: an edge gets
	// the names of everybody who is locked, of all tenants.
	TLS ListenerTLS `yaml:"tls"`
}

// ClusterLog says where the shared log is: in a cluster of NATS servers with JetStream.
type ClusterLog struct {
	// Servers are the addresses of all servers for clients, "HOST:PORT", the one to prefer first. Required for a
	// core.
	Servers []string `yaml:"servers"`
	// Member runs one of the servers in this process. Empty means that the servers run elsewhere.
	Member ClusterMember `yaml:"member"`
	// TLS is the certificate of this process for the servers and, as a member, for its clients and the other members;
	// client_ca names the authority of all of them. Required beyond loopback.
	TLS TLS `yaml:"tls"`
	// PasswordFile is a file with the password of the user "scimward" of the servers. Required for a core.
	PasswordFile string `yaml:"password_file"`
	// SystemPasswordFile is a file with the password of the user "scimward-system", who belongs to the system
	// account of the servers. scimward asks as this user whether the servers keep what they acknowledge.
	// Required for a core.
	SystemPasswordFile string `yaml:"system_password_file"`
	// Replicas is the number of servers that keep each record: 3, 5, or 1 for a trial. Default 3.
	Replicas int `yaml:"replicas"`
	// AcceptLoss lets scimward write although the servers may lose acknowledged changes, for instance with fewer
	// than three replicas. Default false.
	AcceptLoss bool `yaml:"accept_loss"`
}

// ClusterMember is a server of the log in this process.
type ClusterMember struct {
	// Listen is where clients connect, "HOST:PORT". Empty means that this process runs no server.
	Listen string `yaml:"listen"`
	// Routes is where the other members connect, "HOST:PORT". Required for one of several.
	Routes string `yaml:"routes"`
	// Members are the addresses in routes of all members, this one too. Empty means a single server.
	Members []string `yaml:"members"`
}

// Shared reports whether the process shares its log with others.
func (c *Cluster) Shared() bool { return c.Role == RoleCore }

// Outlasting returns a timeout for an answer that takes limit without the others: it is longer by the time for which
// an answer may wait until a core that is out of reach has no lease.
func (c *Cluster) Outlasting(limit time.Duration) time.Duration {
	if c.Role == RoleStandalone {
		return limit
	}
	return limit + c.Lease + c.Lease/50 + time.Second // rates of clocks that differ by 1 %, and some reserve
}

// IsEdge reports whether the process follows a core.
func (c *Cluster) IsEdge() bool { return c.Role == RoleEdge }

func (c *Cluster) complete(dir folder) {
	or(&c.Role, RoleStandalone)
	or(&c.Lease, 15*time.Second)
	or(&c.Heartbeat, time.Second)
	or(&c.Log.Replicas, 3)
	t := &c.Log.TLS
	dir.abs(&t.Cert, &t.Key, &t.ClientCA, &c.Log.PasswordFile, &c.Log.SystemPasswordFile)
	dir.abs(&c.TLS.Cert, &c.TLS.Key, &c.TLS.ClientCA)
	e := &c.Edges.TLS
	dir.abs(&e.Cert, &e.Key, &e.ClientCA)
}

// cluster checks the role of the process.
func (c checker) cluster(cl *Cluster) {
	if !slices.Contains([]string{RoleStandalone, RoleCore, RoleEdge}, cl.Role) {
		c.oneOf("cluster.role", cl.Role, RoleStandalone, RoleCore, RoleEdge)
		return
	}
	within(c, "cluster.lease", cl.Lease, 2*time.Second, 2*time.Minute)
	within(c, "cluster.heartbeat", cl.Heartbeat, 50*time.Millisecond, cl.Lease/5)
	for _, k := range clusterKeys(cl) {
		if !slices.Contains(k.roles, cl.Role) {
			c.fail(k.path, "write role: "+strings.Join(k.roles, " or ")+", or remove it",
				"a process with the role %s has none", cl.Role)
		}
	}
	switch cl.Role {
	case RoleCore:
		c.core(cl)
	case RoleEdge:
		c.edge(cl)
	}
}

// clusterKey is a key that only some roles have.
type clusterKey struct {
	path  string
	roles []string
}

// clusterKeys returns the keys that are set.
func clusterKeys(cl *Cluster) (out []clusterKey) {
	for _, k := range []struct {
		set bool
		clusterKey
	}{
		{cl.Name != "", clusterKey{"cluster.name", []string{RoleCore, RoleEdge}}},
		{len(cl.Log.Servers) > 0, clusterKey{"cluster.log.servers", []string{RoleCore}}},
		{cl.Log.Member.Listen != "", clusterKey{"cluster.log.member", []string{RoleCore}}},
		{cl.Edges.Listen != "", clusterKey{"cluster.edges", []string{RoleCore}}},
		{len(cl.Cores) > 0, clusterKey{"cluster.cores", []string{RoleEdge}}},
		{cl.TLS.Cert != "", clusterKey{"cluster.tls", []string{RoleEdge}}},
	} {
		if k.set {
			out = append(out, k.clusterKey)
		}
	}
	return out
}

// edge checks what an edge needs.
func (c checker) edge(cl *Cluster) {
	c.name("cluster.name", cl.Name)
	c.require("cluster.cores", len(cl.Cores) > 0, "list HOST:PORT of edges.listen of every core")
	beyond := false
	for i, addr := range cl.Cores {
		c.hostPort(fmt.Sprintf("cluster.cores[%d]", i), addr)
		local, ok := loopback(addr)
		beyond = beyond || ok && !local
	}
	if beyond && (cl.TLS.Cert == "" || cl.TLS.Key == "" || cl.TLS.ClientCA == "") {
		c.fail("cluster.tls", "name cert, key and client_ca", "required for cores beyond loopback")
	}
	c.tls("cluster.tls", cl.TLS, false)
}

// core checks what a core needs.
func (c checker) core(cl *Cluster) {
	c.name("cluster.name", cl.Name)
	l := &cl.Log
	if c.require("cluster.log.servers", len(l.Servers) > 0, "list HOST:PORT of every server of the log") {
		for i, s := range l.Servers {
			c.hostPort(fmt.Sprintf("cluster.log.servers[%d]", i), s)
		}
	}
	c.clusterPlaces(l)
	c.require("cluster.log.password_file", l.PasswordFile != "", "name the file with the password of scimward")
	c.require("cluster.log.system_password_file", l.SystemPasswordFile != "",
		"name the file with the password of scimward-system")
	if l.Replicas != 1 && l.Replicas != 3 && l.Replicas != 5 {
		c.fail("cluster.log.replicas", "use 3 or 5, or 1 for a trial", "%d is not possible", l.Replicas)
	}
	if l.Replicas == 1 && !l.AcceptLoss {
		c.fail("cluster.log.replicas", "use 3, or write accept_loss: true", "a single copy may lose acknowledged changes")
	}
	if e := &cl.Edges; e.Listen != "" {
		c.hostPort("cluster.edges.listen", e.Listen)
		if local, ok := loopback(e.Listen); ok && !local && e.TLS.ClientCA == "" {
			c.fail("cluster.edges.tls", "name cert, key, client_ca and client_names", "required beyond loopback")
		}
		c.tls("cluster.edges.tls", e.TLS.Files(), false)
		c.peerNames("cluster.edges.tls.client_names", e.TLS.ClientNames, e.TLS.ClientCA, "client_ca")
		if e.TLS.ClientCA != "" && len(e.TLS.ClientNames) == 0 {
			c.fail("cluster.edges.tls.client_names", "list the names in the certificates of your edges", "no edge may connect")
		}
	}
}

// clusterPlaces checks the addresses and certificates of the servers.
func (c checker) clusterPlaces(l *ClusterLog) {
	beyond := false
	for _, s := range append([]string{l.Member.Listen, l.Member.Routes}, l.Servers...) {
		local, ok := loopback(s)
		beyond = beyond || ok && !local
	}
	if beyond && (l.TLS.Cert == "" || l.TLS.Key == "" || l.TLS.ClientCA == "") {
		c.fail("cluster.log.tls", "name cert, key and client_ca", "required for servers beyond loopback")
	}
	c.tls("cluster.log.tls", l.TLS, true)
	m := &l.Member
	if m.Listen == "" {
		if m.Routes != "" || len(m.Members) > 0 {
			c.fail("cluster.log.member.listen", "name HOST:PORT for clients, or remove the other keys of member", "required")
		}
		return
	}
	c.hostPort("cluster.log.member.listen", m.Listen)
	if len(m.Members) == 0 {
		return
	}
	c.hostPort("cluster.log.member.routes", m.Routes)
	for i, s := range m.Members {
		c.hostPort(fmt.Sprintf("cluster.log.member.members[%d]", i), s)
	}
}

func (c checker) hostPort(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || !isPort(port) {
		c.fail(path, "write HOST:PORT", "%q is no address", addr)
	}
}

// Secret reads a file with one secret, without the white space around it.
func Secret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if len(s) < 16 {
		return "", fmt.Errorf("reading a secret: %s has less than 16 characters", path)
	}
	return s, nil
}
