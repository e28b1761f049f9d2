package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/approovia/edge/proxy/admin"
	"github.com/approovia/edge/proxy/control"
	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the running edge is",
		Example: "  edge status\n" +
			"  edge status --json",
		Args: cobra.NoArgs,
	}
	to := remoteFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return to.ask(c.Context(), askLimit, func(ctx context.Context, client *admin.Client) error {
			if *asJSON {
				s, err := client.Status(ctx)
				if err != nil {
					return err
				}
				return printJSON(c.OutOrStdout(), s)
			}
			r, err := client.Report(ctx)
			if err != nil {
				return err
			}
			return printStatus(c.OutOrStdout(), r, time.Now())
		})
	}
	return c
}

// printStatus writes a report on one screen.
func printStatus(w io.Writer, r *control.Report, now time.Time) error {
	s := r.Status()
	state := "serving"
	if r.Draining {
		state = "draining"
	}
	fmt.Fprintf(w, "edge %s, pid %d, %s for %s, generation %d\n", r.Version, r.PID, state, span(time.Duration(r.Uptime)), r.Generation)
	fmt.Fprintf(w, "configuration %s, in force for %s\n", r.ConfigFile, span(now.Sub(r.Loaded)))
	if !r.LastReload.OK {
		fmt.Fprintf(w, "LAST RELOAD REFUSED %s ago:\n  %s\n", span(now.Sub(r.LastReload.At)), strings.Join(r.LastReload.Errors, "\n  "))
	}
	fmt.Fprintf(w, "%d connections, %d requests, %s of memory\n", s.Connections, s.Requests, bytesOf(r.Process.MemoryBytes))
	if s.Panics > 0 || s.LogDropped > 0 {
		fmt.Fprintf(w, "%d exchanges ended in a panic, %d lines of the access log were lost\n", s.Panics, s.LogDropped)
	}
	if len(s.Unserved) > 0 {
		fmt.Fprintf(w, "NO SERVER IS UP in %s\n", strings.Join(s.Unserved, ", "))
	}

	t := table(w)
	fmt.Fprintf(t, "\nFRONTEND\tBINDS\tCONNECTIONS\tREQUESTS\t2XX\t3XX\t4XX\t5XX\tDENIED\n")
	for _, f := range r.Frontends {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", f.Name, strings.Join(f.Binds, " "), f.Connections, f.Requests,
			f.Classes.C2xx, f.Classes.C3xx, f.Classes.C4xx, f.Classes.C5xx, f.Denied)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	fmt.Fprintln(w)
	if err := printServers(w, r.Backends, now); err != nil {
		return err
	}
	if r.Mesh == nil {
		return nil
	}
	fmt.Fprintln(w)
	return printPeers(w, r.Mesh, now)
}

// printServers writes one line for each server.
func printServers(w io.Writer, backends []control.Backend, now time.Time) error {
	t := table(w)
	fmt.Fprintf(t, "SERVER\tADDRESS\tSTATUS\tSINCE\tWEIGHT\tIN FLIGHT\tIDLE\tREQUESTS\t5XX\tERRORS\tCHECK\n")
	for _, b := range backends {
		for _, s := range b.Servers {
			check := "-"
			if s.Check != nil {
				check = fmt.Sprintf("%s in %s", s.Check.Status, time.Duration(s.Check.Took).Round(10*time.Microsecond))
				if s.Check.Why != "" {
					check += ": " + s.Check.Why
				}
			}
			fmt.Fprintf(t, "%s/%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", b.Name, s.Name, s.Address, s.Status, span(now.Sub(s.Since)),
				s.Weight, s.Inflight, s.ConnsIdle, s.Requests, s.Classes.C5xx, s.ErrorsConnect+s.ErrorsResponse, check)
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the servers: %w", err)
	}
	return nil
}

// printPeers writes one line for each tunnel.
func printPeers(w io.Writer, m *control.MeshReport, now time.Time) error {
	fmt.Fprintf(w, "mesh %s, UDP port %d, public key %s\n", m.Address, m.ListenPort, m.PublicKey)
	t := table(w)
	fmt.Fprintf(t, "PEER\tENDPOINT\tHANDSHAKE\tRECEIVED\tSENT\tALLOWED IPS\n")
	for _, p := range m.Peers {
		endpoint := p.Endpoint
		if endpoint == "" {
			endpoint = "unknown"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, endpoint, handshakeAge(p, now), bytesOf(p.RxBytes), bytesOf(p.TxBytes), strings.Join(p.AllowedIPs, " "))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the tunnels: %w", err)
	}
	return nil
}

func handshakeAge(p control.Peer, now time.Time) string {
	if p.LastHandshake.IsZero() {
		return "never"
	}
	return span(now.Sub(p.LastHandshake)) + " ago"
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// span is a duration as people say it: its two largest units.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// bytesOf is a number of bytes as people say it.
func bytesOf(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
