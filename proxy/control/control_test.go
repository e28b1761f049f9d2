package control

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func p[T any](v T) *T { return &v }

func TestAChangeIsCheckedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change Change
		want   string // "" = valid
	}{
		{Change{}, ""},
		{Change{State: p(Ready), Weight: p(0), Address: p("10.0.0.12:8001"), Maxconn: p(0)}, ""},
		{Change{Weight: p(256), Address: p("[::1]:65535")}, ""},
		{Change{Address: p("vm2.example.net:1")}, ""},
		{Change{State: p(OperatorState("drian"))}, `unknown server state "drian" (known: ready, drain, maint); did you mean "drain"?`},
		{Change{State: p(OperatorState(""))}, `unknown server state "" (known: ready, drain, maint)`},
		{Change{Weight: p(257)}, "weight 257 is out of range: write 0 to 256"},
		{Change{Weight: p(-1)}, "weight -1 is out of range: write 0 to 256"},
		{Change{Maxconn: p(-1)}, "maxconn -1 is out of range: write 0 (no limit) or more"},
		{Change{Address: p("10.0.0.12")}, `address "10.0.0.12" is not host:port with a port from 1 to 65535`},
		{Change{Address: p("10.0.0.12:0")}, `address "10.0.0.12:0" is not host:port with a port from 1 to 65535`},
		{Change{Address: p(":80")}, `address ":80" is not host:port with a port from 1 to 65535`},
		{Change{Address: p("a:65536")}, `address "a:65536" is not host:port with a port from 1 to 65535`},
		{Change{Address: p("a:http")}, `address "a:http" is not host:port with a port from 1 to 65535`},
	} {
		err := c.change.Validate()
		if c.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.change, err)
			}
			continue
		}
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestANameNotFoundSuggestsTheNearest(t *testing.T) {
	t.Parallel()
	known := []string{"service-a", "service-b", "x"}
	for name, want := range map[string]string{
		"service-A":  `no backend "service-A"; did you mean "service-a"?`,
		"srvice-b":   `no backend "srvice-b"; did you mean "service-b"?`,
		"completely": `no backend "completely"`,
		"":           `no backend ""; did you mean "x"?`,
	} {
		err := NotFound("backend", name, known)
		if err.Error() != want || !errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestDistanceIsLevenshteins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}, {"ab", "ba", 2}} {
		if got := distance(c.a, c.b, 100); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestAConflictNamesTheCurrentGeneration(t *testing.T) {
	t.Parallel()
	err := Conflict(7, 9)
	var e *Error
	if !errors.Is(err, ErrConflict) || !errors.As(err, &e) || e.Generation != 9 || !strings.Contains(err.Error(), "current one is 9") {
		t.Errorf("%#v", err)
	}
}

func TestAReportSumsUpToAStatus(t *testing.T) {
	t.Parallel()
	r := Report{
		Loops:     []Loop{{Panics: 1}, {Panics: 2}},
		Frontends: []Frontend{{Connections: 3, Requests: 10}, {Connections: 4, Requests: 20}},
		Backends: []Backend{
			{Name: "a", Servers: []Server{{Status: StatusUp}, {Status: StatusDrain}, {Status: StatusNoChecks}}},
			{Name: "b", Servers: []Server{{Status: StatusDown}, {Status: StatusMaint}}},
		},
	}
	s := r.Status()
	if s.Panics != 3 || s.Connections != 7 || s.Requests != 30 || s.Servers != 5 || s.ServersUsable != 2 ||
		len(s.Unserved) != 1 || s.Unserved[0] != "b" {
		t.Errorf("%+v", s)
	}
}

func TestAServerIsFoundByItsTwoNames(t *testing.T) {
	t.Parallel()
	r := Report{Backends: []Backend{{Name: "a", Servers: []Server{{Name: "vm2"}}}, {Name: "b"}}}
	if s, err := r.Server("a", "vm2"); err != nil || s.Name != "vm2" {
		t.Error(s, err)
	}
	for _, c := range []struct{ backend, server, want string }{
		{"a", "vm3", `no server "a/vm3"; did you mean "a/vm2"?`},
		{"service", "vm2", `no backend "service"`},
	} {
		if _, err := r.Server(c.backend, c.server); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestAClassCountsEveryStatusOnce(t *testing.T) {
	t.Parallel()
	var c Classes
	for _, status := range []int{100, 101, 200, 301, 404, 499, 500, 599, 600, 999, 0, -1} {
		c.Count(status, 1)
	}
	if want := (Classes{2, 1, 1, 2, 2, 4}); c != want {
		t.Errorf("%+v", c)
	}
	sum := uint64(0)
	c.Each(func(_ string, n uint64) { sum += n })
	if sum != 12 {
		t.Error("Each sums to", sum)
	}
}

func TestSecondsTravelThroughJSON(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0", time.Second: "1", 1500 * time.Microsecond: "0.0015", 25 * time.Hour: "90000",
	} {
		text, err := json.Marshal(Seconds(d))
		if err != nil || string(text) != want {
			t.Errorf("%v: %s %v", d, text, err)
		}
		var back Seconds
		if err := json.Unmarshal(text, &back); err != nil || back != Seconds(d) {
			t.Errorf("%v came back as %v, %v", d, time.Duration(back), err)
		}
	}
	var s Seconds
	if err := json.Unmarshal([]byte(`"1s"`), &s); err == nil {
		t.Error("a string was taken for seconds")
	}
}

func TestAFeedReachesEveryReaderInOrder(t *testing.T) {
	t.Parallel()
	var f Feed
	ctx, cancel := context.WithCancel(t.Context())
	a, b := f.Subscribe(ctx), f.Subscribe(t.Context())
	for range 3 {
		f.Publish(Event{Kind: ServerEvent})
	}
	for want := uint64(1); want <= 3; want++ {
		if ea, eb := <-a, <-b; ea.ID != want || eb.ID != want || ea.At.IsZero() {
			t.Fatalf("%+v %+v, want %d", ea, eb, want)
		}
	}
	cancel()
	if e, open := <-a; open {
		t.Errorf("%+v after the end", e)
	}
	f.Publish(Event{})
	if e := <-b; e.ID != 4 {
		t.Errorf("%+v", e)
	}
}

func TestAReaderWhoFallsBehindIsCutOffAndNobodyWaits(t *testing.T) {
	t.Parallel()
	var f Feed
	slow := f.Subscribe(t.Context())
	for range backlog + 10 {
		f.Publish(Event{})
	}
	n := 0
	for range slow {
		n++
	}
	if n != backlog {
		t.Errorf("read %d events, want %d and then the end", n, backlog)
	}
	if len(f.readers) != 0 {
		t.Error("still subscribed")
	}
}
