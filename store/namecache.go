package store

import (
	"context"
	"slices"
	"sync"

	"github.com/scimward/scimward/store/subject"
)

// UserWith returns the id of a user who has a name, "" when there is none. Of several users it
// returns one. The directory does not know names of the application's own.
func (r *Reader) UserWith(kind subject.Name, value string) (string, error) {
	if kind == subject.SCIMID {
		if value == "" || len(value) > maxNameBytes {
			return "", nil
		}
		found, err := present(r.snap.Get(key(kindUser, r.tenant, value)))
		if err != nil || !found {
			return "", err
		}
		return value, nil
	}
	i := slices.IndexFunc(userIndexes, func(x *index) bool { return x.kind == kind })
	if i < 0 {
		return "", nil
	}
	n := userIndexes[i].of(value)
	if n.value == "" || len(n.value) > maxNameBytes { // checkNames refuses such a name
		return "", nil
	}
	if r.unique(n) {
		return r.owner(r.nameKey(kindUnique, n))
	}
	id := ""
	err := r.scanLast(key(kindIndex, r.tenant, n.code, n.value), func(found string) (bool, error) {
		id = found
		return false, nil
	})
	return id, err
}

// FoundUser is a user whom one of several names leads to. The zero value is nobody.
type FoundUser struct {
	ID    string
	Kind  subject.Name
	Value string // the name, folded
}

// NameSource finds users by their names, for [NameCache].
type NameSource interface {
	// FindUser returns a user of the tenant who has one of the names of s.
	FindUser(ctx context.Context, tenant string, s *subject.Subject) (FoundUser, error)
	// HasUsers reports whether the tenant has any user.
	HasUsers(ctx context.Context, tenant string) (bool, error)
}

// FindUser implements [NameSource].
func (s *Store) FindUser(ctx context.Context, tenant string, who *subject.Subject) (found FoundUser, err error) {
	err = s.View(ctx, tenant, func(r *Reader) error {
		for kind, value := range who.Names() {
			id, err := r.UserWith(kind, value)
			if err != nil {
				return err
			}
			if id != "" {
				found = FoundUser{id, kind, subject.Fold(kind, value)}
				return nil
			}
		}
		return nil
	})
	return found, err
}

// HasUsers implements [NameSource].
func (s *Store) HasUsers(ctx context.Context, tenant string) (bool, error) {
	n := 0
	err := s.View(ctx, tenant, func(r *Reader) (err error) {
		n, err = r.CountUsers()
		return err
	})
	return n > 0, err
}

// SCIMID returns the id of the user of a tenant with the first name of who that one user alone has. It is "" if there
// is none.
func (s *Store) SCIMID(ctx context.Context, tenant string, who *subject.Subject) (id string, err error) {
	if who.SCIMID != "" {
		return who.SCIMID, nil
	}
	err = s.View(ctx, tenant, func(r *Reader) error {
		for kind, value := range who.Names() {
			attr := UserAttribute(kind)
			if attr == "" || id != "" {
				continue
			}
			ids, err := r.UserIDs(attr, value)
			if err != nil {
				return err
			}
			if len(ids) == 1 {
				id = ids[0]
			}
		}
		return nil
	})
	return id, err
}

// NameCache answers on the request path whether a tenant has provisioned a person. It remembers a
// bounded number of names that belong to a user, and forgets all names of a user before Update
// returns for a change of that user. It never remembers that a name is unknown, so a new user is
// known at once.
type NameCache struct {
	source NameSource
	locks  *LockTable
	size   int
	stop   func()

	mu      sync.RWMutex
	tenants map[string]*tenantNames
	resets  uint64
}

// tenantNames are the remembered names of one tenant.
type tenantNames struct {
	users   map[nameKey]string   // the id of a user who has the name
	names   map[string][]nameKey // the keys of users, by id
	changes uint64               // of users; a lookup that overlaps a change is not remembered
}

// nameKey is a folded name.
type nameKey struct {
	kind  subject.Name
	value string
}

// NewNameCache returns a cache of at most size names for each tenant. Close it before the store.
func NewNameCache(s *Store, size int) *NameCache {
	c := NewNameCacheOf(s, s.Locks(), size)
	c.stop = s.Watch(func(ch Change) { c.Forget(&ch) })
	return c
}

// NewNameCacheOf returns a cache in a process without a store. That process calls Forget for every change of a user,
// and Reset when it may have missed one. The source must know what the process has been told already.
func NewNameCacheOf(source NameSource, locks *LockTable, size int) *NameCache {
	return &NameCache{source: source, locks: locks, size: size, stop: func() {}, tenants: map[string]*tenantNames{}}
}

// Close ends the subscription.
func (c *NameCache) Close() { c.stop() }

// Find returns the id of the user of the tenant who has one of the names of s, or had it last: an
// application may still use the former name of a renamed user. It returns "" if there is none. It does
// no I/O for a name that it remembers. The error says that the store cannot answer.
func (c *NameCache) Find(ctx context.Context, tenant string, s *subject.Subject) (id string, err error) {
	at, id := c.recall(tenant, s)
	if id != "" {
		return id, nil
	}
	found, err := c.source.FindUser(ctx, tenant, s)
	if err != nil {
		return "", err
	}
	if found.ID != "" {
		c.remember(tenant, nameKey{found.Kind, found.Value}, found.ID, at)
		return found.ID, nil
	}
	if l, locked := c.locks.Lookup(tenant, s); locked && l.State == LockLifted {
		return l.UserID, nil // the lock of an existing user, with the former names
	}
	return "", nil
}

// Empty reports whether the tenant has no user at all. It is false if the store cannot answer.
func (c *NameCache) Empty(ctx context.Context, tenant string) bool {
	has, err := c.source.HasUsers(ctx, tenant)
	return err == nil && !has
}

// moment is how many changes there were.
type moment struct{ resets, changes uint64 }

// recall returns the id behind a remembered name of s, and the moment for remember.
func (c *NameCache) recall(tenant string, s *subject.Subject) (at moment, id string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.tenants[tenant]
	if t == nil {
		return moment{c.resets, 0}, ""
	}
	for kind, value := range s.Names() {
		if id = t.users[nameKey{kind, subject.Fold(kind, value)}]; id != "" {
			break
		}
	}
	return moment{c.resets, t.changes}, id
}

// remember adds a name, unless a user of the tenant changed since recall: the name was read from a
// snapshot that may be older than the change.
func (c *NameCache) remember(tenant string, k nameKey, id string, at moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.of(tenant)
	if at != (moment{c.resets, t.changes}) {
		return
	}
	for old, owner := range t.users { // any name makes room
		if len(t.users) < c.size {
			break
		}
		t.drop(old, owner)
	}
	if _, have := t.users[k]; !have {
		t.users[k] = id
		t.names[id] = append(t.names[id], k)
	}
}

func (c *NameCache) of(tenant string) *tenantNames {
	t := c.tenants[tenant]
	if t == nil {
		t = &tenantNames{users: map[nameKey]string{}, names: map[string][]nameKey{}}
		c.tenants[tenant] = t
	}
	return t
}

func (t *tenantNames) drop(k nameKey, id string) {
	delete(t.users, k)
	t.names[id] = slices.DeleteFunc(t.names[id], func(n nameKey) bool { return n == k })
	if len(t.names[id]) == 0 {
		delete(t.names, id)
	}
}

// Forget drops the names of a changed user. For a store it runs on the committer.
func (c *NameCache) Forget(ch *Change) {
	if ch.Type != ChangeUserUpdated && ch.Type != ChangeUserDeleted {
		return // a new user takes no name from another
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.of(ch.Tenant)
	t.changes++
	for _, k := range t.names[ch.ID] {
		delete(t.users, k)
	}
	delete(t.names, ch.ID)
}

// Reset drops every name.
func (c *NameCache) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
	c.tenants = map[string]*tenantNames{}
}
