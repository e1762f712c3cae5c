package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// peerOf asks the kernel for the user who made the connection (SO_PEERCRED).
func peerOf(c net.Conn) (Peer, error) {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.New("the connection is no unix socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("opening the connection: %w", err)
	}
	var cred *syscall.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, asked); err != nil {
		return Peer{}, fmt.Errorf("reading the peer: %w", err)
	}
	return judge(cred.Uid, uint32(os.Geteuid())), nil
}
