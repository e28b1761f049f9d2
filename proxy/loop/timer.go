package loop

// timer is embedded in what can expire. Its two fields are owned by the loop's timers.
type timer struct {
	when int64 // the wanted instant; 0 = none
	slot int32 // place in the heap + 1; 0 = not in it
}

func (t *timer) state() *timer { return t }

type expirer interface {
	state() *timer
	expire() // on the loop, not in a coroutine
}

// timers is a heap of instants that is right late: a deadline moved to a later instant (each exchange moves its connection's a few times)
// only stores it, and the entry is put back when its old instant comes. So steady traffic costs one heap operation per connection and timeout,
// not per request.
type timers struct{ heap []entry }

type entry struct {
	at int64 // <= the owner's when, or the owner wants nothing any more
	e  expirer
}

// set makes e expire at the instant at.
func (q *timers) set(e expirer, at int64) {
	t := e.state()
	t.when = at
	switch {
	case t.slot == 0:
		q.heap = append(q.heap, entry{at, e})
		q.up(len(q.heap) - 1)
	case at < q.heap[t.slot-1].at:
		q.heap[t.slot-1].at = at
		q.up(int(t.slot - 1))
	}
}

// clear makes e not expire; its entry goes when its instant comes.
func (t *timer) clear() { t.when = 0 }

// remove takes e out of the heap: for owners that end.
func (q *timers) remove(e expirer) {
	t := e.state()
	t.when = 0
	if t.slot == 0 {
		return
	}
	i, n := int(t.slot-1), len(q.heap)-1
	t.slot = 0
	last := q.heap[n]
	q.heap[n] = entry{}
	q.heap = q.heap[:n]
	if i < n {
		q.heap[i] = last
		last.e.state().slot = int32(i + 1)
		q.down(i)
		q.up(int(last.e.state().slot - 1))
	}
}

// next is the instant at which expire has something to look at, 0 = never.
func (q *timers) next() int64 {
	if len(q.heap) == 0 {
		return 0
	}
	return q.heap[0].at
}

// expire lets all that is due expire.
func (q *timers) expire(now int64) {
	for len(q.heap) > 0 && q.heap[0].at <= now {
		e := q.heap[0].e
		t := e.state()
		if t.when > now {
			q.heap[0].at = t.when
			q.down(0)
			continue
		}
		due := t.when != 0
		q.remove(e)
		if due {
			e.expire()
		}
	}
}

func (q *timers) place(i int, x entry) {
	q.heap[i] = x
	x.e.state().slot = int32(i + 1)
}

func (q *timers) up(i int) {
	x := q.heap[i]
	for i > 0 {
		p := (i - 1) / 2
		if q.heap[p].at <= x.at {
			break
		}
		q.place(i, q.heap[p])
		i = p
	}
	q.place(i, x)
}

func (q *timers) down(i int) {
	x := q.heap[i]
	for {
		c := 2*i + 1
		if c >= len(q.heap) {
			break
		}
		if c+1 < len(q.heap) && q.heap[c+1].at < q.heap[c].at {
			c++
		}
		if x.at <= q.heap[c].at {
			break
		}
		q.place(i, q.heap[c])
		i = c
	}
	q.place(i, x)
}
