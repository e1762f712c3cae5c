package sidecar

import (
	"errors"
	"fmt"
	"io"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/authz"
	"github.com/scimward/scimward/sidecar/internal/bundles"
	"github.com/scimward/scimward/sidecar/internal/decisionlog"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// The types of the admin listener's answers.
type (
	// Status is the answer of /v1/status.
	Status = admin.Status
	// CredentialReport lists names that look like credentials.
	CredentialReport = admin.CredentialReport
	// KeyList lists the signing keys of a tenant.
	KeyList = admin.KeyList
	// ConfigStatus tells which configuration is in force.
	ConfigStatus = admin.ConfigStatus
	// TenantStatus is one tenant in numbers.
	TenantStatus = admin.TenantStatus
	// Leaver is a locked user who still has credentials to revoke.
	Leaver = admin.Leaver
	// AppUnprovisioned counts persons of one application whom the directory does not know.
	AppUnprovisioned = authz.AppUnprovisioned
	// Explanation says what scimward makes of a name.
	Explanation = admin.Explanation
	// UnprovisionedPerson is a person whom the directory does not know.
	UnprovisionedPerson = authz.UnprovisionedPerson
	// OpenKind is one kind of credential of a leaver that is not revoked yet.
	OpenKind = admin.OpenKind
	// LockStatus is an operator's lock.
	LockStatus = admin.LockStatus
	// Locked is the answer to a lock of an operator.
	Locked = admin.Locked
	// LockUse says how often a lock refused a request.
	LockUse = admin.LockUse
	// Raising asks to raise the format of the log.
	Raising = admin.Raising
	// Raised is the answer to it.
	Raised = admin.Raised
	// LeaverList is the answer of the list of leavers.
	LeaverList = admin.LeaverList
	// TrailEnd is the end of a verified audit trail.
	TrailEnd = revoke.TrailEnd
	// Retried is the answer to a retry of an operator.
	Retried = revoke.Retried
	// Approval is a deletion that a policy holds.
	Approval = revoke.Approval
	// ApprovalList are the held deletions of a tenant.
	ApprovalList = admin.ApprovalList
	// ApprovalDecided is the answer to an approval or a rejection.
	ApprovalDecided = admin.ApprovalDecided
	// EvidenceDeletion is a held deletion in an evidence report.
	EvidenceDeletion = revoke.DeletionReport
	// JobRef names a job.
	JobRef = revoke.JobRef
	// ClientList are the OAuth clients of a tenant.
	ClientList = admin.ClientList
	// TakenOver is an active user whom an application refuses because of a name of somebody else.
	TakenOver = admin.TakenOver
	// UnusableClient is a client that cannot come in.
	UnusableClient = admin.UnusableClient
	// UnawareEnvoy is an Envoy that does not know a host.
	UnawareEnvoy = admin.UnawareEnvoy
	// RefusedFor counts refused requests of a client.
	RefusedFor = admin.RefusedFor
	// ClientStatus is an OAuth client.
	ClientStatus = admin.ClientStatus
	// ClientChanged is the answer to a change of a client.
	ClientChanged = admin.ClientChanged
	// ClientChecked is the answer to a check of a client.
	ClientChecked = admin.ClientChecked
	// ClientRef names a client.
	ClientRef = admin.ClientRef
	// ClientAdd asks to add a client.
	ClientAdd = admin.ClientAdd
	// ClientSet asks to change settings of a client.
	ClientSet = admin.ClientSet
	// ClientRules say how a client gets access tokens.
	ClientRules = admin.ClientRules
	// ClientCheck asks to check a client.
	ClientCheck = admin.ClientCheck
	// ClientRotate asks to replace the keys of a client.
	ClientRotate = admin.ClientRotate
	// TokenCreate asks for a static token.
	TokenCreate = admin.TokenCreate
	// TokenRevoke asks to end a static token.
	TokenRevoke = admin.TokenRevoke
	// TokenStatus is a static token.
	TokenStatus = admin.TokenStatus
	// NewToken is the answer to the creation of a static token.
	NewToken = admin.NewToken
	// Pausing asks to pause or resume SCIM of a tenant.
	Pausing = admin.Pausing
	// Paused is the answer to a pause or its end.
	Paused = admin.Paused
	// Replay asks what a bundle makes of recorded requests.
	Replay = admin.Replay
	// PolicyEval asks what a bundle makes of one recorded request.
	PolicyEval = admin.PolicyEval
	// Replayed is what it makes of them.
	Replayed = admin.Replayed
	// Judged is a recorded request with each requirement.
	Judged = admin.Judged
	// DecisionRecord is one decision.
	DecisionRecord = decisionlog.Record
	// PolicyStatus is the policy bundle of a tenant.
	PolicyStatus = bundles.Status
	// PolicyPreparing is a policy bundle that is being compiled and tested.
	PolicyPreparing = bundles.Preparing
	// PolicyEntry is a bundle that was in force.
	PolicyEntry = bundles.Entry
	// PolicyPush asks to put a policy bundle in force.
	PolicyPush = admin.PolicyPush
	// PolicyActivate asks to fetch the policy bundle of the source now.
	PolicyActivate = admin.PolicyActivate
	// PolicyRollback asks to put an earlier policy bundle in force again.
	PolicyRollback = admin.PolicyRollback
	// PolicyChanged is the answer to a change of the policy bundle in force.
	PolicyChanged = admin.PolicyChanged
	// PolicyLog lists when the policy bundle of a tenant changed.
	PolicyLog = admin.PolicyLog
	// Unlocked is the answer to an unlock of an operator.
	Unlocked = admin.Unlocked
	// RefusedDeactivation is a deactivation that was refused; the person still has access.
	RefusedDeactivation = admin.RefusedDeactivation
	// PluginStatus is one plugin and whether it can revoke now.
	PluginStatus = admin.PluginStatus
	// Component is one part of the process and whether it is ready.
	Component = admin.Component
	// Readiness is whether this process can answer.
	Readiness = admin.Readiness
	// Dismiss asks to dismiss refused deactivations.
	Dismiss = admin.Dismiss
	// Dismissed is what was dismissed.
	Dismissed = admin.Dismissed
	// Evidence is a report on the revocation of one user's credentials.
	Evidence = revoke.Report
	// EvidenceOffboarding is one deactivation or deletion.
	EvidenceOffboarding = revoke.OffboardReport
	// EvidenceKind is one kind of credential in one application.
	EvidenceKind = revoke.KindReport
	// EvidenceProbe is one verification of a kind.
	EvidenceProbe = revoke.ProbeEntry
	// EvidenceRefusal is a request to deactivate or delete the user that was refused.
	EvidenceRefusal = revoke.RefusedReport
	// EvidenceMatch is one of several users who left under the requested name.
	EvidenceMatch = revoke.Match
)

// Headers of the admin listener's answers.
const (
	HeaderDataDir    = admin.HeaderDataDir // percent-encoded path of the data folder
	HeaderNameHolder = admin.HeaderHolder  // SCIM id of the user who has the name now

	HeaderOperator = admin.HeaderOperator // percent-encoded name that the operator gives
)

// ErrKeySet says that the JWK set document cannot be used. It says nothing about the report.
var ErrKeySet = errors.New("the key set cannot be used")

// VerifyTrail checks a whole audit trail that was exported as lines of JSON.
func VerifyTrail(r io.Reader) (TrailEnd, error) {
	end, err := revoke.VerifyTrail(r)
	if err != nil {
		return end, fmt.Errorf("checking the audit chain: %w", err)
	}
	return end, nil
}

// VerifyEvidence reads a sealed report and checks it without the service. It checks the audit
// chain, the text under the seal and the signature. jwks is the JWK set document with the public
// keys of the tenant. If jwks is nil, it does not check the signature.
// An unusable jwks is ErrKeySet.
func VerifyEvidence(r io.Reader, jwks []byte) (*Evidence, error) {
	rep, err := revoke.Read(r)
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	if jwks == nil {
		return rep, nil
	}
	claims, err := token.VerifyDocument(rep.Seal.JWS, "evidence+jwt", jwks)
	var refused *token.Error
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	if err != nil {
		return nil, fmt.Errorf("checking the seal: %w", err)
	}
	if claims["digest"] != rep.Seal.Digest || claims["head"] != rep.Seal.Head || claims["sub"] != rep.User {
		return nil, errors.New("the signature is over another report")
	}
	return rep, nil
}
