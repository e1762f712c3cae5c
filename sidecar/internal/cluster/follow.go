package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/scimward/scimward/sidecar/internal/lease"
	"github.com/scimward/scimward/store"
	"github.com/scimward/scimward/store/subject"
)

// errEnding says that a core serves no edges, yet or any more.
var errEnding = errors.New("this core does not decide at the moment; follow another core")

// Directory answers the questions of edges about users.
type Directory interface {
	store.NameSource
	// SCIMID returns the id of the one user with the names of s, "" when there is none or there are several.
	SCIMID(ctx context.Context, tenant string, s *subject.Subject) (id string, err error)
}

// PolicyBundle returns the bytes of a policy bundle of a tenant by their digest.
type PolicyBundle func(ctx context.Context, tenant, sum string) ([]byte, error)

// Register lets edges follow this core and ask it, over the connections of a gRPC server.
func (c *Core) Register(s *grpc.Server) { s.RegisterService(serviceOf(c), c) }

// follow serves the stream of one edge until it ends.
func (c *Core) follow(s grpc.ServerStream) error {
	var first toCore
	if err := receive(s, &first); err != nil {
		return err
	}
	h := first.Follow
	switch {
	case h == nil || h.Edge == "" || len(h.Edge) > 128:
		return status.Error(codes.InvalidArgument, "the first message of an edge has no identity")
	case h.Lease != c.opts.Lease.Lease:
		return status.Errorf(codes.FailedPrecondition,
			"the edge has cluster.lease %s and the cores %s: they must be the same", h.Lease, c.opts.Lease.Lease)
	case h.Serve > c.opts.Lease.Serve:
		return status.Errorf(codes.FailedPrecondition, "the edge has an application with stale_limit %s, and the longest "+
			"at this core is %s: change the files of the cores first, and restart them", h.Serve, c.opts.Lease.Serve)
	}
	h.Edge = nameOf(s.Context()) + h.Edge
	e, err := c.feed.attach(*h, c.snapshot)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer c.feed.detach(e)
	ctx := s.Context()
	c.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "an edge follows",
		slog.String("edge", string(h.Edge)), slog.Uint64("position", uint64(h.Position)), slog.String("version", h.Version))
	gone := make(chan error, 2)
	go func() { gone <- c.hear(s, e) }()
	go func() { gone <- speak(s, e) }()
	select { // both goroutines end with the stream, and it ends when this function returns
	case err := <-gone:
		return err
	case <-e.ended:
		return status.Error(codes.Unavailable, e.why.Error())
	}
}

// snapshot returns everything that an edge must know.
func (c *Core) snapshot() []store.Change {
	all := c.opts.Store.Locks().All()
	if c.opts.Policies != nil {
		all = append(all, c.opts.Policies()...)
	}
	return all
}

// speak sends what is in the queue of an edge. An edge that takes nothing holds up nobody else.
func speak(s grpc.ServerStream, e *follower) error {
	for {
		select {
		case <-s.Context().Done():
			return s.Context().Err()
		case <-e.out.filled:
		}
		for _, m := range e.out.take() {
			if err := s.SendMsg(m); err != nil {
				return err
			}
		}
	}
}

// nameOf returns the name in the certificate of an edge, for the front of its identity. So nobody with another
// certificate can speak for it. It is empty without TLS.
func nameOf(ctx context.Context) lease.ID {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return ""
	}
	leaf := info.State.PeerCertificates[0]
	switch {
	case len(leaf.DNSNames) > 0:
		return lease.ID(leaf.DNSNames[0] + "/")
	case len(leaf.URIs) > 0:
		return lease.ID(leaf.URIs[0].String() + "/")
	}
	return ""
}

// hear passes what an edge says to the protocol.
func (c *Core) hear(s grpc.ServerStream, e *follower) error {
	for {
		var m toCore
		if err := receive(s, &m); errors.Is(err, io.EOF) {
			return nil // the edge ends
		} else if err != nil {
			return err
		}
		switch {
		case m.Renew != nil:
			m.Renew.Edge = e.id
			c.feed.heard(e, m.Renew.Position)
			c.events.push(*m.Renew)
		case m.Confirm != nil:
			m.Confirm.Edge = e.id
			c.feed.heard(e, m.Confirm.Position)
			c.events.push(*m.Confirm)
		case m.Config != nil:
			c.feed.configured(e, m.Config)
		}
	}
}

// ask answers a question of an edge.
func (c *Core) ask(ctx context.Context, q *question) (*answer, error) {
	if !c.feed.serves() || lease.Position(c.opts.Store.Health().Applied) < q.Position {
		return nil, status.Error(codes.Unavailable, lease.ErrBehind.Error())
	}
	var a answer
	var err error
	switch d := c.opts.Directory; {
	case q.Find != nil:
		a.Found, err = d.FindUser(ctx, q.Tenant, q.Find)
	case q.SCIMID != nil:
		a.SCIMID, err = d.SCIMID(ctx, q.Tenant, q.SCIMID)
	case q.HasUsers:
		a.HasUsers, err = d.HasUsers(ctx, q.Tenant)
	case q.Bundle != "" && c.opts.Bundle != nil:
		a.Bundle, err = c.opts.Bundle(ctx, q.Tenant, q.Bundle)
	case len(q.Note) > 0:
		err = c.opts.Note(ctx, q.Note)
	default:
		return nil, status.Error(codes.Unimplemented, "this core does not know the question: update it")
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, status.Errorf(codes.FailedPrecondition, "the configuration of the cores has no tenant %q", q.Tenant)
	case errors.Is(err, ErrNote):
		return nil, status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &a, nil
}

// ErrNote says that no core takes a record of an edge.
var ErrNote = errors.New("an edge cannot write this record")

// Note takes a record for the audit trail that an edge sends. After an error other than ErrNote and store.ErrNotFound
// the edge asks another core.
type Note func(ctx context.Context, record json.RawMessage) error
