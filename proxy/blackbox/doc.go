// Package blackbox answers whether the finished program keeps HTTP's promises, and ours, towards clients and servers of every kind:
// broken, hostile, slow, gone. It knows nothing of how the program is made. Its tests start the program with a configuration file, play
// the client and the server, and look only at the bytes on both sides.
//
// EDGE names a program to test instead of building one. PROXY=haproxy runs the same tests against an installed HAProxy: its
// failures show where the two differ.
package blackbox
