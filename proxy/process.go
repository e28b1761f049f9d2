package proxy

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/approovia/edge/proxy/control"
)

// process reads what the process takes of the machine. What the system does not tell stays 0.
func process() (out control.Process) {
	out.Goroutines = runtime.NumGoroutine()
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	out.HeapBytes = heap[0].Value.Uint64()
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseUint(f[1], 10, 64)
			out.MemoryBytes = pages * uint64(os.Getpagesize())
		}
	}
	if d, err := os.ReadDir("/proc/self/fd"); err == nil {
		out.OpenFDs = len(d)
	}
	out.MaxFDs = maxFDs()
	return
}
