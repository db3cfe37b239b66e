package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/terminal"
)

// usageError is an error of the command line itself.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format+"; see `lightning-rod -h`", args...)}
}

// command is one thing lightning-rod does.
type command struct {
	name    string
	args    string   // for the help
	flags   []string // that it takes
	short   string
	example string
	max     int // arguments
	min     int
	run     func(ctx context.Context, o options) error
}

// runFlags are those of a board at work.
var runFlags = []string{"state", "config", "proxy-file", "allow-target", "allow-bridge", "allow-terminal", "source-per-user", "io", "io-config", "plugin-key", "allow-plugin-network", "commands", "verbose"}

func commands() []command {
	return []command{
		{name: "join", args: "JOIN-STRING", min: 1, max: 1, run: join,
			flags:   append([]string{"name", "proxy", "ca", "no-run"}, runFlags...),
			short:   "enrol this board, then run",
			example: "lightning-rod join s4t1.eyJ1IjpbImh0dHBzOi8v...\n  lightning-rod join JOIN-STRING --proxy http://10.0.0.1:3128 --no-run"},
		{name: "run", run: serve,
			flags:   runFlags,
			short:   "be the board's service",
			example: "lightning-rod run\n  lightning-rod run --allow-target 192.168.1.0/24\n  lightning-rod run --io /run/pins --io-config /etc/lightning-rod/io.toml\n  lightning-rod run --plugin-key /etc/lightning-rod/alice.pub"},
		{name: "mount", args: "DIR", min: 1, max: 1, run: mount,
			flags:   []string{"state", "board", "verbose"},
			short:   "show the pins of the project's other boards as files, until unmounted or SIGTERM",
			example: "lightning-rod mount /mnt/boards\n  lightning-rod mount /mnt/gate --board gate && cat /mnt/gate/gate/sim/demo/sine/value"},
		{name: "install", run: install,
			flags:   append([]string{"manager", "print", "start"}, runFlags...),
			short:   "have this machine run it as a service: systemd, OpenRC or procd",
			example: "lightning-rod install --start\n  lightning-rod install --allow-target 192.168.1.0/24 --print"},
		{name: "status", run: status,
			flags:   []string{"state", "output"},
			short:   "say how this board is",
			example: "lightning-rod status\n  lightning-rod status -o json"},
		{name: "profile", args: "[show | set]", max: 1, run: profile,
			flags:   append([]string{"state", "output"}, profileFlags...),
			short:   "say, or set, what this board gives to others: limits and hours",
			example: "lightning-rod profile\n  lightning-rod profile set --cpu 25% --memory 64M --disk 200M --bandwidth 10M\n  lightning-rod profile set --hours \"Mon-Fri 18:00-08:00, Sat-Sun\" --zone Europe/Rome\n  lightning-rod profile set --hours none"},
		{name: "leave", run: leave,
			flags:   []string{"state", "verbose"},
			short:   "un-enrol and remove what was set up, also offline",
			example: "lightning-rod leave"},
		{name: "doctor", args: "[JOIN-STRING | URL]", max: 1, run: doctor,
			flags:   []string{"state", "config", "proxy", "proxy-file", "ca", "output", "verbose"},
			short:   "say what stands between this board and the cloud",
			example: "lightning-rod doctor\n  lightning-rod doctor https://cloud.example.org:8812"},
		{name: "version", run: printVersion,
			short:   "print the version",
			example: "lightning-rod version"},
	}
}

// options are what a command line says.
type options struct {
	args      []string
	state     string
	config    string
	name      string
	proxy     string
	proxyFile string
	ca        string
	noRun     bool
	allow     []string
	bridges   []string
	terminal  string // whose shells are terminals; empty: none
	runProxy  string // of --proxy-file, for a board that has joined
	perUser   string // on, off, or empty: of SSH only
	io        string // none: the tree of pins is nowhere
	ioConfig  string
	boards    []string

	pluginKeys    []string // of those whose plugins are taken; none: any
	pluginNetwork bool
	commands      string // folder of the owner's
	output        string
	verbose       bool
	help          bool

	profile map[string]string // what profile set says, by flag

	manager string // of services; empty: what runs here
	print   bool
	start   bool
	given   []string // the flags of run, as they were given, for install

	stdout, stderr io.Writer
}

// flagSet has the flags of all commands, so that they may stand anywhere.
func flagSet(o *options) *pflag.FlagSet {
	f := pflag.NewFlagSet("lightning-rod", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.state, "state", lightningrod.DefaultState, "`directory` of the board's identity and state")
	f.StringVar(&o.config, "config", defaultConfig, "`file` with settings; flags win over it")
	f.StringVar(&o.name, "name", "", "the board's `name`, where the join string is a fleet's (default the host's name)")
	f.StringVar(&o.proxy, "proxy", "", "HTTP proxy `URL` to the cloud, kept for later; default is HTTPS_PROXY")
	f.StringVar(&o.proxyFile, "proxy-file", "", "`file` that holds the URL of --proxy: a password in it is in no process list")
	f.StringVar(&o.ca, "ca", "", "PEM `file` of one more CA to trust: of a proxy that re-signs TLS, which may then read all of it; join keeps it")
	f.BoolVar(&o.noRun, "no-run", false, "enrol only")
	f.StringArrayVar(&o.allow, "allow-target", nil, "`CIDR` on the board's LAN that streams may reach besides the board itself; repeat it for more")
	f.StringArrayVar(&o.bridges, "allow-bridge", nil, "`interface` of the board that networks may be bridged to (s4t bridge add --bridge-to); repeat it for more")
	f.StringVar(&o.terminal, "allow-terminal", "", "`user` of the board whose shell members of the project get as a terminal, without a login; default is none")
	f.StringVar(&o.perUser, "source-per-user", "", "`on` or off: services of the board see an address of 127.64.0.0/10 for each user; default for SSH only")
	f.StringVar(&o.io, "io", lightningrod.DefaultIO, "`directory` where the board's pins are shown as files, or none")
	f.StringVar(&o.ioConfig, "io-config", "", "`file` with names, settings and access of pins (TOML)")
	f.StringArrayVar(&o.pluginKeys, "plugin-key", nil, "`key` or file with the key of somebody whose plugins are taken, as s4t plugin show prints it; repeat it for more; default is anybody's")
	f.BoolVar(&o.pluginNetwork, "allow-plugin-network", false, "plugins that ask for the board's network get it")
	f.StringVar(&o.commands, "commands", lightningrod.DefaultCommands, "`directory` of the owner's own commands, NAME.toml each")
	f.StringArrayVar(&o.boards, "board", nil, "`name` or id of a board; repeat it for more; default is all others of the project")
	o.profile = map[string]string{}
	for _, p := range profileLimits {
		f.Var(profileFlag{o.profile, p.flag}, p.flag, p.help+"; none: no limit")
	}
	f.StringVar(&o.manager, "manager", "", "`name` of the service manager: systemd, openrc or procd; default is what runs here")
	f.BoolVar(&o.print, "print", false, "show the unit only")
	f.BoolVar(&o.start, "start", false, "start the service too, and at each boot")
	f.StringVarP(&o.output, "output", "o", "table", "output `format`: table or json")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log more to standard error")
	f.BoolVarP(&o.help, "help", "h", false, "help with an example")
	return f
}

// dispatch finds the command and runs it.
func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := options{stdout: stdout, stderr: stderr}
	flags := flagSet(&o)
	if err := flags.Parse(args); err != nil {
		return usagef("%v", err)
	}
	all := commands()
	if flags.NArg() == 0 {
		if o.help {
			overview(stdout, all)
			return nil
		}
		overview(stderr, all)
		return usagef("name a command")
	}
	if flags.Arg(0) == guardCommand {
		return hal.RunGuard(os.Stdin)
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == flags.Arg(0) })
	if i < 0 {
		if flags.Arg(0) == "help" {
			overview(stdout, all)
			return nil
		}
		return usagef("there is no command %q", flags.Arg(0))
	}
	c := all[i]
	if o.help {
		help(stdout, c, flags)
		return nil
	}
	var err error
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(c.flags, f.Name) {
			err = usagef("`lightning-rod %s` has no flag --%s", c.name, f.Name)
		}
	})
	if err != nil {
		return err
	}
	o.args = flags.Args()[1:]
	if len(o.args) < c.min || len(o.args) > c.max {
		return usagef("use `%s`, not %d arguments", strings.TrimSpace("lightning-rod "+c.name+" "+c.args), len(o.args))
	}
	if o.output != "table" && o.output != "json" {
		return usagef("-o is table or json, not %q", o.output)
	}
	if slices.Contains(c.flags, "config") {
		if err := o.configure(flags); err != nil {
			return err
		}
	}
	flags.Visit(func(f *pflag.Flag) {
		if slices.Contains(runFlags, f.Name) {
			o.given = append(o.given, f.Name)
		}
	})
	return c.run(ctx, o)
}

func overview(w io.Writer, all []command) {
	fmt.Fprint(w, "lightning-rod makes this machine a board of a Stack4Things cloud.\n\nCommands:\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range all {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
	}
	t.Flush()
	fmt.Fprint(w, "\nExample:\n  lightning-rod join JOIN-STRING\n\n`lightning-rod COMMAND -h` says more.\n")
}

func help(w io.Writer, c command, all *pflag.FlagSet) {
	fmt.Fprintf(w, "%s: %s\n\nUsage:\n  lightning-rod %s\n\nExample:\n  %s\n", c.name, c.short, strings.TrimSpace(c.name+" "+c.args), c.example)
	own := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	all.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(c.flags, f.Name) {
			own.AddFlag(f)
		}
	})
	if own.HasFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsages())
	}
}

// log writes what an operator should see.
func (o options) log() *slog.Logger {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(o.stderr, &slog.HandlerOptions{Level: level}))
}

func join(ctx context.Context, o options) error {
	if _, err := o.allowed(); err != nil { // before anything is changed
		return err
	}
	if _, err := o.guests(); err != nil {
		return err
	}
	if err := o.mayTerminal(); err != nil {
		return err
	}
	ca, err := o.extraCA()
	if err != nil {
		return err
	}
	id, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: o.state, Join: o.args[0], Name: o.name, Proxy: o.proxy, ExtraCA: ca, Log: o.log()})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.stderr, "joined as %s (%s)\n", id.Name, id.Board)
	if o.noRun {
		return nil
	}
	return serve(ctx, o)
}

// mayTerminal checks --allow-terminal.
func (o options) mayTerminal() error {
	if o.terminal == "" {
		return nil
	}
	_, err := terminal.NewHost(o.terminal, nil)
	return err
}

// maxCA bounds the file of --ca, in bytes.
const maxCA = 64 << 10

// extraCA reads the file of --ca.
func (o options) extraCA() ([]byte, error) {
	if o.ca == "" {
		return nil, nil
	}
	f, err := os.Open(o.ca)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "read --ca", "name a PEM file", "%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCA+1))
	switch {
	case err != nil:
		return nil, s4t.Errorf(s4t.Invalid, "read --ca "+o.ca, "name a PEM file", "%w", err)
	case len(b) > maxCA:
		return nil, s4t.Errorf(s4t.Invalid, "read --ca "+o.ca, "name a PEM file with that CA only", "it is longer than %d bytes", maxCA)
	case len(b) == 0:
		return nil, s4t.Errorf(s4t.Invalid, "read --ca "+o.ca, "name a PEM file", "it is empty")
	}
	return b, nil
}

// allowed parses --allow-target.
func (o options) allowed() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range o.allow {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, usagef("--allow-target %q is not a network like 192.168.1.0/24", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func serve(ctx context.Context, o options) error {
	// The end of the login that it was started from is not its own end, nor is
	// that nobody reads its log any more.
	// Caught and left alone, not ignored: what it begins would ignore them too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE)
	allow, err := o.allowed()
	if err != nil {
		return err
	}
	guests, err := o.guests()
	if err != nil {
		return err
	}
	e, err := lightningrod.New(lightningrod.Config{
		State: o.state, AllowTargets: allow, AllowBridges: o.bridges, AllowTerminal: o.terminal, SourcePerUser: perUser(o.perUser), Proxy: o.runProxy, Version: version, Log: o.log(),
		IO: o.ioDir(), IOConfig: o.ioConfig, Pins: &hal.Config{Guard: pinGuard}, Guests: guests,
		Ready: func(board string, generation int64) {
			fmt.Fprintf(o.stdout, "ready %s %d\n", s4t.Line(board, maxLine), generation)
		},
	})
	if err != nil {
		return err
	}
	if o.onTerminal() {
		fmt.Fprintln(o.stderr, "lightning-rod goes on when this terminal is closed, until SIGTERM or the next boot; `lightning-rod install --start` makes it a service")
	}
	defer time.AfterFunc(startTakes, func() { giveBackStart() }).Stop()
	return e.Run(ctx)
}

// onTerminal reports whether a person reads what is said.
func (o options) onTerminal() bool {
	f, ok := o.stderr.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func leave(ctx context.Context, o options) error {
	log := o.log()
	res, err := lightningrod.Leave(ctx, lightningrod.LeaveConfig{State: o.state, Log: log})
	if err != nil {
		return err
	}
	if !res.Told {
		fmt.Fprintf(o.stderr, "the cloud was not told (%s); delete the board there with `s4t board delete %s`\n", res.Reason, res.Board)
	}
	fmt.Fprintf(o.stdout, "left %s\n", res.Board)
	return nil
}

func printVersion(_ context.Context, o options) error {
	fmt.Fprintf(o.stdout, "lightning-rod %s\n", version)
	return nil
}
