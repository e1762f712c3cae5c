// Package revoker is the Go SDK for scimward revocation plugins. A plugin is a Go program that revokes, in one
// application, what that application issued to a user: sessions, tokens, keys, devices.
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
// In a c-shared module main does not run, so call Register from init. There are no sockets, files or environment. For
// requests to the application use [Context.HTTP]: the host sends them, and only where manifest and grant allow. A
// plugin never sees a secret or a user's credential. It names them ([Secret], [CredentialOf]) and the host inserts
// them.
//
// A plugin must be idempotent: the host repeats a call that did not end well. Test it natively with [Test]: `go test`
// needs no Wasm.
package revoker

import "github.com/scimward/scimward/plugins/abi"

// The documents of the ABI under shorter names. Package abi describes each.
type (
	// Kind is one kind of credential, or the account.
	Kind = abi.Kind
	// Request is what the host asks.
	Request = abi.Request
	// Subject is the user of the call.
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
	// Result is the outcome for one kind. Make one with [Revoked], [Nothing], [Retry], [Failed], [Partial],
	// [Unsupported], [Context.FromHTTP] or [Context.Each]. The SDK sets Kind.
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

// Plugin is what a plugin author writes. Name, Version and Kinds must equal those of the manifest.
type Plugin struct {
	Name    string
	Version string
	Kinds   []Kind

	// Revoke makes every credential of one kind unusable. The SDK calls it once for each requested kind, in the order of
	// the request. Event.Type is deactivation, deletion or reactivation (kind [Account] only). Required.
	//
	// Except for Account the host calls again until two answers in a row found nothing (state revoked or
	// nothing_to_revoke, Found and Count 0), because new credentials may appear while the old ones go. If every answer
	// has a count, the job stays retrying with code still_minting.
	Revoke func(ctx *Context, kind Kind) Result

	// Verify counts the credentials of one kind that are still usable, with GET and HEAD only. An error leaves the kind
	// unknown. nil: the plugin cannot verify.
	Verify func(ctx *Context, kind Kind) (live int, err error)

	// Identify says whose credential c is, with GET and HEAD only. An Owner without Subject says that the application
	// does not know it. An error says that the plugin could not find out. nil: the plugin cannot identify.
	Identify func(ctx *Context, c Credential) (Owner, error)

	// Health is one cheap read-only request. nil: always ok.
	Health func(ctx *Context) Health
}

// Owner is the answer of Identify.
type Owner = abi.IdentifyResult

// Register makes p the plugin of this module. Call it once, from init.
func Register(p Plugin) { register(p) }
