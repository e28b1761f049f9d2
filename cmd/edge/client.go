package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/admin"
	"github.com/spf13/cobra"
)

// Where a running edge is looked for when nothing says otherwise.
const defaultAdmin = "unix:/run/edge/admin.sock"

var defaultFiles = []string{"edge.yaml", "/etc/edge/edge.yaml"}

// askLimit is how long one question to a running edge may take, and a reload, which reads files and opens sockets.
const (
	askLimit    = 10 * time.Second
	reloadLimit = time.Minute
)

// remote says which running edge a command speaks to.
type remote struct{ admin, file string }

func remoteFlags(c *cobra.Command) *remote {
	r := &remote{}
	c.Flags().StringVar(&r.admin, "admin", "", "admin `SOCKET` of the running edge, unix:/path (default: EDGE_ADMIN, or global.admin of the configuration file, or "+defaultAdmin+")")
	c.Flags().StringVarP(&r.file, "config", "c", "", "configuration `FILE` whose global.admin is meant (default: edge.yaml, or else /etc/edge/edge.yaml)")
	return r
}

// Dial makes a client for it.
func (r *remote) Dial() (*admin.Client, error) {
	addr, err := r.address(os.Getenv)
	if err != nil {
		return nil, err
	}
	client, err := admin.Dial(addr)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

func (r *remote) address(getenv func(string) string) (string, error) {
	switch {
	case r.admin != "":
		return r.admin, nil
	case r.file != "":
		addr, err := adminOf(r.file)
		if err == nil && addr == "" {
			err = configs.Errors{{Pos: configs.Pos{File: r.file, Line: 1, Col: 1}, Msg: "global: admin is not set: this edge cannot be asked"}}
		}
		return addr, err
	case getenv("EDGE_ADMIN") != "":
		return getenv("EDGE_ADMIN"), nil
	}
	for _, f := range defaultFiles {
		if addr, err := adminOf(f); err == nil && addr != "" {
			return addr, nil
		}
	}
	return defaultAdmin, nil
}

// written finds the admin address in a document that has mistakes.
var written = regexp.MustCompile(`(?m)\badmin:\s*["']?unix:([^\s"',}$]+)`)

// adminOf is global.admin of a configuration file. A file with mistakes must do: they are the very time to ask the edge that still runs
// with an earlier version of it.
func adminOf(file string) (string, error) {
	cfg, err := configs.Load(file)
	if err == nil {
		return cfg.Global.Admin, nil
	}
	text, unread := os.ReadFile(file)
	if unread != nil {
		return "", err
	}
	m := written.FindSubmatch(text)
	if m == nil {
		return "", err
	}
	socket := string(m[1])
	if !filepath.IsAbs(socket) {
		dir, err := filepath.Abs(filepath.Dir(file))
		if err != nil {
			return "", fmt.Errorf("find the admin socket: %w", err)
		}
		socket = filepath.Join(dir, socket)
	}
	return "unix:" + socket, nil
}

// ask calls f with a client, for at most limit.
func (r *remote) ask(ctx context.Context, limit time.Duration, f func(context.Context, *admin.Client) error) error {
	client, err := r.Dial()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("the edge has not answered in time"))
	defer cancel()
	return f(ctx, client)
}
