// Package revoker is the Go SDK for scimward revocation plugins. A plugin is a Go program that revokes
// the credentials that one application issued to a user: sessions, tokens, keys and devices.
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
// In a c-shared module main does not run, so call Register from init. There are no sockets, files or
// environment. Use [Context.HTTP] for requests to the application. The host sends them, but only where
// manifest and grant allow. A plugin never sees a secret or a user's credential. It names them ([Secret],
// [CredentialOf]) and the host inserts them.
//
// A plugin must be idempotent, because the host repeats failed calls. Test it natively with [Test]. `go
// test` needs no Wasm.
package revoker

import "github.com/scimward/scimward/plugins/abi"

// The documents of the ABI under shorter names. Package abi describes each.
type (
	// Kind is one kind of credential, or the account.
	Kind = abi.Kind
	// Request is the input of a call.
	Request = abi.Request
	// Subject is the user of the call.
	Subject = abi.Subject
	// Event is the change of the user.
	Event = abi.Event
	// Credential names a credential that was found on a request.
	Credential = abi.Credential
	// Evidence is one call that revoked a credential.
	Evidence = abi.Evidence
	// Identity is a user, by at least one name.
	Identity = abi.Identity
	// Liveness is the answer of verify about one kind.
	Liveness = abi.Liveness
	// Health is ok, degraded or error.
	Health = abi.Health
	// Result is the outcome for one kind. Make one with [Revoked], [Nothing], [Retry], [Failed], [Partial],
	// [Unsupported], [Context.FromHTTP] or [Context.Each]. The SDK sets Kind.
	Result = abi.KindResult
)

// The kinds that a plugin may handle.
const (
	SSHKey       = abi.KindSSHKey
	Device       = abi.KindDevice
	Account      = abi.KindAccount
	RefreshToken = abi.KindRefreshToken
	PAT          = abi.KindPAT
	APIToken     = abi.KindAPIToken
	WebSession   = abi.KindWebSession
)

// Plugin is the plugin that an author writes. Name, Version and Kinds must equal the manifest's.
type Plugin struct {
	Name    string
	Version string
	Kinds   []Kind

	// Revoke makes every credential of one kind unusable. The SDK calls it once for each requested kind, in
	// the order of the request. Event.Type is deactivation, deletion or reactivation (kind [Account] only).
	// Required.
	//
	// Except for Account, the host calls again until two answers in a row found nothing (state revoked or
	// nothing_to_revoke, Found and Count 0). New credentials may appear while the old ones are revoked. If
	// every answer has a count, the job stays retrying with code still_minting.
	Revoke func(ctx *Context, kind Kind) Result

	// Verify counts the credentials of one kind that are still usable, with GET and HEAD only. An error
	// leaves the kind unknown. To list again proves less than to probe: where you can, have the application
	// judge a revoked credential ([Context.RevokedIDs]) and say so with [Context.Probed]. If Verify is nil,
	// the plugin cannot verify.
	Verify func(ctx *Context, kind Kind) (live int, err error)

	// Identify returns the owner of the credential c, with GET and HEAD only. An Owner without Subject means
	// that the application does not know it, unless Anonymous is true: a session of nobody, such as the one of
	// a sign-in page. An error means that the owner is unknown. If Identify is nil, the plugin cannot identify.
	Identify func(ctx *Context, c Credential) (Owner, error)

	// Health makes one cheap read-only request. If nil, health is always ok.
	Health func(ctx *Context) Health
}

// Owner is the answer of Identify.
type Owner = abi.IdentifyResult

// Register makes p the plugin of this module. Call it once, from init.
func Register(p Plugin) { register(p) }
