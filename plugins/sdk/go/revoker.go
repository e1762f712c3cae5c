// Package revoker is the Go SDK for scimward revocation plugins. A plugin is one
// Go program that tells how to revoke, in one application, what that application
// issued to a user: sessions, tokens, keys, devices.
//
//	func main() {}
//
//	func init() { revoker.Register(Plugin()) }
//
//	func Plugin() revoker.Plugin { … }
//
// Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o my.wasm .
//
// In a c-shared module main does not run, so Register is called from init. There
// are no sockets, files or environment: requests to the application go through
// [Context.HTTP], the host sends them, and only where manifest and grant allow.
// A plugin never sees a secret or a user's credential; it names them ([Secret],
// [CredentialOf]) and the host puts them in.
//
// A plugin must be idempotent: the host repeats a call that did not end well.
// Test it natively with [Test]: `go test` needs no Wasm.
package revoker

import "github.com/scimward/scimward/plugins/abi"

// The documents of the ABI, under shorter names; package abi says what each holds.
type (
	// Kind is one kind of credential, or the account.
	Kind = abi.Kind
	// Request is what the host asks.
	Request = abi.Request
	// Subject is the user it is about.
	Subject = abi.Subject
	// Event is what happened to the user.
	Event = abi.Event
	// Credential names a credential that was found on a request.
	Credential = abi.Credential
	// Evidence is one call that revoked something.
	Evidence = abi.Evidence
	// Identity is a user, by at least one name.
	Identity = abi.Identity
	// Health is how the plugin is: ok, degraded or error.
	Health = abi.Health
	// Result is the outcome for one kind. Make one with [Revoked], [Nothing],
	// [Retry], [Failed], [Partial], [Unsupported], [Context.FromHTTP] or
	// [Context.Each]; the SDK fills in Kind.
	Result = abi.KindResult
)

// The kinds a plugin may answer for.
const (
	SSHKey       = abi.KindSSHKey
	Device       = abi.KindDevice
	Account      = abi.KindAccount
	RefreshToken = abi.KindRefreshToken
	PAT          = abi.KindPAT
	APIToken     = abi.KindAPIToken
	WebSession   = abi.KindWebSession
)

// Plugin is what a plugin author writes. Name, Version and Kinds must be those of
// the manifest.
type Plugin struct {
	Name    string
	Version string
	Kinds   []Kind

	// Revoke makes every credential of one kind unusable. It is called once for each
	// kind that is asked for, in the order they are asked for. Event.Type tells
	// apart deactivation, deletion and reactivation (kind [Account] only). Required.
	//
	// Except for Account it is called again until two answers in a row found nothing
	// (state revoked or nothing_to_revoke, Found and Count 0), because new credentials
	// may appear while the old ones go. One that answers a count each time is given up
	// for now as still_minting, and the job stays retrying.
	Revoke func(ctx *Context, kind Kind) Result

	// Verify counts the credentials of one kind that are still usable, with GET and
	// HEAD only. An error leaves the kind unknown. nil: the plugin cannot tell.
	Verify func(ctx *Context, kind Kind) (live int, err error)

	// Identify tells whose credential it is, with GET and HEAD only. An Owner
	// without Subject says the application does not know it; an error says that the
	// plugin could not find out. nil: the plugin cannot tell.
	Identify func(ctx *Context, c Credential) (Owner, error)

	// Health is one cheap read-only request. nil: always ok.
	Health func(ctx *Context) Health
}

// Owner is the answer of Identify.
type Owner = abi.IdentifyResult

// Register makes p the plugin of this module. Call it once, from init.
func Register(p Plugin) { register(p) }
