package plugins

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is one plugin for one application of one tenant.
type Config struct {
	// Tenant and App are the names under which the plugin is called. A pair is used once.
	Tenant string
	App    string

	// Manifest is the path of the plugin's manifest. The module's path in it is relative to the manifest's folder.
	Manifest string

	// Settings overrides the manifest's config object, key by key, and reaches the guest as its config. It must hold no
	// secret: the guest reads all of it.
	Settings map[string]any

	// Grant is what the operator allows. The zero value allows nothing.
	Grant Grant
}

// Grant is what an operator allows a plugin to do. A plugin may do what its manifest needs and its grant allows. A
// need without a grant stops the plugin from loading, and the error names it.
type Grant struct {
	// HTTP lists where requests may go. Empty: nowhere.
	HTTP []HTTPRule

	// Secrets maps a secret's name to the file that holds it. The host reads the file again when it changes and drops
	// one trailing newline. Values never enter the worker process.
	Secrets map[string]string

	// Limits replaces the defaults. A manifest may ask for less, not for more.
	Limits Limits
}

// HTTPRule allows requests to one host. A request is allowed when one rule allows all of it.
type HTTPRule struct {
	// Scheme is "https" (also when empty) or "http".
	Scheme string

	// Host is an exact name or IP address, or "*.suffix" with exactly one label in place of the star.
	Host string

	// Port 0 is the scheme's own port.
	Port int

	// Methods allowed. Empty: GET and HEAD.
	Methods []string

	// PathPrefix lists the paths under which requests may go, compared by whole segments. Empty: all of the host.
	PathPrefix []string

	// Secrets names the secrets that may be sent there.
	Secrets []string

	// AllowPrivate lists the private, loopback or carrier ranges (CIDR) the host may resolve to. Empty: public addresses
	// only. Link-local addresses are never allowed.
	AllowPrivate []string

	// Identify allows the host to send a user's credential there, during identify only.
	Identify bool

	// CAFile is a PEM file of the authorities that may sign the host's certificate. Empty: the system's.
	CAFile string

	// RPS is the most requests a second, with a burst of one second. 0: no limit.
	RPS float64
}

// Limits bounds one plugin. Zero means the default named with each field.
type Limits struct {
	// MemoryMiB bounds the linear memory of one instance. Default 64, at most 256.
	MemoryMiB int `json:"memory_mib"`
	// TimeoutMS is the longest a revoke or verify call may take. Default 10 000, at most 60 000.
	TimeoutMS int `json:"timeout_ms"`
	// HTTPRequests is the most HTTP requests of one call. Default 64, at most 1 000.
	HTTPRequests int `json:"http_requests"`
	// HTTPTimeoutMS bounds one HTTP request. Default 5 000, at most 30 000.
	HTTPTimeoutMS int `json:"http_timeout_ms"`
	// Instances is how many calls run at the same time. Four times as many identify calls run beside them. Default 2, at
	// most 16.
	Instances int `json:"instances"`
	// CallsPerInstance is how many calls an instance serves before it is replaced. Default 500, at most 100 000.
	CallsPerInstance int `json:"calls_per_instance"`
}

// Options configures a [Host].
type Options struct {
	// Plugins lists the plugins to load. One that does not load does not stop the others: see [Host.Ready].
	Plugins []Config

	// CacheDir holds compiled machine code. Open makes it with mode 0700. It must be private to this process's user,
	// because its content is executed. Empty: each start compiles again.
	CacheDir string

	// Self is the command that runs [RunWorker] on its stdin and stdout. Empty: this executable with the argument
	// "plugin-worker".
	Self []string

	// Now is the clock of caches and breakers. nil: time.Now. Deadlines of calls use the real clock.
	Now func() time.Time

	// Logger receives the host's own events and the guests' log lines. nil: discarded.
	Logger *slog.Logger

	// Metrics receives the counters. nil: none.
	Metrics prometheus.Registerer
}

// ErrNoPlugin says that a tenant's application has no plugin.
var ErrNoPlugin = errors.New("plugins: no plugin for this application")

// Error says why a call gave no answer. Code is one of the abi.Code constants, or the guest's own.
type Error struct {
	Code    string
	Message string
}

// Error implements error.
func (e *Error) Error() string { return "plugins: " + e.Code + ": " + e.Message }
