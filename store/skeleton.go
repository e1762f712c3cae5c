package store

import (
	"context"
	"time"

	"github.com/scimward/scimward/store/audit"
	"github.com/scimward/scimward/store/log"
)

type Store struct{}

func Open(ctx context.Context, o Options) (*Store, error) { return nil, ErrUnavailable }
func (s *Store) Close() error                             { return nil }
func (s *Store) View(ctx context.Context, tenant string, fn func(*Reader) error) error {
	return ErrUnavailable
}
func (s *Store) Update(ctx context.Context, tenant string, cause Cause, fn func(*Tx) error) (Seq, error) {
	return 0, ErrUnavailable
}
func (s *Store) Changes(ctx context.Context, from Seq, fn func(Change) error) error {
	return ErrUnavailable
}
func (s *Store) Watch(fn func(Change)) (stop func())         { return func() {} }
func (s *Store) Locks() *LockTable                           { return nil }
func (s *Store) Health() Health                              { return Health{} }
func (s *Store) Log() log.Log                                { return nil }
func Verify(ctx context.Context, dir string) (Report, error) { return Report{}, ErrUnavailable }

type Health struct {
	Applied, Head Seq
	Writable      bool
	Err           error
}
type Report struct {
	Head     Seq
	Findings []Finding
}
type Finding struct{ Check, Key, Detail string }

func (r Report) OK() bool { return len(r.Findings) == 0 }

type SubjectRef struct{ SCIMID, UserName, ExternalID, Email string }
type LockTable struct{}

func (t *LockTable) Lookup(tenant string, ref SubjectRef) (Lock, bool)         { return Lock{}, false }
func (t *LockTable) Subscribe(fn func(Lock)) (stop func())                     { return func() {} }
func (t *LockTable) InForce(tenant, userID string) (time.Time, bool)           { return time.Time{}, false }

type Reader struct{}

func (r *Reader) Tenant() string                                            { return "" }
func (r *Reader) User(id string) (User, error)                              { return User{}, ErrUnavailable }
func (r *Reader) UserIDs(attr, value string) ([]string, error)              { return nil, ErrUnavailable }
func (r *Reader) CountUsers() int                                           { return 0 }
func (r *Reader) Users(after string, fn func(User) bool) error              { return ErrUnavailable }
func (r *Reader) UserPage(offset, limit int) ([]User, error)                { return nil, ErrUnavailable }
func (r *Reader) Group(id string) (Group, error)                            { return Group{}, ErrUnavailable }
func (r *Reader) GroupIDs(attr, value string) ([]string, error)             { return nil, ErrUnavailable }
func (r *Reader) CountGroups() int                                          { return 0 }
func (r *Reader) Groups(after string, fn func(Group) bool) error            { return ErrUnavailable }
func (r *Reader) GroupPage(offset, limit int) ([]Group, error)              { return nil, ErrUnavailable }
func (r *Reader) Members(gid, after string, limit int) ([]Member, error)    { return nil, ErrUnavailable }
func (r *Reader) IsMember(gid, id string) (bool, error)                     { return false, ErrUnavailable }
func (r *Reader) GroupsOf(id string) ([]string, error)                      { return nil, ErrUnavailable }
func (r *Reader) Client(id string) (Client, error)                          { return Client{}, ErrUnavailable }
func (r *Reader) Keys(use string) ([]Key, error)                            { return nil, ErrUnavailable }
func (r *Reader) Lock(userID string) (Lock, error)                          { return Lock{}, ErrUnavailable }
func (r *Reader) Job(id string) (Job, error)                                { return Job{}, ErrUnavailable }
func (r *Reader) JobsOf(userID string, epoch uint64) ([]Job, error)         { return nil, ErrUnavailable }
func (r *Reader) DueJobs(now time.Time, limit int) ([]Job, error)           { return nil, ErrUnavailable }
func (r *Reader) OpenOffboardings() ([]Offboarding, error)                  { return nil, ErrUnavailable }
func (r *Reader) Offboarding(userID string, epoch uint64) (Offboarding, error) { return Offboarding{}, ErrUnavailable }
func (r *Reader) Offboardings(userID string) ([]Offboarding, error)         { return nil, ErrUnavailable }
func (r *Reader) Audit(fn func(audit.Record) bool) error                    { return ErrUnavailable }
func (r *Reader) AuditOf(resourceID string) ([]audit.Record, error)         { return nil, ErrUnavailable }
func (r *Reader) AuditHead() (audit.Hash, Seq)                              { return audit.Hash{}, 0 }

type Tx struct{ *Reader }

func (t *Tx) Now() time.Time          { return time.Time{} }
func (t *Tx) NewID() string           { return "" }
func (t *Tx) Changed(attrs ...string) {}
func (t *Tx) AuditOnly(resourceID, detail string) {}
func (t *Tx) CreateUser(u *User) error                                   { return ErrUnavailable }
func (t *Tx) UpdateUser(u *User) error                                   { return ErrUnavailable }
func (t *Tx) DeleteUser(id string) error                                 { return ErrUnavailable }
func (t *Tx) CreateGroup(g *Group, members []Member) error               { return ErrUnavailable }
func (t *Tx) UpdateGroup(g *Group) error                                 { return ErrUnavailable }
func (t *Tx) DeleteGroup(id string) error                                { return ErrUnavailable }
func (t *Tx) AddMembers(gid string, members []Member) (int, error)       { return 0, ErrUnavailable }
func (t *Tx) RemoveMembers(gid string, ids []string) (int, error)        { return 0, ErrUnavailable }
func (t *Tx) SetMembers(gid string, members []Member) (int, error)       { return 0, ErrUnavailable }
func (t *Tx) ClearMembers(gid string) (int, error)                       { return 0, ErrUnavailable }
func (t *Tx) UseJTI(issuer, jti string, exp time.Time) error             { return ErrUnavailable }
func (t *Tx) PutClient(c Client) error                                   { return ErrUnavailable }
func (t *Tx) PutKey(k Key) error                                         { return ErrUnavailable }
func (t *Tx) DeleteKey(id string) error                                  { return ErrUnavailable }
func (t *Tx) SaveJob(j *Job) error                                       { return ErrUnavailable }
func (t *Tx) SaveOffboarding(o *Offboarding) error                       { return ErrUnavailable }
