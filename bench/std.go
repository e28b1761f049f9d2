package main

// stdProgram gives the plain httputil.ReverseProxy its job; see stdproxy.
func stdProgram(j job, b binaries) program {
	argv := []string{b.stdproxy, "-listen", j.addr, "-stats", j.stats, "-health", pathHealth}
	if j.logs {
		argv = append(argv, "-log", j.logFile())
	}
	return program{argv: append(argv, j.servers[0], j.servers[1])}
}
