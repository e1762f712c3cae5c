package plugins

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins/abi"
)

// Config is one plugin for one application of one tenant.
type Config struct {
	// Tenant and App are the names under which the plugin is called. A pair is used once.
	Tenant string
	App    string

	// Kinds are the kinds that the application issues, empty means all. A plugin that handles another kind
	// does not load, because that kind would never be revoked.
	Kinds []abi.Kind

	// Manifest is the path of the plugin's manifest. The module's path in it is relative to the manifest's
	// folder.
	Manifest string

	// Settings overrides the manifest's config object, key by key, and reaches the guest as its config. It
	// must contain no secret, because the guest reads all of it.
	Settings map[string]any

	// Grant lists the permissions from the operator. The zero value allows nothing.
	Grant Grant
}

// Grant is what an operator allows a plugin to do. A plugin may do what its manifest needs and its grant
// allows. A need without a grant stops the plugin from loading, and the error names it.
type Grant struct {
	// HTTP lists where requests may go. If empty, the plugin sends none.
	HTTP []HTTPRule

	// Secrets maps a secret's name to its file. The host reads the file again when it changes and drops one
	// trailing newline. Values never enter the worker process.
	Secrets map[string]string

	// Limits replaces the defaults. A manifest may only ask for less.
	Limits Limits
}

// HTTPRule allows requests to one host. A request is allowed when one rule allows all of it.
type HTTPRule struct {
	// Scheme is "https" (also when empty) or "http".
	Scheme string

	// Host is an exact name or IP address, or "*.suffix" with exactly one label in place of the star.
	Host string

	// Port is the scheme's own port if 0.
	Port int

	// Methods are the allowed methods. If empty, they are GET and HEAD.
	Methods []string

	// PathPrefix lists the paths under which requests may go, compared by whole segments. If empty, every
	// path is allowed.
	PathPrefix []string

	// Secrets names the secrets that may be sent there.
	Secrets []string

	// AllowPrivate lists the private, loopback or carrier ranges (CIDR) to which the host may resolve. If
	// empty, only public addresses are allowed. Link-local addresses never are.
	AllowPrivate []string

	// Identify allows the host to send a user's credential there, during identify only.
	Identify bool

	// CAFile is a PEM file of the authorities that may sign the host's certificate. If empty, the system's
	// authorities may.
	CAFile string

	// RPS limits the requests a second, with a burst of one second. 0 means no limit.
	RPS float64
}

// Limits bounds one plugin. Zero means the default named with each field.
type Limits struct {
	// MemoryMiB bounds the linear memory of one instance. Default 64, at most 256.
	MemoryMiB int `json:"memory_mib"`
	// TimeoutMS bounds a revoke or verify call. Default 10,000, at most 60,000.
	TimeoutMS int `json:"timeout_ms"`
	// HTTPRequests bounds the HTTP requests of one call. Default 64, at most 1,000.
	HTTPRequests int `json:"http_requests"`
	// HTTPTimeoutMS bounds one HTTP request. Default 5,000, at most 30,000.
	HTTPTimeoutMS int `json:"http_timeout_ms"`
	// Instances bounds the calls that run at the same time. Four times as many identify calls may run as
	// well. Default 2, at most 16.
	Instances int `json:"instances"`
	// CallsPerInstance is the number of calls after which an instance is replaced. Default 500, at most 100,000.
	CallsPerInstance int `json:"calls_per_instance"`
}

// Options configures a [Host].
type Options struct {
	// Plugins lists the plugins to load. If one does not load, [Host.Ready] says so and the others run.
	Plugins []Config

	// CacheDir contains compiled machine code. Open makes it with mode 0700. It must be private to this
	// process's user, because its content is executed. If empty, each start compiles again.
	CacheDir string

	// Self is the command that runs [RunWorker] on its stdin and stdout. If empty, it is this executable
	// with the argument "plugin-worker".
	Self []string

	// CompileTimeout bounds the compilation of one plugin. Zero means a minute. Tests on a busy
	// machine need more, above all with the race detector.
	CompileTimeout time.Duration

	// Now is the clock of caches and breakers, by default time.Now. Deadlines of calls use the real clock.
	Now func() time.Time

	// Logger receives the host's own events and the guests' log lines. If nil, they are discarded.
	Logger *slog.Logger

	// Metrics registers the counters. It may be nil.
	Metrics prometheus.Registerer
}

// ErrNoPlugin means that a tenant's application has no plugin.
var ErrNoPlugin = errors.New("plugins: no plugin for this application")

// Error says why a call gave no answer. Code is one of the abi.Code constants, or the guest's own.
type Error struct {
	Code    string
	Message string
}

// Error implements error.
func (e *Error) Error() string { return "plugins: " + e.Code + ": " + e.Message }
