// Command bench answers: what does a proxied request cost, in edge and in the others? It starts edge,
// HAProxy, nginx and a plain httputil.ReverseProxy in turn, gives each the same job and the same load,
// sees that each does the job, and compares processor time per request, throughput, latency and memory.
//
// Everything runs on 127.0.0.1 on ports the kernel chooses, as any user, on one machine: the load and
// the origin take processor time beside the proxy, so requests per second say less than the processor
// time a request costs. The contenders take turns within each round, and ratios are formed within a
// round, so that what slows the machine slows all of them. Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	rounds   int
	duration time.Duration
	warmup   time.Duration
	only     *regexp.Regexp // of scenarios; all if nil
	proxies  []string       // all if empty
	quick    bool
	out      string
	bin      binaries
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// resultsFile is where a whole run leaves its results.
const resultsFile = "bench/RESULTS.md"

func parse(args []string) (options, error) {
	var o options
	var only, proxies string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "rounds, in each of which every proxy has its turn")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "load per turn, in whole seconds")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "load at the start of each turn that is not measured, in whole seconds")
	flags.StringVar(&only, "only", "", "regular expression that the scenarios' names must match")
	flags.StringVar(&proxies, "proxies", "", "comma-separated names of the proxies taking part")
	flags.BoolVar(&o.quick, "quick", false, "1 round of 1 s without warm-up, a few scenarios")
	flags.StringVar(&o.out, "out", "", "file for the results; "+resultsFile+" if everything is run")
	flags.StringVar(&o.bin.edge, "edge", "bin/edge", "edge binary")
	o.bin.haproxy = "haproxy"
	if name := os.Getenv("HAPROXY"); name != "" {
		o.bin.haproxy = name
	}
	o.bin.nginx = "nginx"
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: bench [flags]    (environment: HAPROXY=FILE chooses another HAProxy)")
		flags.PrintDefaults()
		fmt.Fprintln(flags.Output(), "scenarios:")
		for _, s := range scenarios {
			fmt.Fprintf(flags.Output(), "  %-16s %s\n", s.name, s.about)
		}
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	set := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.quick {
		if !set["rounds"] {
			o.rounds = 1
		}
		if !set["duration"] {
			o.duration = time.Second
		}
		if !set["warmup"] {
			o.warmup = 0
		}
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: at least 1", o.rounds)
	}
	if o.duration < time.Second || o.duration%time.Second != 0 || o.warmup < 0 || o.warmup%time.Second != 0 {
		return o, fmt.Errorf("-duration %v, -warmup %v: whole seconds are wanted, at least 1s and 0s", o.duration, o.warmup)
	}
	if only != "" {
		var err error
		if o.only, err = regexp.Compile(only); err != nil {
			return o, fmt.Errorf("-only: %w", err)
		}
	}
	if proxies != "" {
		o.proxies = strings.Split(proxies, ",")
		for _, name := range o.proxies {
			if !slices.ContainsFunc(contenders, func(c contender) bool { return c.name == name }) {
				return o, fmt.Errorf("-proxies: there is no %q", name)
			}
		}
	}
	if o.out == "" && !o.quick && only == "" && proxies == "" {
		o.out = resultsFile
	}
	return o, nil
}

// turns are the contenders of a scenario that take part, in their order.
func (o options) turns(s scenario) []contender {
	var turns []contender
	for _, c := range contenders {
		if slices.Contains(s.contenders(), c.name) && (o.proxies == nil || slices.Contains(o.proxies, c.name)) {
			turns = append(turns, c)
		}
	}
	return turns
}

// chosen are the scenarios to run.
func (o options) chosen() []scenario {
	var chosen []scenario
	for _, s := range scenarios {
		if (o.only == nil || o.only.MatchString(s.name)) && (!o.quick || s.quick || o.only != nil) && len(o.turns(s)) > 0 {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// run measures everything chosen and writes the results.
func run(ctx context.Context, o options) error {
	chosen := o.chosen()
	if len(chosen) == 0 {
		return errors.New("no scenario and proxy are left to run")
	}
	if err := enoughDescriptors(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "edge-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.bin, err = findBinaries(ctx, o, chosen, dir); err != nil {
		return err
	}
	facts, err := describe(ctx, o.bin)
	if err != nil {
		return err
	}
	files, err := startFiles(ctx, o.bin.nginx, dir)
	if err != nil {
		return err
	}
	sink, err := startSink()
	if err != nil {
		return errors.Join(err, files.stop())
	}
	r := runner{dir: dir, bin: o.bin, files: files, sink: sink, duration: o.duration, warmup: o.warmup}
	results, err := measureAll(ctx, o, r, chosen)
	if err := errors.Join(err, sink.stop(), files.stop()); err != nil {
		return err
	}
	text := render(o, facts, results)
	fmt.Print(text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// measureAll runs the scenarios one after the other, and in each round of one the contenders in turn.
func measureAll(ctx context.Context, o options, r runner, chosen []scenario) ([]result, error) {
	var results []result
	for _, s := range chosen {
		res := result{scenario: s}
		for _, c := range o.turns(s) {
			res.entries = append(res.entries, entry{name: c.name})
		}
		for round := range o.rounds {
			for i, c := range o.turns(s) {
				m, err := r.run(ctx, s, c)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
				}
				res.entries[i].rounds = append(res.entries[i].rounds, m)
				fmt.Fprintf(os.Stderr, "%s %d/%d %-9s %s\n", s.name, round+1, o.rounds, c.name, m.line(s))
			}
		}
		results = append(results, res)
	}
	return results, nil
}

// findBinaries finds what is installed and builds what is ours, as far as it takes part.
func findBinaries(ctx context.Context, o options, chosen []scenario, dir string) (binaries, error) {
	takesPart := map[string]bool{"nginx": true} // as the origin, always
	for _, s := range chosen {
		for _, c := range o.turns(s) {
			takesPart[c.name] = true
		}
	}
	var b binaries
	var errs []error
	find := func(file *string, name string, wanted bool) {
		if !wanted {
			return
		}
		found, err := exec.LookPath(name)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		*file = found
		errs = append(errs, err)
	}
	build := func(file *string, pkg string, wanted bool) {
		if !wanted {
			return
		}
		*file = filepath.Join(dir, filepath.Base(pkg))
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", *file, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("build %s: %w: %s", pkg, err, out))
		}
	}
	find(&b.haproxy, o.bin.haproxy, takesPart["haproxy"])
	find(&b.nginx, o.bin.nginx, takesPart["nginx"])
	find(&b.edge, o.bin.edge, takesPart["edge"] || takesPart["edge-mesh"])
	build(&b.stdproxy, "github.com/approovia/edge/bench/stdproxy", takesPart["std"])
	build(&b.meshpeer, "github.com/approovia/edge/bench/meshpeer", takesPart["edge-mesh"])
	return b, errors.Join(errs...)
}

// enoughDescriptors raises the limit of open files for this process and its children as far as it
// goes, and complains if that is not far enough.
func enoughDescriptors() error {
	// Two for each connection, and HAProxy's pipes for splicing, of which it wants one for four.
	const need = maxconn*5/2 + 500
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < need {
		return fmt.Errorf("the hard limit of open files is %d, %d are needed (ulimit -Hn)", limit.Max, need)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}
