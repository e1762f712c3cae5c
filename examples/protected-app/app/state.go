package app

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Kind is one kind of credential. The values name it in POST /credentials/{kind},
// in /me, in /admin/whoami and in the fault table.
type Kind string

// The kinds the application issues. KindAccessToken and KindJWT are short-lived
// and cannot be listed: the first dies with its refresh token, the second only
// with its account or with time.
const (
	KindWebSession   Kind = "web_session"
	KindAPIToken     Kind = "api_token"
	KindPAT          Kind = "pat"
	KindRefreshToken Kind = "refresh_token"
	KindDevice       Kind = "device"
	KindSSHKey       Kind = "ssh_key"
	KindAccessToken  Kind = "access_token"
	KindJWT          Kind = "jwt"
)

// Collections maps each kind that can be listed to its collection in the admin API.
func Collections() map[Kind]string {
	return map[Kind]string{
		KindWebSession: "sessions", KindAPIToken: "api-tokens", KindPAT: "personal-access-tokens",
		KindRefreshToken: "refresh-tokens", KindDevice: "devices", KindSSHKey: "ssh-keys",
	}
}

func prefixOf(k Kind) string {
	switch k {
	case KindAPIToken:
		return "at_"
	case KindPAT:
		return "pat_"
	case KindRefreshToken:
		return "rt_"
	case KindAccessToken:
		return "oa_"
	case KindDevice:
		return "dev_"
	default:
		return "" // a session is opaque, an SSH key is not ours
	}
}

const (
	maxUserName    = 256
	maxPassword    = 72 // bcrypt reads no more
	maxCredentials = 100_000
)

var (
	errNoAccount   = errors.New("no such account")
	errExists      = errors.New("user name is taken")
	errBadName     = errors.New("user name must have 1 to 256 bytes, no control characters, and not start with ~")
	errBadPassword = errors.New("password must have 8 to 72 bytes")
	errDisabled    = errors.New("account is disabled")
	errLogin       = errors.New("user name or password is wrong")
	errFull        = errors.New("too many credentials")
	errKeyTaken    = errors.New("key is already registered")
)

// account is a person known to the application. Values handed out are copies.
type account struct {
	ID       string    `json:"id"`
	UserName string    `json:"user_name"`
	Email    string    `json:"email,omitempty"`
	Admin    bool      `json:"admin,omitempty"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created_at"`
	hash     []byte    // bcrypt; empty = cannot sign in with a password
}

// credential is what the application issued. The secret itself is not kept.
type credential struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Issued   time.Time `json:"issued_at"`
	seq      uint64
	account  string    // account.ID
	parent   string    // refresh token of an access token
	expires  time.Time // zero = never
	deadFrom time.Time // a deleted one that a cache still honours: until then
	digest   [sha256.Size]byte
}

// state is everything the application knows, behind one lock.
type state struct {
	now   func() time.Time
	cost  int
	decoy []byte // hash of a password nobody has

	mu       sync.Mutex
	seq      uint64
	accounts map[string]*account               // by id
	names    map[string]string                 // folded user name -> id
	live     map[string]*credential            // by id
	secrets  map[[sha256.Size]byte]string      // digest of the secret -> credential id
	ghosts   map[[sha256.Size]byte]*credential // deleted, still honoured by the data plane (fault cache_s)
	faults   map[string]*Fault
	count    Counters
	onDelete func(credentialID string) // SSH closes its sessions; called without the lock
}

func newState(now func() time.Time, cost int) (*state, error) {
	decoy, err := bcrypt.GenerateFromPassword([]byte(randomText()), cost)
	if err != nil {
		return nil, fmt.Errorf("preparing passwords: %w", err)
	}
	return &state{
		now: now, cost: cost, decoy: decoy,
		accounts: map[string]*account{}, names: map[string]string{}, live: map[string]*credential{},
		secrets: map[[sha256.Size]byte]string{}, ghosts: map[[sha256.Size]byte]*credential{},
		faults: map[string]*Fault{}, count: newCounters(),
		onDelete: func(string) {},
	}, nil
}

func fold(name string) string { return strings.ToLower(name) }

func checkName(name string) error {
	bad := strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f })
	if name == "" || len(name) > maxUserName || bad || name[0] == '~' {
		return errBadName
	}
	return nil
}

func (s *state) hashPassword(pw string) ([]byte, error) {
	if len(pw) < 8 || len(pw) > maxPassword {
		return nil, errBadPassword
	}
	return bcrypt.GenerateFromPassword([]byte(pw), s.cost)
}

func randomText() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // crypto/rand.Read never errs
	return base64.RawURLEncoding.EncodeToString(b)
}

// createAccount makes an account; an empty password means no password sign-in.
func (s *state) createAccount(name, email, password string, admin bool) (account, error) {
	if err := checkName(name); err != nil {
		return account{}, err
	}
	var hash []byte
	if password != "" {
		var err error
		if hash, err = s.hashPassword(password); err != nil {
			return account{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.names[fold(name)]; taken {
		return account{}, errExists
	}
	s.seq++
	acc := &account{ID: fmt.Sprintf("u%d", s.seq), UserName: name, Email: email, Admin: admin, Created: s.now(), hash: hash}
	s.accounts[acc.ID] = acc
	s.names[fold(name)] = acc.ID
	return *acc, nil
}

// find resolves the name in an admin path: a user name, or ~ID.
func (s *state) find(ref string) (account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.findLocked(ref)
}

// byName resolves a user name, never an id: what people type and what JWTs name.
func (s *state) byName(name string) (account, error) {
	if strings.HasPrefix(name, "~") {
		return account{}, errNoAccount
	}
	return s.find(name)
}

func (s *state) findLocked(ref string) (account, error) {
	id, byID := strings.CutPrefix(ref, "~")
	if !byID {
		id = s.names[fold(ref)]
	}
	acc, ok := s.accounts[id]
	if !ok {
		return account{}, errNoAccount
	}
	return *acc, nil
}

// update changes an account in place.
func (s *state) update(id string, change func(*account)) (account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acc, ok := s.accounts[id]
	if !ok {
		return account{}, errNoAccount
	}
	change(acc)
	return *acc, nil
}

// deleteAccount removes an account and every credential of it.
func (s *state) deleteAccount(id string) error {
	s.mu.Lock()
	acc, ok := s.accounts[id]
	if !ok {
		s.mu.Unlock()
		return errNoAccount
	}
	delete(s.accounts, id)
	delete(s.names, fold(acc.UserName))
	var gone []string
	for cid, c := range s.live {
		if c.account == id {
			s.dropLocked(c, 0)
			gone = append(gone, cid)
		}
	}
	s.mu.Unlock()
	for _, cid := range gone {
		s.onDelete(cid)
	}
	return nil
}

// login checks a password. It takes as long for an unknown name as for a known one.
func (s *state) login(name, password string) (account, error) {
	acc, err := s.byName(name)
	hash := acc.hash
	if err != nil || len(hash) == 0 {
		hash = s.decoy
	}
	wrong := bcrypt.CompareHashAndPassword(hash, []byte(password))
	switch {
	case err != nil || len(acc.hash) == 0 || wrong != nil:
		return account{}, errLogin
	case acc.Disabled:
		return account{}, errDisabled
	}
	return acc, nil
}

// mint issues a credential. secret is what the person keeps: generated, or for
// an SSH key the marshalled public key that was brought.
func (s *state) mint(accountID string, k Kind, secret, parent string, ttl time.Duration) (*credential, string, error) {
	if secret == "" {
		secret = prefixOf(k) + randomText()
	}
	digest := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	acc, ok := s.accounts[accountID]
	switch {
	case !ok:
		return nil, "", errNoAccount
	case acc.Disabled:
		return nil, "", errDisabled
	}
	if len(s.live) >= maxCredentials {
		s.expireLocked()
	}
	if len(s.live) >= maxCredentials {
		return nil, "", errFull
	}
	if _, taken := s.secrets[digest]; taken {
		return nil, "", errKeyTaken
	}
	if _, ok := s.live[parent]; parent != "" && !ok {
		return nil, "", errNoAccount // the refresh token died meanwhile
	}
	s.seq++
	c := &credential{ID: fmt.Sprintf("c%d", s.seq), Kind: k, Issued: s.now(), seq: s.seq, account: accountID, parent: parent, digest: digest}
	if ttl > 0 {
		c.expires = c.Issued.Add(ttl)
	}
	s.live[c.ID] = c
	s.secrets[digest] = c.ID
	s.count.Minted[k]++
	return c, secret, nil
}

func (s *state) expireLocked() {
	now := s.now()
	for _, c := range s.live {
		if !c.expires.IsZero() && !now.Before(c.expires) {
			s.dropLocked(c, 0)
		}
	}
	maps.DeleteFunc(s.ghosts, func(_ [sha256.Size]byte, c *credential) bool { return !now.Before(c.deadFrom) })
}

// dropLocked takes a credential out. cache > 0 leaves a ghost for the data plane.
func (s *state) dropLocked(c *credential, cache time.Duration) {
	delete(s.live, c.ID)
	delete(s.secrets, c.digest)
	s.count.Deleted[c.Kind]++
	if cache > 0 {
		ghost := *c
		ghost.deadFrom = s.now().Add(cache)
		s.ghosts[c.digest] = &ghost
	}
	if c.Kind == KindRefreshToken {
		for _, child := range s.live {
			if child.parent == c.ID {
				s.dropLocked(child, cache)
			}
		}
	}
}

// revoke deletes one credential of an account, or every one of the kind when
// credentialID is empty, and says how many.
func (s *state) revoke(accountID string, k Kind, credentialID string) int {
	s.mu.Lock()
	var cache time.Duration
	for _, name := range []string{string(k), AnyKind} {
		if f := s.faults[name]; f != nil && f.CacheS > 0 {
			cache = time.Duration(f.CacheS) * time.Second
			break
		}
	}
	var gone []string
	for id, c := range s.live {
		if c.account == accountID && c.Kind == k && (credentialID == "" || credentialID == id) {
			s.dropLocked(c, cache)
			gone = append(gone, id)
		}
	}
	s.mu.Unlock()
	if cache == 0 {
		for _, id := range gone {
			s.onDelete(id)
		}
	}
	return len(gone)
}

// list pages through the credentials of a kind, oldest first. next is empty on
// the last page.
func (s *state) list(accountID string, k Kind, after string, limit int) (items []credential, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	from := seqOf(after)
	for _, c := range s.live {
		alive := c.expires.IsZero() || now.Before(c.expires)
		if c.account == accountID && c.Kind == k && c.seq > from && alive {
			items = append(items, *c)
		}
	}
	slices.SortFunc(items, func(a, b credential) int { return cmp.Compare(a.seq, b.seq) })
	if len(items) > limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	return items, next
}

func seqOf(id string) uint64 {
	var n uint64
	if _, err := fmt.Sscanf(id, "c%d", &n); err != nil {
		return 0
	}
	return n
}

// lookup finds the live credential a secret belongs to. ghosts lets a deleted
// one through while the cache fault still honours it.
func (s *state) lookup(secret string, ghosts bool) (credential, account, bool) {
	digest := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c := s.live[s.secrets[digest]]
	if g := s.ghosts[digest]; c == nil && ghosts && g != nil && now.Before(g.deadFrom) {
		c = g
	}
	if c == nil || (!c.expires.IsZero() && !now.Before(c.expires)) {
		return credential{}, account{}, false
	}
	acc, ok := s.accounts[c.account]
	if !ok {
		return credential{}, account{}, false
	}
	return *c, *acc, true
}

// users pages through the accounts by id order; name filters by exact user name.
func (s *state) users(name, after string, limit int) (out []account, next string) {
	if name != "" {
		acc, err := s.byName(name)
		if err != nil {
			return nil, ""
		}
		return []account{acc}, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	order := func(id string) (n uint64) { _, _ = fmt.Sscanf(id, "u%d", &n); return n } // a bad id starts over
	for _, acc := range s.accounts {
		if order(acc.ID) > order(after) {
			out = append(out, *acc)
		}
	}
	slices.SortFunc(out, func(a, b account) int { return cmp.Compare(order(a.ID), order(b.ID)) })
	if len(out) > limit {
		out = out[:limit]
		next = out[limit-1].ID
	}
	return out, next
}
