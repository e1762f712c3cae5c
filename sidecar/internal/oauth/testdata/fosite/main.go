// Command fosite judges assertions with ory/fosite, for a test that compares its verdicts with
// scimward's. It is a module of its own, so that what fosite needs stays out of go.mod.
//
// Its first line of input is a config, each further line an assertion. It answers each assertion
// with one line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/rfc7523"
)

const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// config is the one client and what its assertions must be for.
type config struct {
	Client    string
	Algorithm string
	Audience  string
	JWKS      jose.JSONWebKeySet
}

// question is an assertion that authenticates the client (RFC 7523 §2.2), or is the grant itself
// (RFC 7523 §2.1).
type question struct {
	Assertion string
	Grant     bool
}

type answer struct {
	Accepted bool
	Error    string
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	var c config
	if !in.Scan() {
		log.Fatal("fosite: no config: ", in.Err())
	}
	if err := json.Unmarshal(in.Bytes(), &c); err != nil {
		log.Fatal("fosite: reading the config: ", err)
	}
	s := &store{config: c, used: map[string]bool{}}
	settings := &fosite.Config{TokenURL: c.Audience, GrantTypeJWTBearerMaxDuration: 10 * time.Minute}
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			log.Fatal("fosite: reading a question: ", err)
		}
		judge := authenticate
		if q.Grant {
			judge = grant
		}
		err := judge(s, settings, q.Assertion)
		a := answer{Accepted: err == nil}
		if err != nil {
			a.Error = fosite.ErrorToRFC6749Error(err).WithExposeDebug(true).GetDescription()
		}
		if err := out.Encode(a); err != nil {
			log.Fatal("fosite: answering: ", err)
		}
	}
}

func authenticate(s *store, settings *fosite.Config, assertion string) error {
	f := &fosite.Fosite{Store: s, Config: settings}
	form := url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
	_, err := f.AuthenticateClient(context.Background(), &http.Request{}, form)
	return err
}

func grant(s *store, settings *fosite.Config, assertion string) error {
	h := &rfc7523.Handler{Storage: s, Config: settings, HandleHelper: &oauth2.HandleHelper{Config: settings}}
	r := fosite.NewAccessRequest(&oauth2.JWTSession{})
	r.GrantTypes = fosite.Arguments{jwtBearer}
	r.Client = s.client()
	r.Form = url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}
	return h.HandleTokenEndpointRequest(context.Background(), r)
}

// store has one client and the identifiers of the assertions that it has sent.
type store struct {
	config
	used map[string]bool
}

func (s *store) client() *fosite.DefaultOpenIDConnectClient {
	return &fosite.DefaultOpenIDConnectClient{
		DefaultClient: &fosite.DefaultClient{
			ID: s.Client, GrantTypes: []string{"client_credentials", jwtBearer},
		},
		JSONWebKeys:                       &s.JWKS,
		TokenEndpointAuthMethod:           "private_key_jwt",
		TokenEndpointAuthSigningAlgorithm: s.Algorithm,
	}
}

func (s *store) GetClient(_ context.Context, id string) (fosite.Client, error) {
	if id != s.Client {
		return nil, fosite.ErrNotFound
	}
	return s.client(), nil
}

func (s *store) ClientAssertionJWTValid(_ context.Context, jti string) error {
	if s.used[jti] {
		return fosite.ErrJTIKnown
	}
	return nil
}

func (s *store) SetClientAssertionJWT(_ context.Context, jti string, _ time.Time) error {
	s.used[jti] = true
	return nil
}

func (s *store) IsJWTUsed(_ context.Context, jti string) (bool, error) { return s.used[jti], nil }

func (s *store) MarkJWTUsedForTime(ctx context.Context, jti string, exp time.Time) error {
	return s.SetClientAssertionJWT(ctx, jti, exp)
}

func (s *store) GetPublicKeys(_ context.Context, issuer, subject string) (*jose.JSONWebKeySet, error) {
	if issuer != s.Client || subject != s.Client {
		return nil, errors.New("no such client")
	}
	return &s.JWKS, nil
}

func (s *store) GetPublicKey(ctx context.Context, issuer, subject, kid string) (*jose.JSONWebKey, error) {
	set, err := s.GetPublicKeys(ctx, issuer, subject)
	if err != nil || len(set.Key(kid)) == 0 {
		return nil, errors.Join(err, errors.New("no such key"))
	}
	return &set.Key(kid)[0], nil
}

func (s *store) GetPublicKeyScopes(context.Context, string, string, string) ([]string, error) {
	return []string{"scim"}, nil
}
