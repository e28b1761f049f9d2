package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerCred asks the kernel who connected (SO_PEERCRED, unix(7)).
func peerCred(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var u *unix.Ucred
	var uerr error
	err = raw.Control(func(fd uintptr) { u, uerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, uerr); err != nil {
		return peer{}, err
	}
	return peer{int(u.Uid), int(u.Pid)}, nil
}
