package loop

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe for splicing may hold, in bytes; the kernel may give less.
const pipeSize = 256 << 10

// pipe carries bytes between two sockets inside the kernel. held counts those inside.
type pipe struct {
	r, w int
	size int
	held int
}

func (l *Loop) pipe() (*pipe, error) {
	if n := len(l.poll.pipes); n > 0 {
		p := l.poll.pipes[n-1]
		l.poll.pipes = l.poll.pipes[:n-1]
		return p, nil
	}
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	p := &pipe{r: fd[0], w: fd[1], size: 64 << 10}
	if n, err := unix.FcntlInt(uintptr(fd[1]), unix.F_SETPIPE_SZ, pipeSize); err == nil {
		p.size = n
	}
	return p, nil
}

// putPipe keeps an empty pipe for the next user.
func (l *Loop) putPipe(p *pipe) {
	if p.held == 0 && len(l.poll.pipes) < 16 {
		l.poll.pipes = append(l.poll.pipes, p)
		return
	}
	p.close()
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// CanSplice says whether Splice can move bytes from src to dst.
func CanSplice(dst, src Conn) bool {
	_, a := dst.(*sock)
	_, b := src.(*sock)
	return a && b
}

// Splice moves up to n bytes (n < 0: until the end) from src to dst without copying them through this process. It returns how many went
// out; io.EOF when src ended before n, and an error with atDst true when dst failed. moved is told of each piece that went out: there
// deadlines are renewed.
func Splice(dst, src Conn, n int64, moved func(n int)) (total int64, atDst bool, err error) {
	d, s := dst.(*sock), src.(*sock)
	p, err := s.l.pipe()
	if err != nil {
		return 0, false, err
	}
	defer func() { s.l.putPipe(p) }()
	for n != 0 {
		if err := s.WaitReadable(); err != nil {
			return total, false, err
		}
		if s.closed || d.closed {
			return total, d.closed, ErrClosed
		}
		want := p.size
		if n > 0 {
			want = int(min(n, int64(want)))
		}
		in, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(s.fd), 0, uintptr(p.w), 0, uintptr(want), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case e == unix.EAGAIN:
			s.readable = false
			continue
		case e == unix.EINTR:
			continue
		case e != 0:
			return total, false, e
		case in == 0:
			return total, false, io.EOF
		}
		p.held = int(in)
		for p.held > 0 {
			if d.closed {
				return total, true, ErrClosed
			}
			more := uintptr(0)
			if n < 0 || n > int64(in) {
				more = unix.SPLICE_F_MORE
			}
			out, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(p.r), 0, uintptr(d.fd), 0, uintptr(p.held), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE|more)
			if e != 0 {
				if err := d.unwritable(e); err != nil {
					return total, true, err
				}
				continue
			}
			p.held -= int(out)
			total += int64(out)
			moved(int(out))
		}
		if n > 0 {
			n -= int64(in)
		}
	}
	return total, false, nil
}
