//go:build darwin || freebsd

package admin

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerCred asks the kernel who connected (LOCAL_PEERCRED, unix(4)).
func peerCred(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var u *unix.Xucred
	var uerr error
	err = raw.Control(func(fd uintptr) { u, uerr = unix.GetsockoptXucred(int(fd), 0 /* SOL_LOCAL */, unix.LOCAL_PEERCRED) })
	if err := errors.Join(err, uerr); err != nil {
		return peer{}, err
	}
	return peer{int(u.Uid), -1}, nil
}
