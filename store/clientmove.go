package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/scimward/scimward/store/machine"
)

// maxMoved bounds the rows that one record moves. A row has a key set at most.
const maxMoved = 20

// moveClients moves the rows of clients that former versions keyed by the id alone. A row says which issuer
// its client has. Each record moves some rows as a whole, so a crash leaves the others for the next start.
func (s *Store) moveClients(ctx context.Context) error {
	for _, kind := range []byte{kindFormerClientUse, kindFormerClient} { // a use looks at the former row of its client
		for {
			tenant, ids, err := s.formerClients(ctx, kind)
			if err == nil && len(ids) > 0 {
				_, err = s.update(ctx, tenant, Cause{}, func(t *Tx) error { return t.moveClients(kind, ids) })
			}
			if err != nil {
				return fmt.Errorf("moving the rows of OAuth clients, which a former version wrote: %w", err)
			}
			if len(ids) == 0 {
				break
			}
		}
	}
	return nil
}

// formerClients returns the ids of some former rows of one tenant.
func (s *Store) formerClients(ctx context.Context, kind byte) (tenant string, ids []string, err error) {
	err = s.m.View(ctx, func(snap *machine.Snapshot) error {
		return snap.Scan([]byte{kind}, nil, false, func(e machine.Entry) (bool, error) {
			d, err := DecodeKey(bytes.Clone(e.Key))
			if err != nil || len(ids) > 0 && d.Tenant != tenant {
				return false, err
			}
			tenant, ids = d.Tenant, append(ids, d.Parts[0])
			return len(ids) < maxMoved, nil
		})
	})
	return tenant, ids, err
}

func (t *Tx) moveClients(kind byte, ids []string) error {
	for _, id := range ids {
		var c Client
		_, err := t.row(key(kindFormerClient, t.tenant, id), &c)
		if err != nil && (kind == kindFormerClient || !errors.Is(err, ErrNotFound)) {
			return err
		}
		if kind == kindFormerClient {
			t.putRow(c.Name().key(kindClient, t.tenant), &c)
		} else {
			var u ClientUse
			if _, err := t.row(key(kind, t.tenant, id), &u); err != nil {
				return err
			}
			u.Issuer = c.External
			t.putRow(u.name().key(kindClientUse, t.tenant), &u)
		}
		t.w.Delete(key(kind, t.tenant, id))
	}
	return nil
}
