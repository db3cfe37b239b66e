//go:build linux

package link

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// TestAFirewallThatDropsBridgedFramesIsSeen: row F7. The rule that the doctor
// names lets them through.
func TestAFirewallThatDropsBridgedFramesIsSeen(t *testing.T) {
	inNamespace(t)
	if sysctl("net/bridge/bridge-nf-call-iptables") == "" {
		t.Skip("the kernel has no br_netfilter")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed")
	}
	run(t, "sysctl -qw net.bridge.bridge-nf-call-iptables=1")
	veth(t, "eth1", "plc")
	run(t, "ip link set plc up")
	p := testPort()
	p.Addresses, p.Guards = []string{"10.77.0.2/24"}, s4t.PortGuards{BridgeTo: "eth1"}
	d, ops := newPort(t, p)
	if err := Apply(ops); err != nil {
		t.Fatal(err)
	}
	if got := ForwardDrops(t.Context()); len(got) > 0 {
		t.Errorf("without a firewall: %v", got)
	}
	for _, nft := range []string{
		"nft add table ip filter",
		"nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }",
	} {
		run(t, nft)
	}
	src, dst := netip.MustParseAddr("10.77.0.3"), netip.MustParseAddr("10.77.0.9")
	if bridgedOn(t, d, src, dst) {
		t.Error("the firewall let frames through, and was to drop them")
	}
	got := ForwardDrops(t.Context())
	if len(got) != 1 || got[0].Chain != "table ip filter, chain FORWARD" {
		t.Errorf("drops = %+v", got)
	}
	run(t, `nft add rule ip filter FORWARD iifname "s4tb-*" oifname "s4tb-*" accept`)
	if !bridgedOn(t, d, src, dst) {
		t.Error("the rule does not let them through")
	}
	if got := ForwardDrops(t.Context()); len(got) > 0 {
		t.Errorf("with the rule: %+v", got)
	}
	run(t, "nft flush ruleset")
	run(t, "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	run(t, "nft add table inet f")
	run(t, "nft add chain inet f forward { type filter hook forward priority 0 ; policy drop ; }")
	if got := ForwardDrops(t.Context()); len(got) > 0 || !bridgedOn(t, d, src, dst) {
		t.Errorf("frames that no firewall sees: %+v", got)
	}
	run(t, "sysctl -qw net.bridge.bridge-nf-call-iptables=1")
	if got := ForwardDrops(t.Context()); len(got) != 1 || !strings.Contains(got[0].Chain, "inet f, chain forward") {
		t.Errorf("drops = %+v", got)
	}
}

// bridgedOn gives frames for a machine behind eth1 to the device, and reports
// whether they get there. The kernel bridges within the write.
func bridgedOn(t *testing.T, d *Device, src, dst netip.Addr) bool {
	t.Helper()
	return handedOnTo(t, d, src, dst, [6]byte{2, 0, 0, 0, 0, 9})
}
