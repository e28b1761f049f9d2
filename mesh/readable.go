package mesh

import "gvisor.dev/gvisor/pkg/waiter"

// Readable says whether a TryRead would not have to wait: bytes, the peer's end or an error are there.
func (c *Conn) Readable() bool {
	return c.ep.Readiness(waiter.ReadableEvents|waiter.EventHUp|waiter.EventErr) != 0
}
