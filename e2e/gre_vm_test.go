package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/internal/labvm"
	"github.com/stack4things/s4t/internal/netlab"
)

const (
	vmAddr  = "203.0.113.50" // of the machine, beside the cloud
	vmInner = "10.77.0.200"  // of its gretap
)

// guest is what the machine does: a gretap made by the kernel, an iperf3
// server behind it, and a ping into the network whenever there is an answer.
const guest = `
ip=/tools/ip
$ip addr add ` + vmAddr + `/24 dev eth0
$ip link set eth0 up
$ip link add gt0 type gretap local ` + vmAddr + ` remote ` + netlab.CloudAddr + ` key %d %s
$ip addr add ` + vmInner + `/24 dev gt0
$ip link set gt0 up
$ip -d link show gt0
until ping -c 1 -W 1 ` + netlab.CloudAddr + ` >/dev/null; do sleep 1; done
iperf3 -s -D
echo "VM ready mtu $(cat /sys/class/net/gt0/mtu)"
until ping -c 1 -W 1 %s >/dev/null; do :; done
echo "VM has pinged the board"
sleep 600
`

// TestVMGretap lets the kernel of a virtual machine judge: its gretap and a
// board are on one network. With S4T_GRE_GOLDEN=DIR the packets that the kernel
// made are kept there, for the tests of package gre.
func TestVMGretap(t *testing.T) {
	dir := os.Getenv("S4T_VM")
	if dir == "" {
		t.Skip("boots a virtual machine: make test-vm")
	}
	if why := labvm.Missing(dir); why != "" {
		t.Skip(why)
	}
	for _, tt := range []struct {
		encapsulation s4t.Encapsulation
		gretap        string // what is not the default of the kernel's gretap
	}{
		{s4t.EncapGRE, ""},
		{s4t.EncapEthernet, "nopmtudisc\n$ip link set gt0 mtu 1500"}, // outer packets of 1,542 bytes: fragments
	} {
		t.Run(string(tt.encapsulation), func(t *testing.T) { vmGretap(t, dir, tt.encapsulation, tt.gretap) })
	}
}

func vmGretap(t *testing.T, dir string, encapsulation s4t.Encapsulation, gretap string) {
	c := newCloud(t, 1)
	board := c.Boards[0].Host
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--cidr", "10.77.0.0/24", "--encapsulation", string(encapsulation))
	boardAddr, key := addressOf(t, b, "board1", false), greNetwork(t, c, "lab").Key

	inet, err := c.Lab.AddTAP("vm")
	if err != nil {
		t.Fatal(err)
	}
	capture := filepath.Join(c.Lab.Dir, "gre.pcap")
	dump, err := inet.Start("tcpdump", nil, "tcpdump", "-i", "vm", "-U", "-w", capture, "ip proto 47")
	if err != nil {
		t.Fatal(err)
	}
	argv, err := labvm.Command(labvm.Config{
		Dir: dir, Modules: []string{"ip_gre"}, Tools: []string{"iperf3"}, Script: fmt.Sprintf(guest, key, gretap, boardAddr),
		TAP: "vm", MAC: "02:00:00:00:00:50",
	}, filepath.Join(c.Lab.Dir, "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	vm, err := inet.Start("vm", nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the machine's console:\n%s", vm.Tail(40))
		}
		vm.Kill()
	})
	ready, err := vm.WaitLine("VM ready", 0, 90*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("booted in %v: %s", time.Since(start).Round(time.Second), strings.TrimSpace(ready))
	if !strings.Contains(ready, fmt.Sprintf("mtu %d", b.MTU)) {
		t.Errorf("the kernel's gretap has another MTU than the network's %d: %s", b.MTU, ready)
	}

	// The kernel takes nothing under another key, and neither do we.
	other := strconv.FormatUint(uint64(key^1), 10)
	runS4T(t, c, "network", "attach-gre", "lab", "--remote", vmAddr, "--key", other)
	for range 3 {
		if ping(t.Context(), board, vmInner) == nil {
			t.Fatal("a ping passed although the keys differ")
		}
	}
	runS4T(t, c, "network", "detach-gre", "lab", "--remote", vmAddr, "--key", other)

	runS4T(t, c, "network", "attach-gre", "lab", "--remote", vmAddr)
	within(t, 5*time.Second, "the board pings the machine", func() error { return ping(t.Context(), board, vmInner) })
	if _, err := vm.WaitLine("VM has pinged", 0, 10*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := board.Run(t.Context(), "ping", "-n", "-c1", "-W2", "-M", "do", "-s", strconv.Itoa(b.MTU-28), vmInner); err != nil {
		t.Errorf("a ping of the network's MTU: %v", err)
	}
	t.Logf("iperf3 with an emulated machine: to it %.0f Mbit/s, from it %.0f Mbit/s", measure(t, board, vmInner)/1e6, measure(t, board, vmInner, "-R")/1e6)

	dump.Signal(syscall.SIGINT)
	<-dump.Done()
	packets := greIn(t, capture)
	t.Run("every field is what the RFCs say", func(t *testing.T) { decode(t, capture, key) })
	if encapsulation != s4t.EncapGRE {
		return
	}
	t.Run("the kernel's packets", func(t *testing.T) { keepGolden(t, packets, key) })
}

// greIn reads the IPv4 packets of a capture of Ethernet (pcap, either byte
// order: tcpdump writes the machine's).
func greIn(t *testing.T, file string) (packets [][]byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || len(b) < 24 {
		t.Fatalf("capture of %d bytes, %v", len(b), err)
	}
	for at := 24; at+16 <= len(b); {
		n := int(binary.NativeEndian.Uint32(b[at+8:]))
		if at += 16; at+n > len(b) {
			break
		}
		packets = append(packets, b[at+14:at+n])
		at += n
	}
	if len(packets) < 100 {
		t.Fatalf("only %d packets", len(packets))
	}
	return packets
}

// decode lets tshark read the capture.
func decode(t *testing.T, file string, key uint32) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tshark", "-r", file, "-c", "400", "-T", "fields",
		"-e", "ip.src", "-e", "gre.proto", "-e", "gre.flags.key", "-e", "gre.key", "-e", "gre.flags.checksum", "-e", "gre.flags.version", "-e", "_ws.malformed", "-E", "occurrence=f").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 7 || f[1] == "" {
			continue // a later fragment
		}
		if k, err := strconv.ParseUint(f[3], 0, 64); err != nil || f[1] != "0x6558" || f[2] != "True" && f[2] != "1" || f[4] != "False" && f[4] != "0" || f[5] != "0" || f[6] != "" ||
			uint32(k) != key && uint32(k) != key^1 {
			t.Fatalf("tshark reads %q", f)
		}
		seen[f[0]]++
	}
	if seen[vmAddr] == 0 || seen[netlab.CloudAddr] == 0 {
		t.Errorf("packets by sender: %v", seen)
	}
}

// keepGolden checks that package gre reads what the kernel made, and keeps one
// of each kind where S4T_GRE_GOLDEN says.
func keepGolden(t *testing.T, packets [][]byte, key uint32) {
	kinds := map[string]bool{}
	for _, p := range packets {
		src, _, payload, err := gre.ParseIPv4(p)
		if err != nil || src.String() != vmAddr {
			continue
		}
		h, frame, err := gre.Parse(payload)
		if err != nil || h != (gre.Header{Proto: gre.ProtoTEB, Key: key, HasKey: true}) || len(frame) < 14 {
			t.Fatalf("%x: %+v, %v", p, h, err)
		}
		kind := ""
		switch typ := binary.BigEndian.Uint16(frame[12:]); {
		case typ == 0x0806:
			kind = "arp"
		case typ == 0x86dd:
			kind = "ipv6"
		case typ == 0x0800 && frame[14+9] == 1 && len(frame) < 200:
			kind = "icmp"
		case typ == 0x0800 && frame[14+9] == 6 && len(frame) > 1400:
			kind = "tcp"
		}
		if kind == "" || kinds[kind] {
			continue
		}
		kinds[kind] = true
		if dir := os.Getenv("S4T_GRE_GOLDEN"); dir != "" {
			text := fmt.Sprintf("%x\n%x\n%x\n", p[:gre.IPv4Len], payload[:len(payload)-len(frame)], frame)
			if err := os.WriteFile(filepath.Join(dir, "gretap-"+kind+".golden"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, kind := range []string{"arp", "icmp", "tcp"} {
		if !kinds[kind] {
			t.Errorf("the kernel sent no %s", kind)
		}
	}
}
