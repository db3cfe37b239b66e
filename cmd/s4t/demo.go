package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

// newDemoCommand is `s4t demo`: the paper's workflow on one machine, with real
// processes, real NATs and real traffic.
func newDemoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A cloud and two boards behind NATs on this machine, and the paper's workflow on them",
		Long: `Starts a cloud and two boards, each behind its own NAT, in network namespaces on
this machine, and walks the workflow of the paper (section 3.1): book two
boards, bridge them, discover a service across the bridge, reach each board by
SSH, cut a link and watch it heal, give the boards back. Every line it prints has happened. It needs root and
leaves nothing behind.`,
		Example: "  sudo s4t demo          stays up until Ctrl-C, to go on by hand\n  sudo s4t demo --once   cleans up and exits 0 only if every step did what it says",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			out, isFile := cmd.OutOrStdout().(*os.File)
			watched := isFile && isTerminal(out)
			d := &demo{out: cmd.OutOrStdout(), colour: watched && os.Getenv("NO_COLOR") == ""}
			return d.run(ctx, once || !watched)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "clean up at the end instead of staying up; exit 0 only if every step worked")
	return cmd
}

// demo is one run of it.
type demo struct {
	out    io.Writer
	colour bool

	lab     *netlab.Lab
	cloud   *cloudlab.Cloud
	owner   *apiclient.Client // of the project whose boards they are
	api     *apiclient.Client // of the project that books them
	context string            // its context file
	bridge  s4t.Bridge
	sshd    map[string]*netlab.SSHD
	exposed []s4t.Service
}

// The two boards of the demo.
const (
	kitchen = "kitchen"
	garden  = "garden"
)

// run walks all of it. With once it cleans up at the end, otherwise it waits
// for ctx.
func (d *demo) run(ctx context.Context, once bool) (err error) {
	const op = "run the demo"
	if why := netlab.Missing(); why != "" {
		return s4t.Errorf(s4t.Invalid, op, "`make demo` installs what it needs", "it %s", why)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Dir(self)
	for _, program := range []string{"iotronic", "lightning-rod"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return s4t.Errorf(s4t.Invalid, op, "build the three programs into one directory: make", "%s is not beside s4t in %s", program, bin)
		}
	}
	start := time.Now()
	if d.lab, err = netlab.New(2); err != nil {
		return err
	}
	defer func() {
		if e := d.lab.Close(); err == nil {
			err = e
		}
	}()
	d.title("Stack4Things: a cloud and two boards behind NATs, on this machine")
	for _, act := range []func(context.Context, string) error{d.stage, d.booking, d.bridging, d.traffic, d.remoteAccess, d.healing, d.givingBack} {
		if err := act(ctx, bin); err != nil {
			return fmt.Errorf("the demo stopped: %w", err)
		}
	}
	d.say("")
	d.say("Every step did what it says. All of it took %s.", human(time.Since(start)))
	if once {
		return nil
	}
	d.byHand(bin)
	<-ctx.Done()
	d.say("\ncleaning up")
	return nil
}

// stage starts the cloud and enrols the boards.
func (d *demo) stage(ctx context.Context, bin string) (err error) {
	d.title("The stage")
	start := time.Now()
	if d.cloud, err = cloudlab.Start(d.lab, bin); err != nil {
		return err
	}
	d.done(start, "IoTronic serves %s, one port for everything", cloudlab.URL)
	c, err := loadContext(d.cloud.ContextFile())
	if err != nil {
		return err
	}
	d.owner, err = apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA, Dial: d.lab.User.DialContext})
	if err != nil {
		return err
	}
	for i, name := range []string{kitchen, garden} {
		start := time.Now()
		if _, err := d.cloud.AddBoard(ctx, name); err != nil {
			return err
		}
		d.done(start, "board %s joined with one command, from %s behind NAT 203.0.113.%d", name, netlab.BoardAddr, 21+i)
	}
	return nil
}

// bridging is the first sequence of Fig. 3: steps 1 to 10, as they happen.
func (d *demo) bridging(ctx context.Context, _ string) error {
	d.title("Bridge the boards: s4t bridge create lab --board kitchen --board garden")
	start := time.Now()
	op, err := d.api.CreateBridge(ctx, apiclient.BridgeCreate{Name: "lab", Boards: []string{kitchen, garden}})
	if err != nil {
		return err
	}
	if d.bridge, err = d.wait(ctx, start, op, d.showBridge); err != nil {
		return err
	}
	to := d.address(garden)
	if err := d.until(ctx, 5*time.Second, func() error { return d.ping(ctx, kitchen, to) }); err != nil {
		return err
	}
	d.done(start, "from the request to the first ping across the bridge")
	return nil
}

// wait shows the steps of an operation as they happen, then fetches its object.
func (d *demo) wait(ctx context.Context, start time.Time, op s4t.Operation, show func(context.Context, s4t.Operation) (s4t.Bridge, error)) (s4t.Bridge, error) {
	var first time.Time
	step := func(s s4t.Step) {
		if first.IsZero() {
			first = s.At
		}
		d.say("   %2d  %-52s %9s", s.Number, s.Name, human(s.At.Sub(first)))
	}
	op, err := d.api.WaitOperation(ctx, op.ID, step)
	if err != nil {
		return s4t.Bridge{}, err
	}
	if err := apiclient.Failed(op); err != nil {
		return s4t.Bridge{}, err
	}
	b, err := show(ctx, op)
	if err == nil && (len(op.Steps) == 0 || op.Steps[len(op.Steps)-1].Number < 10) {
		step(s4t.Step{Number: 10, Name: s4t.StepName[10], At: first.Add(time.Since(start))})
	}
	return b, err
}

func (d *demo) showBridge(ctx context.Context, _ s4t.Operation) (s4t.Bridge, error) {
	b, err := d.api.Bridge(ctx, "lab")
	if err == nil && b.Status != s4t.BridgeUp {
		err = fmt.Errorf("the bridge is %s", b.Status)
	}
	return b, err
}

// traffic shows that the bridge is an Ethernet: pings, broadcast, discovery.
func (d *demo) traffic(ctx context.Context, _ string) error {
	d.title("Traffic across the bridge, which no route of the underlay knows")
	for _, pair := range [][2]string{{kitchen, garden}, {garden, kitchen}} {
		out, err := d.board(pair[0]).Run(ctx, "ping", "-n", "-q", "-c5", "-i0.05", d.address(pair[1]))
		if err != nil {
			return err
		}
		if !strings.Contains(out, " 0% packet loss") {
			return fmt.Errorf("pings were lost: %s", out)
		}
		_, rtt, _ := strings.Cut(out, "min/avg/max/mdev = ")
		avg := strings.Split(rtt+"///", "/")[1]
		d.ok("5 pings %s → %s (%s), none lost, %s ms on average", pair[0], pair[1], d.address(pair[1]), avg)
	}
	start := time.Now()
	a1, err := d.board(kitchen).StartAvahi(kitchen, d.port(kitchen).Interface)
	if err != nil {
		return err
	}
	a2, err := d.board(garden).StartAvahi(garden, d.port(garden).Interface)
	if err != nil {
		return err
	}
	if err := a1.Publish("thermometer", "_s4t._tcp", 4000); err != nil {
		return err
	}
	err = d.until(ctx, 15*time.Second, func() error {
		out, err := a2.Browse(ctx, "_s4t._tcp")
		if err == nil && !strings.Contains(out, kitchen+".local") {
			err = errors.New("avahi-browse found nothing")
		}
		return err
	})
	if err != nil {
		return err
	}
	d.done(start, "avahi on %s discovered the service of avahi on %s (multicast DNS)", garden, kitchen)
	return nil
}

// remoteAccess is the second sequence: SSH to each board.
func (d *demo) remoteAccess(ctx context.Context, _ string) error {
	d.title("Reach the boards by SSH: s4t service expose BOARD ssh, and s4t ssh BOARD")
	d.sshd = map[string]*netlab.SSHD{}
	for _, name := range []string{kitchen, garden} {
		server, err := d.board(name).StartSSHD()
		if err != nil {
			return err
		}
		d.sshd[name] = server
		start := time.Now()
		op, err := d.api.ExposeService(ctx, name, apiclient.ServiceExpose{Service: "ssh"})
		if err != nil {
			return err
		}
		if op, err = d.api.WaitOperation(ctx, op.ID, nil); err != nil {
			return err
		}
		if err := apiclient.Failed(op); err != nil {
			return err
		}
		service, err := d.api.Service(ctx, op.Object)
		if err != nil {
			return err
		}
		d.exposed = append(d.exposed, service)
		d.done(start, "%s: sshd exposed at %s port %d", name, service.Host, service.PublicPort)
		start = time.Now()
		out, err := d.lab.User.Run(ctx, "ssh", "-i", server.Key, "-p", fmt.Sprint(service.PublicPort), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@"+service.Host, "ip", "-br", "addr", "show", d.port(name).Interface)
		if err != nil {
			return err
		}
		if !strings.Contains(out, d.address(name)) {
			return fmt.Errorf("ssh to %s printed %q", name, out)
		}
		d.done(start, "%s: ssh through the public port ran `ip addr` on the board: %s", name, strings.Join(strings.Fields(out)[:3], " "))
		start = time.Now()
		out, err = d.cloud.S4T(ctx, "--context-file", d.context, "ssh", name, "--user", "root", "--identity", server.Key, "--", "echo", "deployed")
		if err != nil {
			return err
		}
		if strings.TrimSpace(out) != "deployed" {
			return fmt.Errorf("s4t ssh to %s printed %q", name, out)
		}
		d.done(start, "%s: s4t ssh through the HTTPS port, with no public port", name)
	}
	return nil
}

// healing cuts a board's link and waits until the bridge is back.
func (d *demo) healing(ctx context.Context, _ string) error {
	d.title("Cut a link, and give it back")
	b := d.cloud.Boards[0]
	start := time.Now()
	if err := b.Cut(); err != nil {
		return err
	}
	if _, err := d.api.WaitBoard(ctx, kitchen, s4t.BoardOffline); err != nil {
		return err
	}
	d.done(start, "the cloud noticed that %s is gone (nothing was closed: packets vanish beyond its NAT)", kitchen)
	if err := b.Heal(); err != nil {
		return err
	}
	start = time.Now()
	if err := d.until(ctx, 10*time.Second, func() error { return d.ping(ctx, kitchen, d.address(garden)) }); err != nil {
		return err
	}
	d.done(start, "the link is back, and so is the bridge, by itself")
	return nil
}

// byHand says how to go on.
func (d *demo) byHand(bin string) {
	d.title("Go on by hand")
	user := fmt.Sprintf("ip netns exec %s env S4T_CONTEXT_FILE=%s %s", d.lab.User.NS, d.context, filepath.Join(bin, "s4t"))
	d.say("   context files  %s (the owner)", d.cloud.ContextFile())
	d.say("                  %s (the project lab)", d.context)
	d.say("   URL            %s (inside the namespaces)", cloudlab.URL)
	d.say("   as project lab alias demo='%s'", user)
	d.say("                  demo lease create --board %s --board %s; demo bridge add lab --board %s --board %s", kitchen, garden, kitchen, garden)
	d.say("                  demo board search; demo bridge show lab; demo event watch")
	d.say("                  demo ssh %s --user root --identity %s", garden, d.sshd[garden].Key)
	d.say("   on a board     ip netns exec %s bash", d.board(kitchen).NS)
	d.say("\n   Ctrl-C ends it and leaves nothing behind.")
}

func (d *demo) board(name string) *netlab.Host {
	for _, b := range d.cloud.Boards {
		if b.Name == name {
			return b.Host
		}
	}
	return nil
}

func (d *demo) port(board string) s4t.Port {
	for _, p := range d.bridge.Ports {
		if p.Board == board {
			return p
		}
	}
	return s4t.Port{}
}

// address of a board on the bridge, without the prefix length.
func (d *demo) address(board string) string {
	for _, a := range d.port(board).Addresses {
		addr, _, _ := strings.Cut(a, "/")
		return addr
	}
	return ""
}

func (d *demo) ping(ctx context.Context, from, to string) error {
	_, err := d.board(from).Run(ctx, "ping", "-n", "-c1", "-W1", to)
	return err
}

// until repeats try until it succeeds or limit has passed.
func (d *demo) until(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

func (d *demo) title(text string) {
	if d.colour {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	d.say("\n%s", text)
}

func (d *demo) ok(format string, args ...any) {
	mark := "ok"
	if d.colour {
		mark = "\x1b[32mok\x1b[0m"
	}
	d.say("   %s  %s", mark, fmt.Sprintf(format, args...))
}

// done says what was done and how long it took.
func (d *demo) done(since time.Time, format string, args ...any) {
	took := human(time.Since(since))
	if d.colour {
		took = "\x1b[2m" + took + "\x1b[0m"
	}
	d.ok("%s  %s", fmt.Sprintf(format, args...), took)
}

// human rounds a duration for people.
func human(took time.Duration) string {
	switch {
	case took < 10*time.Millisecond:
		return took.Round(100 * time.Microsecond).String()
	case took < time.Second:
		return took.Round(time.Millisecond).String()
	}
	return took.Round(100 * time.Millisecond).String()
}
