package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/approovia/edge/proxy/control"
	"github.com/google/go-cmp/cmp"
)

func TestAClientSeesWhatTheOperatorSays(t *testing.T) {
	t.Parallel()
	op := newOperator()
	addr, _ := start(t, op)
	c, ctx := client(t, addr), t.Context()

	want, err := op.Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	report, err := c.Report(ctx)
	if d := cmp.Diff(want, report); err != nil || d != "" {
		t.Error(err, d)
	}
	status, err := c.Status(ctx)
	if d := cmp.Diff(want.Status(), status); err != nil || d != "" {
		t.Error(err, d)
	}
	s, err := c.Server(ctx, "odd/name", "a b%?#")
	if d := cmp.Diff(Server{5, want.Backends[1].Servers[0]}, s); err != nil || d != "" {
		t.Error(err, d)
	}
	if n, err := c.Inflight(ctx, "service-a", "vm2"); err != nil || n != (control.Inflight{HTTP: 3, Tunnels: 1}) {
		t.Error(n, err)
	}
	if f, err := c.Config(ctx); err != nil || f != (Config{"edge.yaml", "frontends: {}\n"}) {
		t.Error(f, err)
	}
	m, err := c.Mesh(ctx)
	if d := cmp.Diff(*op.Mesh(), m); err != nil || d != "" {
		t.Error(err, d)
	}
}

func TestAClientChangesAServerIfNobodyElseDid(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, newOperator())
	c, ctx := client(t, addr), t.Context()
	before, err := c.Server(ctx, "service-a", "vm2")
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.ChangeServer(ctx, "service-a", "vm2", control.Change{State: new(control.Drain), Weight: new(0)}, &before.Generation)
	if err != nil || after.Generation != before.Generation+1 || after.Server.Status != control.StatusDrain || after.Server.Weight != 0 || !after.Server.Changed {
		t.Fatalf("%+v, %v", after, err)
	}
	_, err = c.ChangeServer(ctx, "service-a", "vm2", control.Change{State: new(control.Ready)}, &before.Generation)
	var e *control.Error
	if !errors.Is(err, control.ErrConflict) || !errors.As(err, &e) || e.Generation != after.Generation {
		t.Errorf("%v", err)
	}
}

func TestAClientGetsTheOperatorsErrors(t *testing.T) {
	t.Parallel()
	op := newOperator()
	op.noMesh = true
	addr, _ := start(t, op)
	c, ctx := client(t, addr), t.Context()
	_, notFound := c.Server(ctx, "service-a", "vm9")
	_, noMesh := c.Mesh(ctx)
	_, invalid := c.ChangeServer(ctx, "service-a", "vm2", control.Change{Weight: new(1000)}, nil)
	op.mu.Lock()
	op.err = control.Busy("a reload")
	op.mu.Unlock()
	_, busy := c.Reload(ctx)
	op.mu.Lock()
	op.err = errBroken
	op.mu.Unlock()
	_, broken := c.Report(ctx)
	for _, e := range []struct {
		err, kind error
		text      string
	}{
		{notFound, control.ErrNotFound, `no server "service-a/vm9"`},
		{noMesh, control.ErrNotFound, "no mesh is configured"},
		{invalid, control.ErrInvalid, "weight 1000 is out of range"},
		{busy, control.ErrBusy, "a reload is under way already"},
		{broken, nil, errBroken.Error()},
	} {
		if e.err == nil || e.kind != nil && !errors.Is(e.err, e.kind) || !strings.Contains(e.err.Error(), e.text) {
			t.Errorf("got %v, want %v: %s", e.err, e.kind, e.text)
		}
	}
}

func TestARefusedConfigurationIsAVerdictNotAFailure(t *testing.T) {
	t.Parallel()
	op := newOperator()
	op.reload = control.ReloadResult{Errors: []string{"edge.yaml:1:1: one", "edge.yaml:2:1: two"}}
	addr, log := start(t, op)
	r, err := client(t, addr).Reload(t.Context())
	if err != nil || r.OK || len(r.Errors) != 2 || r.Generation != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if !strings.Contains(log.String(), "edge.yaml:2:1: two") {
		t.Errorf("not in the log: %s", log)
	}
}

func TestAClientIsToldThatNobodyIsThere(t *testing.T) {
	t.Parallel()
	c := client(t, "unix:"+socketDir(t)+"/admin.sock")
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	for _, err := range c.Events(t.Context()) {
		if !errors.Is(err, ErrNotRunning) {
			t.Error(err)
		}
	}
	if _, err := Dial("127.0.0.1:80"); err == nil {
		t.Error("an address that is no socket was taken")
	}
}

func TestEventsArriveAsTheyHappen(t *testing.T) {
	t.Parallel()
	op := newOperator()
	addr, _ := start(t, op)
	c, ctx := client(t, addr), t.Context()
	did := make(chan error, 1)
	go func() {
		<-op.subscribed
		_, err := c.ChangeServer(ctx, "service-a", "vm2", control.Change{State: new(control.Maint)}, nil)
		if err == nil {
			_, err = c.Reload(ctx)
		}
		did <- err
	}()
	var got []control.Event
	for e, err := range c.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e); len(got) == 2 {
			break
		}
	}
	if err := <-did; err != nil {
		t.Fatal(err)
	}
	if s := got[0]; s.Kind != control.ServerEvent || s.Backend != "service-a" || s.Server != "vm2" || s.Status != control.StatusMaint {
		t.Errorf("%+v", s)
	}
	if r := got[1]; r.Kind != control.ReloadEvent || r.Reload == nil || r.Reload.Generation != 7 || r.ID != got[0].ID+1 {
		t.Errorf("%+v", r)
	}
}

func TestAnEventStreamThatBreaksOffSaysSo(t *testing.T) {
	t.Parallel()
	op := closedFeed{newOperator()}
	addr, _ := start(t, op)
	n := 0
	for _, err := range client(t, addr).Events(t.Context()) {
		n++
		if err == nil || !strings.Contains(err.Error(), "has ended the stream") {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d pairs", n)
	}
}

// closedFeed cuts every reader off at once.
type closedFeed struct{ *operator }

func (closedFeed) Events(context.Context) <-chan control.Event {
	c := make(chan control.Event)
	close(c)
	return c
}
