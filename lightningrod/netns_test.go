package lightningrod

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wire"
)

// inNamespace runs the calling test alone in a process of its own in a fresh
// network namespace, and skips without the right to make one. It returns true
// in the parent, which has nothing more to do.
func inNamespace(t *testing.T) (parent bool) {
	t.Helper()
	if os.Getenv("S4T_IN_NAMESPACE") == t.Name() {
		return false
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare (util-linux) is not installed")
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), "S4T_IN_NAMESPACE="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	return true
}

func TestPortIsARealDevice(t *testing.T) {
	if inNamespace(t) {
		return
	}
	if caps := link.Probe(); !caps.Networks {
		t.Skip(caps.Reason)
	}
	b := newPortBench()
	b.cfg.Open = func(cfg link.Config) (Device, error) { return link.Open(cfg) }
	b.cfg.Apply, b.cfg.Sweep = link.Restore, link.Sweep
	p := testPort()
	b.wantPorts(p)
	agent := <-b.dialer.agents
	defer agent.Close()
	eventually(t, "the device is up", func() bool {
		i, err := net.InterfaceByName(p.Interface)
		return err == nil && i.Flags&net.FlagUp != 0 && i.MTU == 1500 && i.HardwareAddr.String() == p.MAC && hasAddress(i, "10.77.0.2/24")
	})
	// The kernel asks who has a neighbour's address; nobody else could have.
	c, err := net.Dial("udp", "10.77.0.3:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("x"))
	for {
		_, got, err := agent.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		arp := got[link.HeaderLen+12:]
		if arp[0] == 0x08 && arp[1] == 0x06 && slices.Equal(arp[2+24:2+28], []byte{10, 77, 0, 3}) {
			break
		}
	}
	p.MTU, p.Addresses = 1300, []string{"10.77.0.9/24"}
	b.wantPorts(p)
	eventually(t, "MTU and address changed in place", func() bool {
		i, err := net.InterfaceByName(p.Interface)
		return err == nil && i.MTU == 1300 && hasAddress(i, "10.77.0.9/24") && !hasAddress(i, "10.77.0.2/24")
	})
	if len(b.dialer.agents) != 0 {
		t.Error("the data rtunnel was opened again")
	}
	b.Apply(nil)
	if _, err := net.InterfaceByName(p.Interface); err == nil {
		t.Error("the device is still there after its removal")
	}
}

// TestADeviceThatAnotherProgramChangedIsPutBack: row F1, in the kernel.
func TestADeviceThatAnotherProgramChangedIsPutBack(t *testing.T) {
	if inNamespace(t) {
		return
	}
	if caps := link.Probe(); !caps.Networks {
		t.Skip(caps.Reason)
	}
	b := newPortBench()
	b.cfg.Open = func(cfg link.Config) (Device, error) { return link.Open(cfg) }
	b.cfg.Apply, b.cfg.Sweep, b.cfg.Watch = link.Restore, link.Sweep, link.Watch
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	defer running.Wait()
	defer cancel()
	p := testPort()
	b.wantPorts(p)
	defer b.Apply(nil)
	agent := <-b.dialer.agents
	defer agent.Close()
	go readAll(agent)
	whole := func() bool {
		i, err := net.InterfaceByName(p.Interface)
		forwarding, _ := os.ReadFile("/proc/sys/net/ipv4/conf/" + p.Interface + "/forwarding")
		return err == nil && i.Flags&net.FlagUp != 0 && i.MTU == 1500 && i.HardwareAddr.String() == p.MAC && hasAddress(i, "10.77.0.2/24") && string(forwarding) == "0\n"
	}
	eventually(t, "the device is up", whole)
	for _, command := range []string{
		"ip addr flush dev " + p.Interface,
		"ip link set dev " + p.Interface + " down",
		"sysctl -qw net.ipv4.conf." + p.Interface + ".forwarding=1",
		"ip link set dev " + p.Interface + " mtu 1280",
	} {
		args := strings.Fields(command)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		eventually(t, "it is put back after "+command, whole)
	}
	eventually(t, "who fights over it is named", func() bool { st := b.only(t); return st.Up && st.ProblemID == wire.DeviceContested })
}

func hasAddress(i *net.Interface, want string) bool {
	addrs, err := i.Addrs()
	return err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool { return a.String() == want })
}

// eventually asks the kernel, which tells nobody, until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
