//go:build unix

package proxy

import "syscall"

// maxFDs is the process's limit of open descriptors.
func maxFDs() int {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return 0
	}
	return int(min(uint64(lim.Cur), 1<<31-1))
}
