package revoke

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/scimward/scimward/store/audit"
)

const maxReportBytes = 64 << 20

// Seal binds the report to its tenant: a signature over Digest and the chain's head.
type Seal struct {
	Digest string `json:"digest"` // sha256:<hex> of the report without its seal
	Head   string `json:"head"`   // hash of the last record of the chain
	JWS    string `json:"jws"`    // signed by the tenant's own key; its claims repeat digest and head
}

// Sign makes the compact JWS of a seal with the tenant's own key.
type Sign func(tenant string, claims map[string]any) (string, error)

// digest is the sha256 of the report without its seal.
func digest(r *Report) (string, error) {
	bare := *r
	bare.Seal = nil
	b, err := json.Marshal(&bare)
	if err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func seal(r *Report, sign Sign) error {
	d, err := digest(r)
	if err != nil {
		return err
	}
	s := &Seal{Digest: d}
	if n := len(r.Chain); n > 0 {
		s.Head = r.Chain[n-1].Hash.String()
	}
	s.JWS, err = sign(r.Tenant, map[string]any{
		"digest": s.Digest, "head": s.Head, "sub": r.User, "iat": r.Generated.Unix(),
	})
	if err != nil {
		return fmt.Errorf("sealing the report: %w", err)
	}
	r.Seal = s
	return nil
}

// Read reads a report and checks it without a store. Its audit chain must have no gap and no changed
// record, and its seal must cover exactly this text. The caller checks the signature of Seal.JWS. The
// claims in the JWS must repeat Digest and Head.
func Read(in io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxReportBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if len(b) > maxReportBytes {
		return nil, errors.New("the report is larger than 64 MiB")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var r Report
	if err := dec.Decode(&r); err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file contains more than one report")
	}
	if err := sameText(b, &r); err != nil {
		return nil, err
	}
	if r.Schema != EvidenceSchema {
		return nil, fmt.Errorf("schema %q is not %s", r.Schema, EvidenceSchema)
	}
	if len(r.Chain) == 0 || r.Seal == nil {
		return nil, errors.New("the report has no audit chain or no seal, so it proves nothing")
	}
	first := r.Chain[0]
	c := audit.Chain{Tenant: r.Tenant, N: first.N - 1, Head: first.Prev}
	for i := range r.Chain {
		if err := c.Next(&r.Chain[i]); err != nil {
			return nil, fmt.Errorf("checking the audit chain: %w", err)
		}
	}
	d, err := digest(&r)
	if err != nil {
		return nil, err
	}
	if d != r.Seal.Digest {
		return nil, errors.New("the report was changed after it was sealed")
	}
	if c.Head.String() != r.Seal.Head {
		return nil, errors.New("the seal belongs to another audit chain")
	}
	return &r, nil
}

// sameText checks that b is the text that scimward writes for r, apart from white space. So no key is
// repeated or in another case, and no number or time has another spelling.
func sameText(b []byte, r *Report) error {
	want, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the report: %w", err)
	}
	var got bytes.Buffer
	if err := json.Compact(&got, b); err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		return errors.New("the report was edited or reformatted after scimward wrote it: export it again")
	}
	return nil
}
