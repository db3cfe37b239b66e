package vswitch_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
)

// host is a network namespace, held by a process, with the device of a port.
type host struct {
	pid  int
	mac  string
	port *vswitch.Port
}

// device is a TAP as the port's FrameWriter.
type device struct{ *link.Device }

func (d device) WriteFrame(pkt []byte) error {
	d.Write(pkt) // a device that is down drops
	return nil
}
func (d device) Flush() error {
	d.Device.Flush()
	return nil
}

// run runs a command in the host.
func (h *host) run(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(h.pid), "-n"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (h *host) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := h.run(args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

// newHosts makes n hosts on one layer-2 switch.
func newHosts(t *testing.T, n int) []*host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for network namespaces and TAP devices")
	}
	sw, err := vswitch.New(vswitch.Config{Layer: 2, Validate: link.Validate, Header: rtunnel.PutHeader})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var hosts []*host
	var devices []*link.Device
	t.Cleanup(func() {
		cancel()
		for i, d := range devices {
			hosts[i].port.Close()
			d.Close()
		}
		running.Wait()
	})
	for i := range n {
		holder := exec.Command("unshare", "--net", "sh", "-c", "echo ready; exec cat")
		stdin, err := holder.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stdin.Close(); holder.Wait() })
		if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		h := &host{pid: holder.Process.Pid, mac: fmt.Sprintf("02:00:00:00:00:%02x", i+1)}
		name := fmt.Sprintf("vsw%d-%d", os.Getpid()%100000, i)
		mac, _ := net.ParseMAC(h.mac)
		dev, err := link.Open(link.Config{Name: name, Layer: 2, MAC: mac})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ip", "link", "set", name, "netns", strconv.Itoa(h.pid)).CombinedOutput(); err != nil {
			dev.Close()
			t.Fatalf("move the device: %v\n%s", err, out)
		}
		v4, v6 := fmt.Sprintf("10.77.0.%d/24", i+1), fmt.Sprintf("fd00:77::%d/64", i+1)
		h.must(t, "ip", "link", "set", name, "name", "tap0")
		h.must(t, "ip", "addr", "add", v4, "dev", "tap0")
		h.must(t, "ip", "addr", "add", v6, "dev", "tap0")
		h.must(t, "ip", "link", "set", "lo", "up")
		h.port, err = sw.Add(vswitch.PortConfig{
			ID: strconv.Itoa(i + 1), MAC: mac, Device: device{dev},
			Addresses: []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)},
		})
		if err != nil {
			dev.Close()
			t.Fatal(err)
		}
		hosts, devices = append(hosts, h), append(devices, dev)
		h.must(t, "ip", "link", "set", "tap0", "up")
		running.Go(func() { h.port.Run(ctx) })
		running.Go(func() {
			buf := make([]byte, link.MaxPacket)
			for {
				fresh := true
				_, err := dev.ReadFrames(func() []byte {
					if fresh {
						fresh = false
						return buf
					}
					return nil
				}, func(n int) { h.port.Input(buf[:n]) })
				h.port.Flush()
				if err != nil {
					return
				}
			}
		})
	}
	return hosts
}

// eventually waits for what a kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// TestRealHostsOnTheSwitch has Linux at all ports: it must accept what the
// switch answers on behalf of others, and nothing of its own may look spoofed.
func TestRealHostsOnTheSwitch(t *testing.T) {
	hosts := newHosts(t, 3)
	a, b, c := hosts[0], hosts[1], hosts[2]

	t.Run("IPv4 and IPv6 are resolved and reached", func(t *testing.T) {
		for _, h := range hosts {
			eventually(t, "duplicate address detection", func() bool {
				return !strings.Contains(h.must(t, "ip", "-6", "addr", "show", "dev", "tap0"), "tentative")
			})
			if out := h.must(t, "ip", "-6", "addr", "show", "dev", "tap0"); strings.Contains(out, "dadfailed") {
				t.Fatal(out)
			}
		}
		a.must(t, "ping", "-c", "2", "-i", "0.1", "-W", "2", "10.77.0.2")
		a.must(t, "ping", "-c", "2", "-i", "0.1", "-W", "2", "fd00:77::2")
		a.must(t, "ping", "-c", "2", "-i", "0.1", "-W", "2", "fe80::ff:fe00:3%tap0")
		for _, ip := range []string{"10.77.0.2", "fd00:77::2"} {
			if out := a.must(t, "ip", "neigh", "show", "to", ip, "dev", "tap0"); !strings.Contains(out, b.mac) {
				t.Errorf("the neighbour %s is %q, want %s", ip, out, b.mac)
			}
		}
	})
	t.Run("an address of another fails duplicate address detection", func(t *testing.T) {
		a.must(t, "ip", "addr", "add", "fd00:77::2/64", "dev", "tap0")
		eventually(t, "dadfailed", func() bool {
			return strings.Contains(a.must(t, "ip", "-6", "addr", "show", "dev", "tap0"), "dadfailed")
		})
		a.must(t, "ip", "addr", "del", "fd00:77::2/64", "dev", "tap0")
	})
	t.Run("a spoofed address does not pass", func(t *testing.T) {
		before := a.port.Counters().Dropped.SpoofedIP
		a.must(t, "ip", "addr", "add", "10.77.0.99/24", "dev", "tap0")
		if out, err := a.run("ping", "-c", "1", "-W", "1", "-I", "10.77.0.99", "10.77.0.2"); err == nil {
			t.Errorf("it did\n%s", out)
		}
		a.must(t, "ip", "addr", "del", "10.77.0.99/24", "dev", "tap0")
		if d := a.port.Counters().Dropped; d.SpoofedIP == before && d.SpoofedARP == 0 {
			t.Errorf("it was not counted: %+v", d)
		}
	})
	t.Run("a group that only one host joined spares the others", func(t *testing.T) {
		// The kernel joins for an address with autojoin, and answers queries.
		b.must(t, "ip", "addr", "add", "239.1.2.3/32", "dev", "tap0", "autojoin")
		sent := func() (tob, toc uint64) {
			b0, c0 := b.port.Counters().TxFrames, c.port.Counters().TxFrames
			a.run("ping", "-c", "5", "-i", "0.05", "-W", "1", "-I", "tap0", "239.1.2.3")
			return b.port.Counters().TxFrames - b0, c.port.Counters().TxFrames - c0
		}
		eventually(t, "the report of the member", func() bool {
			tob, toc := sent()
			return tob >= 5 && toc < 5
		})
	})
	for i, h := range hosts {
		d := h.port.Counters().Dropped
		d.SpoofedIP, d.SpoofedARP, d.SpoofedND, d.NoDestination = 0, 0, 0, 0
		if d != (s4t.PortDropped{}) {
			t.Errorf("port %d dropped %+v", i+1, d)
		}
	}
	for i, h := range hosts[1:] {
		if d := h.port.Counters().Dropped; d.SpoofedIP+d.SpoofedARP+d.SpoofedND+d.SpoofedMAC != 0 {
			t.Errorf("port %d, which did nothing wrong, dropped %+v", i+2, d)
		}
	}
}
