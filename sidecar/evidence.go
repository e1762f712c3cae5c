package sidecar

import (
	"errors"
	"fmt"
	"io"

	"github.com/scimward/scimward/sidecar/internal/admin"
	"github.com/scimward/scimward/sidecar/internal/revoke"
	"github.com/scimward/scimward/sidecar/internal/token"
)

// Status is the answer of the admin listener's /v1/status.
type Status = admin.Status

// Evidence is a report on the revocation of one user's credentials.
type Evidence = revoke.Report

// EvidenceKind is what became of one kind in one app.
type EvidenceKind = revoke.KindReport

// EvidenceOffboarding is one deactivation or deletion.
type EvidenceOffboarding = revoke.OffboardReport

// TenantStatus is one tenant in numbers.
type TenantStatus = admin.TenantStatus

// EvidenceMatch is one of several users who left under the name that was asked for.
type EvidenceMatch = revoke.Match

// Leaver is a user who is locked, and not out of every application yet.
type Leaver = admin.Leaver

// OpenKind is one kind of a leaver that is not done.
type OpenKind = admin.OpenKind

// Headers of the admin listener's answers.
const (
	HeaderDataDir    = admin.HeaderDataDir // percent-encoded path of the data folder
	HeaderNameHolder = admin.HeaderHolder  // SCIM id of who has the name of a report now
)

// VerifyEvidence reads a sealed report and checks it without the service: the
// audit chain, the text under the seal, and, with the tenant's public keys as a
// JWK set document, the signature. With nil keys the signature is not checked.
func VerifyEvidence(r io.Reader, jwks []byte) (*Evidence, error) {
	rep, err := revoke.Read(r)
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	if jwks == nil {
		return rep, nil
	}
	claims, err := token.VerifyDocument(rep.Seal.JWS, "evidence+jwt", jwks)
	if err != nil {
		return nil, fmt.Errorf("checking the seal: %w", err)
	}
	if claims["digest"] != rep.Seal.Digest || claims["head"] != rep.Seal.Head || claims["sub"] != rep.User {
		return nil, errors.New("the signature is over another report")
	}
	return rep, nil
}
