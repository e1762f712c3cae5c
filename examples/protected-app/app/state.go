package app

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Kind is one kind of credential. The values are used in POST /credentials/{kind}, in /me, in
// /admin/whoami and in the fault table.
type Kind string

// The kinds that the application issues. KindAccessToken and KindJWT are short-lived and cannot be
// listed. An access token dies with its refresh token, a JWT with its account or by time.
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
		KindWebSession:   "sessions",
		KindAPIToken:     "api-tokens",
		KindPAT:          "personal-access-tokens",
		KindRefreshToken: "refresh-tokens",
		KindDevice:       "devices",
		KindSSHKey:       "ssh-keys",
	}
}

// prefixOf returns the prefix of the secrets of a kind. A session has no prefix, and the
// application does not make SSH keys.
func prefixOf(k Kind) string {
	return map[Kind]string{
		KindAPIToken: "at_", KindPAT: "pat_", KindRefreshToken: "rt_", KindAccessToken: "oa_", KindDevice: "dev_",
	}[k]
}

const (
	maxUserName    = 256
	maxPassword    = 72 // bcrypt reads no more
	maxCredentials = 100_000
)

// statusError is an error for the client: an HTTP status and a text.
type statusError struct {
	status int
	text   string
}

// Error implements error.
func (e statusError) Error() string { return e.text }

var (
	errNoAccount   = statusError{http.StatusNotFound, "no such account"}
	errExists      = statusError{http.StatusConflict, "user name is taken"}
	errKeyTaken    = statusError{http.StatusConflict, "key is already registered"}
	errBadPassword = statusError{http.StatusBadRequest, "password must have 8 to 72 bytes"}
	errDisabled    = statusError{http.StatusForbidden, "account is disabled"}
	errLogin       = statusError{http.StatusUnauthorized, "user name or password is wrong"}
	errFull        = statusError{http.StatusInsufficientStorage, "too many credentials"}
	errBadName     = statusError{
		http.StatusBadRequest,
		"user name must have 1 to 256 bytes, no control characters, and not start with ~",
	}
)

// account is the account of a person. Functions return copies.
type account struct {
	ID       string    `json:"id"`
	UserName string    `json:"user_name"`
	Email    string    `json:"email,omitempty"`
	Admin    bool      `json:"admin,omitempty"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created_at"`
	hash     []byte    // bcrypt; empty = cannot sign in with a password
}

// digest identifies a secret. The application does not store the secret.
type digest [sha256.Size]byte

// credential is a credential that the application issued.
type credential struct {
	ID       string    `json:"id"`
	Kind     Kind      `json:"kind"`
	Issued   time.Time `json:"issued_at"`
	account  string    // account.ID
	parent   string    // refresh token of an access token
	expires  time.Time // zero = never
	deadFrom time.Time // a deleted credential works until then (fault cache_s); zero = not deleted
	digest   digest
}

func (c *credential) expired(now time.Time) bool {
	return !c.expires.IsZero() && !now.Before(c.expires)
}

// state is the state of the application, with one lock.
type state struct {
	now   func() time.Time
	cost  int
	decoy []byte // hash of a random password

	mu       sync.Mutex
	seq      uint64                 // the last number in an id
	accounts map[string]*account    // by id
	names    map[string]string      // folded user name -> id
	live     map[string]*credential // by id
	secrets  map[digest]string      // -> credential id
	ghosts   map[digest]*credential // deleted credentials that still work (fault cache_s)
	visitors map[digest]time.Time   // sessions of nobody, from the sign-in page, and when they end
	faults   map[Kind]*Fault
	count    Counters
	onDelete func(credentialID string) // SSH closes its sessions; called without the lock
}

func newState(now func() time.Time, cost int) (*state, error) {
	decoy, err := bcrypt.GenerateFromPassword([]byte(randomText()), cost)
	return &state{
		now: now, cost: cost, decoy: decoy,
		accounts: map[string]*account{},
		names:    map[string]string{},
		live:     map[string]*credential{},
		secrets:  map[digest]string{},
		ghosts:   map[digest]*credential{},
		visitors: map[digest]time.Time{},
		faults:   map[Kind]*Fault{},
		count:    newCounters(),
		onDelete: func(string) {},
	}, err
}

func fold(name string) string { return strings.ToLower(name) }

func validName(name string) bool {
	control := strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f })
	return name != "" && len(name) <= maxUserName && !control && name[0] != '~'
}

func (s *state) hashPassword(pw string) ([]byte, error) {
	if len(pw) < 8 || len(pw) > maxPassword {
		return nil, errBadPassword
	}
	return bcrypt.GenerateFromPassword([]byte(pw), s.cost)
}

func randomText() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// createAccount makes an account. An empty password disables password sign-in.
func (s *state) createAccount(name, email, password string) (account, error) {
	if !validName(name) {
		return account{}, errBadName
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
	acc := &account{ID: s.nextID("u"), UserName: name, Email: email, Created: s.now(), hash: hash}
	s.accounts[acc.ID] = acc
	s.names[fold(name)] = acc.ID
	return *acc, nil
}

func (s *state) nextID(prefix string) string {
	s.seq++
	return prefix + strconv.FormatUint(s.seq, 10)
}

// find resolves the name in an admin path: a user name, or ~ID.
func (s *state) find(ref string) (account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// byName resolves a user name, never an id. Sign-in and JWTs use it.
func (s *state) byName(name string) (account, error) {
	if strings.HasPrefix(name, "~") {
		return account{}, errNoAccount
	}
	return s.find(name)
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

// deleteAccount deletes an account and all its credentials.
func (s *state) deleteAccount(id string) error {
	s.mu.Lock()
	acc, ok := s.accounts[id]
	if !ok {
		s.mu.Unlock()
		return errNoAccount
	}
	delete(s.accounts, id)
	delete(s.names, fold(acc.UserName))
	gone := s.drop(0, func(c *credential) bool { return c.account == id })
	s.mu.Unlock()
	for _, c := range gone {
		s.onDelete(c)
	}
	return nil
}

// login checks a password. It takes the same time for an unknown name as for a known one.
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

// issue completes and stores a credential, and returns it with its secret. c has its Kind and
// account, and perhaps a parent. An empty secret is generated. The secret of an SSH key is the
// marshalled public key. ttl 0 means no expiry.
func (s *state) issue(c credential, secret string, ttl time.Duration) (credential, string, error) {
	if secret == "" {
		secret = prefixOf(c.Kind) + randomText()
	}
	c.digest = sha256.Sum256([]byte(secret))
	s.mu.Lock()
	defer s.mu.Unlock()
	acc, ok := s.accounts[c.account]
	switch {
	case !ok:
		return credential{}, "", errNoAccount
	case acc.Disabled:
		return credential{}, "", errDisabled
	}
	c.Issued = s.now()
	if len(s.live) >= maxCredentials {
		s.drop(0, func(old *credential) bool { return old.expired(c.Issued) })
		maps.DeleteFunc(s.ghosts, func(_ digest, old *credential) bool { return !c.Issued.Before(old.deadFrom) })
	}
	if len(s.live) >= maxCredentials {
		return credential{}, "", errFull
	}
	if _, taken := s.secrets[c.digest]; taken {
		return credential{}, "", errKeyTaken
	}
	if _, ok := s.live[c.parent]; c.parent != "" && !ok {
		return credential{}, "", errNoAccount // the refresh token was deleted meanwhile
	}
	if ttl > 0 {
		c.expires = c.Issued.Add(ttl)
	}
	c.ID = s.nextID("c")
	s.live[c.ID] = &c
	s.secrets[c.digest] = c.ID
	s.count.Issued[c.Kind]++
	return c, secret, nil
}

// drop deletes the matching credentials and the access tokens of matching refresh tokens. It
// returns the ids of the matching ones. With cache > 0 the application accepts them that much
// longer. The caller has locked mu.
func (s *state) drop(cache time.Duration, match func(*credential) bool) (ids []string) {
	for _, c := range s.live {
		if !match(c) {
			continue
		}
		ids = append(ids, c.ID)
		delete(s.live, c.ID)
		delete(s.secrets, c.digest)
		s.count.Deleted[c.Kind]++
		if cache > 0 {
			c.deadFrom = s.now().Add(cache)
			s.ghosts[c.digest] = c
		}
		if c.Kind == KindRefreshToken {
			s.drop(cache, func(child *credential) bool { return child.parent == c.ID })
		}
	}
	return ids
}

// revoke deletes one credential of an account, or all of the kind if credentialID is empty. It
// returns the number of deleted credentials.
func (s *state) revoke(accountID string, k Kind, credentialID string) int {
	s.mu.Lock()
	var cache time.Duration
	for _, row := range []Kind{k, AnyKind} {
		if f := s.faults[row]; f != nil && f.CacheS > 0 {
			cache = time.Duration(f.CacheS) * time.Second
			break
		}
	}
	gone := s.drop(cache, func(c *credential) bool {
		return c.account == accountID && c.Kind == k && (credentialID == "" || credentialID == c.ID)
	})
	s.mu.Unlock()
	if cache == 0 {
		for _, id := range gone {
			s.onDelete(id)
		}
	}
	return len(gone)
}

// list pages through the credentials of a kind, oldest first. next is empty on the last page.
func (s *state) list(accountID string, k Kind, after string, limit int) (items []credential, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.live {
		if c.account == accountID && c.Kind == k && !c.expired(s.now()) {
			items = append(items, *c)
		}
	}
	return page(items, after, limit, func(c credential) string { return c.ID })
}

// users pages through the accounts, oldest first. A name selects one user name.
func (s *state) users(name, after string, limit int) (items []account, next string) {
	if name != "" {
		acc, err := s.byName(name)
		if err != nil {
			return nil, ""
		}
		return []account{acc}, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, acc := range s.accounts {
		items = append(items, *acc)
	}
	return page(items, after, limit, func(acc account) string { return acc.ID })
}

// page sorts items by the number in their id. It returns at most limit items after the given id.
func page[T any](items []T, after string, limit int, id func(T) string) (part []T, next string) {
	number := func(id string) (n uint64) {
		n, _ = strconv.ParseUint(strings.TrimLeft(id, "cu"), 10, 64) // a bad id starts over
		return n
	}
	items = slices.DeleteFunc(items, func(i T) bool { return number(id(i)) <= number(after) })
	slices.SortFunc(items, func(a, b T) int { return cmp.Compare(number(id(a)), number(id(b))) })
	if len(items) > limit {
		items = items[:limit]
		next = id(items[limit-1])
	}
	return items, next
}

// who is a credential with its account.
type who struct {
	account    account
	credential credential // a JWT has only Kind and Issued
}

// lookup finds the live credential of a secret. With ghosts it also finds a deleted credential that
// still works because of the fault cache_s.
func (s *state) lookup(secret string, ghosts bool) (who, bool) {
	d := digest(sha256.Sum256([]byte(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c := s.live[s.secrets[d]]
	if g := s.ghosts[d]; c == nil && ghosts && g != nil && now.Before(g.deadFrom) {
		c = g
	}
	if c == nil || c.expired(now) {
		return who{}, false
	}
	acc, ok := s.accounts[c.account]
	if !ok {
		return who{}, false
	}
	return who{*acc, *c}, true
}

// accepts reports whether a request with the credential of this id would be served, as lookup does for
// its secret.
func (s *state) accepts(account string, k Kind, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if c := s.live[id]; c != nil && c.account == account && c.Kind == k {
		return !c.expired(now)
	}
	for _, g := range s.ghosts {
		if g.ID == id && g.account == account && g.Kind == k {
			return now.Before(g.deadFrom) && !g.expired(now)
		}
	}
	return false
}
