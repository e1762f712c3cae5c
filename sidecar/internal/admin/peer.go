package admin

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
)

// Peer is the user of the operating system at the other end of a connection. The zero Peer is
// refused.
type Peer struct {
	User   string // name, "uid:N" for a user without a name, "unknown" where the system names no peers
	Reason string // why the peer is refused
	OK     bool
}

// judge returns the peer with a user id. Only the user who runs scimward, and root, may use the admin
// socket.
func judge(uid, self uint32) Peer {
	p := Peer{User: "uid:" + strconv.FormatUint(uint64(uid), 10), OK: uid == self || uid == 0}
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil && u.Username != "" {
		p.User = u.Username
	}
	if !p.OK {
		p.Reason = fmt.Sprintf("the admin socket is for root and for the user who runs scimward (uid %d), not for %s: "+
			"run the command as one of them", self, p.User)
	}
	return p
}

type peerKey struct{}

// ConnContext adds the [Peer] of a connection to its context, for [net/http.Server.ConnContext].
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	p, err := peerOf(c)
	if err != nil {
		p = Peer{Reason: "the system does not say who connects: " + err.Error()}
	}
	return withPeer(ctx, p)
}

func withPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerIn returns the peer of a request, the zero Peer if the connection did not come through
// [ConnContext].
func peerIn(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}

// guard refuses the requests of peers who are not operators.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := peerIn(r.Context()); !p.OK {
			problem(w, http.StatusForbidden, cmp.Or(p.Reason, "this connection has no user of the system"), nil)
			return
		}
		next.ServeHTTP(w, r)
	})
}
