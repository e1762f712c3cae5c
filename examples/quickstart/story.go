package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

const (
	ada = "ada@acme.example"
	bob = "bob@acme.example"
)

// story is what happens, in order; each chapter needs the ones before it.
type story struct {
	s *stack.Stack
	d *display

	user, other idp.User // ada in acme, and her namesake in globex
	group       idp.Group
	person      *stack.Person // ada
	namesake    *stack.Person
	old         *stack.Person // ada with the credentials of before the deactivation
	streams     []*stack.Stream
	ssh         *stack.Stream
	received    time.Time // when the answer to the deactivation arrived
}

func newStory(s *stack.Stack, d *display) *story { return &story{s: s, d: d} }

func (st *story) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for _, chapter := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"The identity service finds its way in", st.trust},
		{"A person is provisioned", st.provision},
		{"The person works", st.work},
		{"What the profile forbids is refused", st.forbidden},
		{"The person is deactivated", st.deactivate},
		{"What the application issued is revoked, then verified", st.revoked},
		{"The person comes back", st.reactivate},
		{"The person is deleted, and somebody new gets the name", st.recreate},
		{"Proof", st.proof},
	} {
		st.d.chapter(chapter.title)
		if err := chapter.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(chapter.title), err)
		}
	}
	st.d.timeline()
	return nil
}

func (st *story) trust(ctx context.Context) error {
	m, err := st.s.Acme.Client.Discover(ctx)
	if err != nil {
		return err
	}
	st.d.ok("metadata discovered (RFC 8414)", m.TokenEndpoint)
	if _, err := st.s.Acme.Client.Assertion(ctx); err != nil {
		return err
	}
	st.d.ok("assertion signed (RFC 7523)", "key "+st.s.Acme.Keys.KeyID())
	if _, err := st.s.Acme.Client.AccessToken(ctx); err != nil {
		return err
	}
	st.d.ok("access token issued", "scope scim, five minutes")
	return nil
}

func (st *story) provision(ctx context.Context) (err error) {
	acme, globex := st.s.Acme, st.s.Globex
	if st.user, err = acme.Client.CreateUser(ctx, idp.User{UserName: ada, ExternalID: "e-1001", DisplayName: "Ada", GivenName: "Ada", FamilyName: "Example", Email: ada}); err != nil {
		return err
	}
	st.d.ok("user created", st.user.ID)
	if err := acme.Client.PatchUser(ctx, st.user.ID, idp.Op{Op: "replace", Path: "displayName", Value: "Ada E."}); err != nil {
		return err
	}
	st.d.ok("user updated", "displayName")
	if st.group, err = acme.Client.CreateGroup(ctx, idp.Group{DisplayName: "Engineers"}); err != nil {
		return err
	}
	if err := acme.Client.AddMembers(ctx, st.group.ID, st.user.ID); err != nil {
		return err
	}
	st.d.ok("group created, member added", st.group.ID)
	if st.other, err = globex.Client.CreateUser(ctx, idp.User{UserName: ada, ExternalID: "e-1001", DisplayName: "Another Ada", Email: ada}); err != nil {
		return err
	}
	st.d.ok("the other tenant has a user of the same name", st.other.ID)
	// Each application makes its own account on its side.
	return errors.Join(acme.Account(ctx, ada), globex.Account(ctx, ada))
}

func (st *story) work(ctx context.Context) (err error) {
	st.person, st.namesake = st.s.Person(st.s.Acme, ada), st.s.Person(st.s.Globex, ada)
	for _, p := range []*stack.Person{st.person, st.namesake} {
		if status, err := p.SignIn(ctx); err != nil || status != http.StatusOK {
			return fmt.Errorf("signing in at %s: status %d: %w", p.Tenant.Name, status, err)
		}
	}
	st.d.ok("signed in", "")
	if err := st.person.MintAll(ctx); err != nil {
		return err
	}
	if err := st.everyCredential(ctx, st.person, http.StatusOK, nil); err != nil {
		return err
	}
	st.d.ok("one credential of each kind works", strings.Join(st.person.Held(), ", ")+", ssh_key")
	for _, open := range []func(context.Context) (*stack.Stream, error){st.person.OpenWebSocket, st.person.OpenEvents, st.person.OpenDownload} {
		s, err := open(ctx)
		if err != nil {
			return err
		}
		st.streams = append(st.streams, s)
	}
	if st.ssh, err = st.person.OpenSSH(); err != nil {
		return err
	}
	st.d.ok("open", "a WebSocket, an event stream, a download, an SSH session")
	return nil
}

// use uses a credential, again while the answer is 503: on a busy machine the
// application may take longer to say whose it is than the proxy waits.
func (st *story) use(ctx context.Context, p *stack.Person, kind string) (int, []byte, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for try := 1; ; try++ {
		status, body, err := p.Use(ctx, kind)
		if err != nil || status != http.StatusServiceUnavailable || try == 10 {
			return status, body, err
		}
		select {
		case <-ctx.Done():
			return status, body, fmt.Errorf("using the %s: %w", kind, ctx.Err())
		case <-tick.C:
		}
	}
}

// noCredential uses each credential once and wants none of them served. Once the
// application has forgotten a credential it is the application that refuses it,
// in its own words.
func (st *story) noCredential(ctx context.Context, p *stack.Person) error {
	for _, kind := range p.Held() {
		status, body, err := st.use(ctx, p, kind)
		if err != nil {
			return err
		}
		if status < http.StatusBadRequest || status >= http.StatusInternalServerError {
			return fmt.Errorf("%s: status %d: %s", kind, status, body)
		}
	}
	return nil
}

// everyCredential uses each credential once and wants status of all of them.
func (st *story) everyCredential(ctx context.Context, p *stack.Person, want int, after func(kind string)) error {
	for _, kind := range p.Held() {
		status, body, err := st.use(ctx, p, kind)
		if err != nil {
			return err
		}
		if status != want {
			return fmt.Errorf("%s: status %d, want %d: %s", kind, status, want, body)
		}
		if after != nil {
			after(kind)
		}
	}
	return nil
}

func (st *story) forbidden(ctx context.Context) error {
	req, err := st.person.Request(ctx, "web_session", http.MethodPost, "/account/email")
	if err != nil {
		return err
	}
	res, err := st.person.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("asking for a local change: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("reading the refusal: %w", err)
	}
	if res.StatusCode != http.StatusForbidden {
		return fmt.Errorf("a local account edit was answered with %d: %s", res.StatusCode, b)
	}
	st.d.ok("a local account edit is refused", strings.TrimSpace(string(b)))
	status, body, err := st.s.Acme.Client.Raw(ctx, http.MethodPatch, "/Groups/"+st.group.ID, map[string]any{
		"schemas":    []string{idp.PatchURN},
		"Operations": []any{map[string]any{"op": "replace", "path": "members", "value": []any{}}},
	})
	if err != nil {
		return err
	}
	var scimError struct {
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(body, &scimError); err != nil || status != http.StatusBadRequest || !strings.Contains(scimError.Detail, "IL1-") {
		return fmt.Errorf("a forbidden PATCH was answered with %d: %s", status, body)
	}
	st.d.ok("a forbidden PATCH shape is refused", scimError.Detail)
	return nil
}

func (st *story) deactivate(ctx context.Context) error {
	st.old = st.person.Clone()
	st.d.zero = time.Now()
	st.d.mark(st.d.zero, "PATCH active=false sent")
	if err := st.s.Acme.Client.Deactivate(ctx, st.user.ID); err != nil {
		return err
	}
	st.received = time.Now()
	st.d.mark(st.received, "answered 200: the lock is durable and in force")
	refused := 0
	err := st.everyCredential(ctx, st.old, http.StatusUnauthorized, func(kind string) {
		refused++
		st.d.mark(time.Now(), "%s refused at the proxy", kind)
	})
	if err != nil {
		return err
	}
	st.d.ok("the next request is refused", fmt.Sprintf("%d of %d kinds, at the proxy", refused, len(st.old.Held())))
	if status, err := st.old.SignIn(ctx); err != nil || status != http.StatusUnauthorized {
		return fmt.Errorf("signing in again: status %d: %w", status, err)
	}
	st.d.ok("signing in again is refused", "")
	for _, s := range st.streams {
		if err := st.ended(ctx, s); err != nil {
			return err
		}
	}
	st.d.ok("open streams are cut", "")
	if status, _, err := st.use(ctx, st.namesake, "web_session"); err != nil || status != http.StatusOK {
		return fmt.Errorf("the namesake in the other tenant: status %d: %w", status, err)
	}
	st.d.ok("the namesake in the other tenant works on", "")
	return nil
}

func (st *story) ended(ctx context.Context, s *stack.Stream) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-s.Done():
		st.d.mark(s.Ended, "%s ended", s.Name)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the %s is still open", s.Name)
	}
}

// report is the part of the evidence that the story reads.
type report struct {
	Status       string `json:"status"`
	Offboardings []struct {
		Event      string     `json:"event"`
		VerifiedAt *time.Time `json:"verified_at"`
		Kinds      []struct {
			Kind       string     `json:"kind"`
			State      string     `json:"state"`
			VerifiedAt *time.Time `json:"verified_at"`
			How        []struct {
				At time.Time `json:"at"`
			} `json:"how"`
		} `json:"kinds"`
	} `json:"offboardings"`
}

// scimward runs a command of the sidecar with the stack's configuration.
func (st *story) scimward(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := st.s.Command(ctx, append(args, "-c", st.s.Config)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("scimward %s: %w: %s%s", args[0], err, out, stderr.Bytes())
	}
	return out, nil
}

// evidence reads the report on a user of acme, which has at least one offboarding.
func (st *story) evidence(ctx context.Context, id string) (report, error) {
	var r report
	out, err := st.scimward(ctx, "evidence", id, "--tenant", "acme", "--json")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("reading the evidence: %w", err)
	}
	if len(r.Offboardings) == 0 {
		return r, errors.New("reading the evidence: it knows of no deactivation")
	}
	return r, nil
}

// revoked waits until every kind is verified and shows each as it turns.
func (st *story) revoked(ctx context.Context) error {
	shown := map[string]bool{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := st.evidence(ctx, st.user.ID)
		if err != nil {
			return err
		}
		for _, k := range r.Offboardings[0].Kinds {
			if k.VerifiedAt != nil && !shown[k.Kind] {
				shown[k.Kind] = true
				for _, h := range k.How {
					st.d.mark(h.At, "%s revoked in the application", k.Kind)
				}
				st.d.mark(*k.VerifiedAt, "%s verified", k.Kind)
				st.d.ok(k.Kind, k.State+", then probed dead")
			}
		}
		if r.Status == "verified" && r.Offboardings[0].VerifiedAt != nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still %s: %w", r.Status, ctx.Err())
		case <-tick.C:
		}
	}
	if err := st.ended(ctx, st.ssh); err != nil {
		return err
	}
	if s, err := st.old.OpenSSH(); err == nil {
		s.Close()
		return errors.New("the SSH key still opens sessions")
	}
	st.d.ok("the SSH session ended, its key opens no other", "")
	return st.deadInside(ctx)
}

// deadInside asks the application itself, around the proxy.
func (st *story) deadInside(ctx context.Context) error {
	inside := st.old.Clone()
	tenant := *inside.Tenant
	tenant.URL = "http://" + tenant.App.Addresses().HTTP
	inside.Tenant = &tenant
	for _, kind := range inside.Held() {
		if kind == "jwt" {
			continue // a signed token cannot be revoked; the proxy refuses it until it expires
		}
		status, body, err := inside.Use(ctx, kind)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			return fmt.Errorf("%s still works in the application: %s", kind, body)
		}
	}
	st.d.ok("asked around the proxy, the application refuses them too", "")
	return nil
}

func (st *story) reactivate(ctx context.Context) error {
	if err := st.s.Acme.Client.Reactivate(ctx, st.user.ID); err != nil {
		return err
	}
	st.d.ok("reactivated", "")
	if err := st.noCredential(ctx, st.old); err != nil {
		return fmt.Errorf("after the reactivation: %w", err)
	}
	st.d.ok("every old credential is still dead", "")
	if err := st.signInAgain(ctx, st.person); err != nil {
		return err
	}
	st.d.ok("a new sign-in works", "")
	return nil
}

// signInAgain waits until the application's account is enabled again, which the
// plugin does after the reactivation.
func (st *story) signInAgain(ctx context.Context, p *stack.Person) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := p.SignIn(ctx)
		if err != nil {
			return err
		}
		if status == http.StatusOK {
			if status, body, err := st.use(ctx, p, "web_session"); err != nil || status != http.StatusOK {
				return fmt.Errorf("using the new session: status %d %s: %w", status, body, err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("signing in again: still answered with %d", status)
		case <-tick.C:
		}
	}
}

func (st *story) recreate(ctx context.Context) error {
	before := st.person.Clone()
	before.Credentials = map[string]string{"web_session": st.person.Credentials["web_session"]}
	acme := st.s.Acme
	if err := acme.Client.DeleteUser(ctx, st.user.ID); err != nil {
		return err
	}
	if err := st.everyCredential(ctx, before, http.StatusUnauthorized, nil); err != nil {
		return fmt.Errorf("after the deletion: %w", err)
	}
	st.d.ok("deleted", "the session is refused at once")
	again, err := acme.Client.CreateUser(ctx, idp.User{UserName: ada, ExternalID: "e-2002", DisplayName: "Ada the Second", Email: ada})
	if err != nil {
		return err
	}
	if again.ID == st.user.ID {
		return errors.New("the new user has the id of the old one")
	}
	st.d.ok("created with the same userName", again.ID)
	if err := st.noCredential(ctx, before); err != nil {
		return fmt.Errorf("after the new creation: %w", err)
	}
	st.d.ok("nothing of the old person works for the new one", "")
	if err := st.verified(ctx, st.user.ID); err != nil {
		return err
	}
	if err := st.signInAgain(ctx, st.person); err != nil {
		return err
	}
	st.d.ok("the new person signs in", "")
	// Somebody to look at with KEEP=1.
	if _, err := acme.Client.CreateUser(ctx, idp.User{UserName: bob, ExternalID: "e-1002", DisplayName: "Bob", Email: bob}); err != nil {
		return err
	}
	return acme.Account(ctx, bob)
}

// verified waits until the newest offboarding of the user is verified.
func (st *story) verified(ctx context.Context, id string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := st.evidence(ctx, id)
		if err != nil {
			return err
		}
		if last := r.Offboardings[len(r.Offboardings)-1]; last.VerifiedAt != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the deletion is still %s: %w", r.Status, ctx.Err())
		case <-tick.C:
		}
	}
}

func (st *story) proof(ctx context.Context) error {
	file := filepath.Join(filepath.Dir(st.s.Config), "evidence.json")
	if _, err := st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme", "--json", "-o", file); err != nil {
		return err
	}
	keys := filepath.Join(filepath.Dir(st.s.Config), "acme-jwks.json")
	if err := st.s.SaveJWKS(ctx, st.s.Acme, keys); err != nil {
		return err
	}
	out, err := st.s.Command(ctx, "evidence", "verify", file, "--jwks", keys).CombinedOutput()
	if err != nil {
		return fmt.Errorf("verifying the evidence: %w: %s", err, out)
	}
	st.d.ok("the report verifies offline", strings.TrimSpace(strings.TrimPrefix(string(out), file+": ")))
	text, err := st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme")
	if err != nil {
		return err
	}
	st.d.printf("\n%s", text)
	slices.SortStableFunc(st.d.rows, func(a, b row) int { return a.at.Compare(b.at) })
	return nil
}
