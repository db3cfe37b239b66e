// Package netlab makes small internets out of Linux network namespaces, for
// the tests and the demo: a cloud, boards each behind a NAT of its own whose
// home LAN uses the same private addresses, links that are cut, slowed or
// silently drop big packets. Nothing in it reaches the machine's own network.
//
//	                 203.0.113.0/24, 2001:db8::/64
//	cloud .10 ────────────┬───────────┬──────────────┬───── user .11
//	                   (inet: a bridge in a namespace)
//	                      │           │
//	                wan .21        wan .22
//	                nat1 (NAT)     nat2 (NAT)
//	            192.168.1.1 lan  192.168.1.1 lan
//	                      │           │
//	        eth0 192.168.1.2       192.168.1.2 eth0
//	                   board1       board2
//
// It needs root, iproute2 and nftables.
package netlab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Addresses of the lab, the same in every lab: namespaces keep labs apart.
const (
	CloudAddr  = "203.0.113.10"
	CloudAddr6 = "2001:db8::10"
	UserAddr   = "203.0.113.11"
	BoardAddr  = "192.168.1.2" // of every board, on its home LAN
)

// prefix of every namespace's name: "s4t-<pid>-<n>-<host>". The pid is that of
// the process that owns the lab, so that the next lab can sweep what a killed
// process left.
const prefix = "s4t-"

var labs atomic.Int32 // numbers the labs of this process

// Lab is one small internet.
type Lab struct {
	Cloud *Host
	User  *Host  // a host beside the cloud, without NAT
	Dir   string // scratch directory for logs; removed by Close

	inet     *Host
	name     string
	boards   []*Board
	machines int // of AddMachine

	mu    sync.Mutex // guards procs
	procs []*Process
}

// Board is a host behind a NAT.
type Board struct {
	*Host
	NAT *Host

	lab *Lab
	n   int // 1, 2, ...: 203.0.113.(20+n) outside
}

// Host is one network namespace.
type Host struct {
	Name string // "cloud", "board1"
	NS   string // name of its namespace
	lab  *Lab
}

// Missing returns why a lab cannot be made here, or "".
func Missing() string {
	if os.Geteuid() != 0 {
		return "needs root to make network namespaces (run as root: make test)"
	}
	for _, tool := range []string{"ip", "nft", "ethtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "needs " + tool + " (make deps installs it)"
		}
	}
	return ""
}

// New makes a lab with a cloud, a user and that many boards. Close it.
func New(boards int) (*Lab, error) { return newLab(boards, (*Lab).build) }

// NewFlat makes a lab for measuring: each board has a veth of its own to the
// cloud (10.99.N.2 to 10.99.N.1), no NAT, no bridge; the cloud does not
// forward. What a board reaches of another goes through the overlay, and the
// bare veth is what it is measured against.
func NewFlat(boards int) (*Lab, error) { return newLab(boards, (*Lab).buildFlat) }

func newLab(boards int, build func(*Lab, int) error) (*Lab, error) {
	if why := Missing(); why != "" {
		return nil, fmt.Errorf("make a lab: %s", why)
	}
	sweep()
	dir, err := os.MkdirTemp("", "s4t-lab-")
	if err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, name: fmt.Sprintf("%s%d-%d-", prefix, os.Getpid(), labs.Add(1))}
	if err := build(l, boards); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) buildFlat(boards int) error {
	var err error
	if l.Cloud, err = l.host("cloud"); err != nil {
		return err
	}
	l.User = l.Cloud
	for i := range boards {
		h, err := l.host("board" + strconv.Itoa(i+1))
		if err != nil {
			return err
		}
		link, net := "veth"+strconv.Itoa(i+1), "10.99."+strconv.Itoa(i+1)+"."
		if err := wire(h, "eth0", l.Cloud, link); err != nil {
			return err
		}
		for _, s := range []struct {
			h    *Host
			argv []string
		}{
			{h, []string{"ip", "addr", "add", net + "2/24", "dev", "eth0"}},
			{h, []string{"ip", "route", "add", "default", "via", net + "1"}},
			{l.Cloud, []string{"ip", "addr", "add", net + "1/24", "dev", link}},
		} {
			if err := s.h.run(s.argv...); err != nil {
				return err
			}
		}
		l.boards = append(l.boards, &Board{Host: h, lab: l, n: i + 1})
	}
	return nil
}

func (l *Lab) build(boards int) error {
	var err error
	if l.inet, err = l.host("inet"); err != nil {
		return err
	}
	if err := l.inet.run("ip", "link", "add", "br0", "type", "bridge"); err != nil {
		return err
	}
	if err := l.inet.run("ip", "link", "set", "br0", "up"); err != nil {
		return err
	}
	if l.Cloud, err = l.outside("cloud", CloudAddr, CloudAddr6); err != nil {
		return err
	}
	if l.User, err = l.outside("user", UserAddr, "2001:db8::11"); err != nil {
		return err
	}
	for range boards {
		if _, err := l.AddBoard(); err != nil {
			return err
		}
	}
	return nil
}

// host makes a namespace with its loopback up.
func (l *Lab) host(name string) (*Host, error) {
	h := &Host{Name: name, NS: l.name + name, lab: l}
	if err := run("ip", "netns", "add", h.NS); err != nil {
		return nil, err
	}
	return h, run("ip", "-n", h.NS, "link", "set", "lo", "up")
}

// wire joins two hosts with a veth pair.
func wire(a *Host, ifA string, b *Host, ifB string) error {
	if err := run("ip", "link", "add", ifA, "netns", a.NS, "type", "veth", "peer", "name", ifB, "netns", b.NS); err != nil {
		return err
	}
	for _, end := range []struct {
		h   *Host
		if_ string
	}{{a, ifA}, {b, ifB}} {
		if err := end.h.run("ip", "link", "set", end.if_, "up"); err != nil {
			return err
		}
	}
	return nil
}

// NoOffload turns segmentation offload off on an interface, so that every
// packet on it is one that would be on a wire.
func (h *Host) NoOffload(iface string) error {
	return h.run("ethtool", "-K", iface, "tso", "off", "gso", "off", "gro", "off")
}

// outside makes a host on the internet side.
func (l *Lab) outside(name, addr, addr6 string) (*Host, error) {
	h, err := l.host(name)
	if err != nil {
		return nil, err
	}
	if err := wire(h, "eth0", l.inet, name); err != nil {
		return nil, err
	}
	if err := l.inet.run("ip", "link", "set", name, "master", "br0"); err != nil {
		return nil, err
	}
	if err := h.run("ip", "addr", "add", addr+"/24", "dev", "eth0"); err != nil {
		return nil, err
	}
	return h, h.run("ip", "addr", "add", addr6+"/64", "dev", "eth0", "nodad")
}

// AddMachine adds a host of the cloud's beside [Lab.Cloud], up to eight, and returns
// its address with it.
func (l *Lab) AddMachine(name string) (*Host, string, error) {
	l.machines++
	addr := fmt.Sprintf("203.0.113.%d", 11+l.machines)
	h, err := l.outside(name, addr, fmt.Sprintf("2001:db8::%d", 11+l.machines))
	return h, addr, err
}

// Unplug takes a host of the internet side off it: its link stays up, packets
// vanish. A board is cut by [Board.Cut].
func (h *Host) Unplug() error { return h.lab.inet.run("ip", "link", "set", h.Name, "nomaster") }

// Plug gives it back.
func (h *Host) Plug() error { return h.lab.inet.run("ip", "link", "set", h.Name, "master", "br0") }

// AddBoard adds a board behind a NAT of its own.
func (l *Lab) AddBoard() (*Board, error) {
	n := len(l.boards) + 1
	name := "board" + strconv.Itoa(n)
	b := &Board{lab: l, n: n}
	var err error
	if b.NAT, err = l.outside("nat"+strconv.Itoa(n), fmt.Sprintf("203.0.113.%d", 20+n), fmt.Sprintf("2001:db8::%d", 20+n)); err != nil {
		return nil, err
	}
	if b.Host, err = l.host(name); err != nil {
		return nil, err
	}
	if err := wire(b.Host, "eth0", b.NAT, "lan"); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"ip", "addr", "add", "192.168.1.1/24", "dev", "lan"},
		{"sysctl", "-qw", "net.ipv4.ip_forward=1"},
	}
	for _, s := range steps {
		if err := b.NAT.run(s...); err != nil {
			return nil, err
		}
	}
	if err := b.NAT.nft("table ip nat {\n chain post {\n type nat hook postrouting priority 100;\n oifname \"eth0\" masquerade\n }\n}\n"); err != nil {
		return nil, err
	}
	for _, s := range [][]string{
		{"ip", "addr", "add", BoardAddr + "/24", "dev", "eth0"},
		{"ip", "route", "add", "default", "via", "192.168.1.1"},
	} {
		if err := b.run(s...); err != nil {
			return nil, err
		}
	}
	l.boards = append(l.boards, b)
	return b, nil
}

// Boards returns the boards, board1 first.
func (l *Lab) Boards() []*Board { return l.boards }

// Cut takes the board's way to the internet away, beyond its NAT: its own
// links stay up, packets vanish.
func (b *Board) Cut() error { return b.lab.inet.run("ip", "link", "set", b.NAT.Name, "nomaster") }

// Heal gives it back.
func (b *Board) Heal() error {
	return b.lab.inet.run("ip", "link", "set", b.NAT.Name, "master", "br0")
}

// Flush makes the NAT forget every connection.
func (b *Board) Flush() error { return b.NAT.run("conntrack", "-F") }

// ShrinkLink sets the MTU of the board's own link, and blocks ICMP, so that
// nobody learns of it but the board.
func (b *Board) ShrinkLink(mtu int) error {
	m := strconv.Itoa(mtu)
	if err := b.run("ip", "link", "set", "eth0", "mtu", m); err != nil {
		return err
	}
	if err := b.NAT.run("ip", "link", "set", "lan", "mtu", m); err != nil {
		return err
	}
	return b.blockICMP("")
}

// ShrinkPath drops, silently, every packet longer than mtu in the middle of
// the board's path, both ways, and blocks ICMP.
func (b *Board) ShrinkPath(mtu int) error {
	for h, ifs := range map[*Host][]string{b.Host: {"eth0"}, b.NAT: {"eth0", "lan"}, b.lab.Cloud: {"eth0"}, b.lab.inet: {"cloud", b.NAT.Name}} {
		for _, i := range ifs {
			if err := h.NoOffload(i); err != nil {
				return err
			}
		}
	}
	return b.blockICMP(fmt.Sprintf(" meta length > %d drop\n", mtu))
}

func (b *Board) blockICMP(more string) error {
	return b.NAT.nft("table inet shrink {\n chain forward {\n type filter hook forward priority 0;\n meta l4proto { icmp, ipv6-icmp } drop\n" + more +
		" }\n chain output {\n type filter hook output priority 0;\n meta l4proto { icmp, ipv6-icmp } drop\n }\n}\n")
}

// Nft loads a ruleset in the host.
func (h *Host) Nft(rules string) error { return h.nft(rules) }

func (h *Host) nft(rules string) error {
	cmd := exec.Command("ip", "netns", "exec", h.NS, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft in %s: %w: %s", h.Name, err, out)
	}
	return nil
}

// Command returns a command that runs in the host. Its pid is the program's
// own; it dies with this process.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.NS}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// Run runs a command in the host to its end and returns its output.
func (h *Host) Run(ctx context.Context, argv ...string) (string, error) {
	out, err := h.Command(ctx, argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

func (h *Host) run(argv ...string) error {
	return run("ip", append([]string{"netns", "exec", h.NS}, argv...)...)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Close ends the processes started in the lab and removes all of it.
func (l *Lab) Close() error {
	l.mu.Lock()
	procs := l.procs
	l.procs = nil
	l.mu.Unlock()
	for _, p := range procs {
		p.Stop()
	}
	err := removeNamespaces(l.name)
	os.RemoveAll(l.Dir)
	return err
}

// removeNamespaces ends what still runs in the namespaces whose name starts
// with p, and removes them.
func removeNamespaces(p string) error {
	names, err := filepath.Glob("/run/netns/" + p + "*")
	if err != nil {
		return err
	}
	for _, path := range names {
		ns := filepath.Base(path)
		out, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for _, f := range strings.Fields(string(out)) {
			if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if e := run("ip", "netns", "del", ns); e != nil {
			err = e
		}
		if e := removeEtc(ns); e != nil {
			err = e
		}
	}
	return err
}

// sweep removes labs whose owner is gone.
func sweep() {
	names, _ := filepath.Glob("/run/netns/" + prefix + "*")
	for _, path := range names {
		pid, _, ok := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if n, err := strconv.Atoi(pid); ok && err == nil && syscall.Kill(n, 0) == syscall.ESRCH {
			removeNamespaces(prefix + pid + "-")
		}
	}
}
