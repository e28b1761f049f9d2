package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy"
	"github.com/approovia/edge/proxy/admin"
	"github.com/approovia/edge/proxy/control"
	"github.com/approovia/edge/proxy/metrics"
)

// daemon is a running edge: the proxy and all that makes a service of it. It is the operator's proxy as well, with the service manager
// told of each reload, whoever asked for it.
type daemon struct {
	*proxy.Proxy
	settings
	file    string
	tunnels *tunnels
	watch   *watch       // nil if the system lets us watch nothing
	admin   net.Listener // nil if not configured, and so the next
	metrics net.Listener
	manager *notifier
	wanted  chan struct{} // holds one wish for a reload

	mu   sync.Mutex      // held by a reload
	read *configs.Config // what it has read
}

// settings are what the command line says, and what differs between run and demo.
type settings struct {
	Drain time.Duration // how long Run lets requests finish
	Log   *slog.Logger
	Level *slog.LevelVar // Log's; follows global.log.level. Nil: it stays as it is.
	// Getenv is asked for the service manager's variables; nil: there is none.
	Getenv func(string) string
}

// newDaemon reads the configuration and opens all that can fail to open. What is wrong with the configuration, ports in use included, is
// configs.Errors.
func newDaemon(file string, s settings) (*daemon, error) {
	cfg, err := load(file)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		s.Log.Warn(w.Error())
	}
	d := &daemon{settings: s, file: file, tunnels: &tunnels{log: s.Log}, manager: &notifier{}, wanted: make(chan struct{}, 1)}
	if err := d.open(cfg); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// open opens what cfg asks for. After an error, close frees what was opened before it.
func (d *daemon) open(cfg *configs.Config) (err error) {
	d.level(cfg)
	if d.Getenv != nil {
		if d.manager, err = newNotifier(d.Getenv); err != nil {
			d.Log.Warn("the service manager is not told how it goes", "error", err)
		}
	}
	if d.watch, err = newWatch(d.Log); err != nil {
		d.Log.Warn("changed files are not noticed: ask for each reload", "error", err)
	} else {
		d.watch.Follow(cfg)
	}
	// The admin socket comes first: it tells a second edge that there is one already.
	if a := cfg.Global.Admin; a != "" {
		if d.admin, err = admin.Listen(a); err != nil {
			return configs.Errors{{Pos: cfg.Global.Pos, Msg: "global: admin: " + err.Error(), Err: err}}
		}
	}
	if m := cfg.Global.Metrics; m != "" {
		if d.metrics, err = net.Listen("tcp", m); err != nil {
			return configs.Errors{{Pos: cfg.Global.Pos, Msg: "global: metrics: " + err.Error(), Err: err}}
		}
	}
	d.Proxy, err = proxy.New(cfg, proxy.Options{
		Version: buildVersion(),
		Load:    d.load,
		Mesh:    d.tunnels,
		Log:     d.Log,
		Drain:   d.Drain,
	})
	return err
}

// close frees what newDaemon opened. The admin socket's file goes with it.
func (d *daemon) close() {
	for _, l := range []net.Listener{d.admin, d.metrics} {
		if l != nil {
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				d.Log.Warn("close a listener", "error", err)
			}
		}
	}
	if d.watch != nil {
		d.watch.Close()
	}
	d.tunnels.Close()
	d.manager.Close()
}

// load reads the configuration for Reload, which holds mu.
func (d *daemon) load() (*configs.Config, error) {
	cfg, err := load(d.file)
	d.read = cfg
	if d.watch != nil {
		d.watch.Follow(cfg) // with errors as well: correcting them is a change
	}
	return cfg, err
}

// Reload implements control.Operator.
func (d *daemon) Reload(ctx context.Context) (control.ReloadResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.manager.Reloading()
	r, err := d.Proxy.Reload(ctx)
	status := "serving"
	switch {
	case err == nil && r.OK:
		d.level(d.read)
	case err == nil:
		status = "serving; the last reload was refused: " + strings.Join(r.Errors, "\n")
	}
	d.manager.Ready(status)
	return r, err
}

// level takes over global.log.level.
func (d *daemon) level(cfg *configs.Config) {
	if d.Level != nil {
		if err := d.Level.UnmarshalText([]byte(cfg.Global.Log.Level)); err != nil {
			d.Log.Warn("global: log: level", "error", err)
		}
	}
}

// Run serves until ctx ends, and then drains. A value on hangups reloads and reopens the log files; it may be nil.
func (d *daemon) Run(ctx context.Context, hangups <-chan os.Signal) error {
	defer d.close()
	// The operator keeps his view and the servers their tunnels while requests finish.
	drained, stop := context.WithCancel(context.WithoutCancel(ctx))
	var rooms sync.WaitGroup
	defer rooms.Wait()
	defer stop()

	served := make(chan error, 1)
	go func() { served <- d.Proxy.Run(ctx) }()
	if err := d.ready(ctx, served); err != nil {
		return err
	}
	if d.admin != nil {
		rooms.Go(func() {
			d.serve("admin API", admin.Serve(drained, d.admin, admin.Handler(d, admin.Options{Log: d.Log}), d.Log))
		})
	}
	if d.metrics != nil {
		rooms.Go(func() { d.serve("metrics", serveMetrics(drained, d.metrics, metrics.Handler(d, d.Ready), d.Log)) })
	}
	if d.watch != nil {
		rooms.Go(func() { d.watch.Run(drained, d.file, d.want) })
	}
	rooms.Go(func() { d.reloads(ctx, hangups) })
	rooms.Go(func() { d.live(drained) })
	d.announce()
	d.manager.Ready("serving")
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	d.Log.Info("stopping: what is under way may finish", "at_most", d.Drain)
	d.manager.Stopping()
	return <-served
}

// ready waits until the proxy serves. If it ends before, that is the error.
func (d *daemon) ready(ctx context.Context, served <-chan error) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !d.Ready() && ctx.Err() == nil {
		select {
		case err := <-served:
			return errors.Join(errors.New("the proxy ended before it served"), err)
		case <-look.C:
		}
	}
	return nil
}

// announce tells where it listens, with the ports that the kernel chose.
func (d *daemon) announce() {
	for _, a := range d.Addrs() {
		frontend, address, _ := strings.Cut(a, "=")
		d.Log.Info("listening", "frontend", frontend, "address", address)
	}
	if d.metrics != nil {
		d.Log.Info("listening", "metrics", d.metrics.Addr().String())
	}
	if d.admin != nil {
		d.Log.Info("listening", "admin", "unix:"+d.admin.Addr().String())
	}
	d.Log.Info("ready", "version", buildVersion(), "config", d.file, "pid", os.Getpid())
}

// serve keeps the proxy running when one of the rooms beside it cannot go on.
func (d *daemon) serve(what string, err error) {
	if err != nil {
		d.Log.Error(what+" ended", "error", err)
	}
}

// want asks for a reload; several wishes become one.
func (d *daemon) want() {
	select {
	case d.wanted <- struct{}{}:
	default:
	}
}

// reloads carries out wishes until ctx ends. The verdict is in the log, the status and the metrics.
func (d *daemon) reloads(ctx context.Context, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := d.ReopenLogs(); err != nil {
				d.Log.Error("reopen the log files", "error", err)
			}
		case <-d.wanted:
		}
		if _, err := d.Reload(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("reload", "error", err)
		}
	}
}

// live gives the service manager signs of life, as long as the loops answer.
func (d *daemon) live(ctx context.Context) {
	if d.manager.Watchdog == 0 {
		return
	}
	beat := time.NewTicker(d.manager.Watchdog / 2)
	defer beat.Stop()
	for {
		if d.Alive(d.manager.Watchdog / 2) {
			d.manager.Alive()
		} else {
			d.Log.Error("a loop does not answer: no sign of life for the service manager")
		}
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
	}
}

// serveMetrics answers on l until ctx is done.
func serveMetrics(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // a scrape cut short is asked for again
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the metrics: %w", err)
	}
	return nil
}
