//go:build linux

package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/vnet"
)

// ForwardDrop is a chain of the host's firewall that drops what no rule of it
// lets through, and that sees the frames which a kernel bridge forwards.
type ForwardDrop struct {
	Chain   string // for people: "table ip filter, chain FORWARD"
	Packets uint64 // that it dropped so; 0 where it does not count
}

// ForwardDrops finds the chains that drop what the kernel bridges of our ports
// forward: where br_netfilter hands bridged frames to the firewall (it does
// where Docker runs), and no rule names our bridges. Without the right to look
// (CAP_NET_ADMIN) it finds none.
func ForwardDrops(ctx context.Context) []ForwardDrop {
	if sysctl("net/bridge/bridge-nf-call-iptables") != "1" {
		return nil
	}
	drops, named := nftDrops()
	old, oldNamed := legacyDrops(ctx)
	if named || oldNamed {
		return nil
	}
	return append(drops, old...)
}

// Messages and attributes of nftables (linux/netfilter/nf_tables.h), which
// iptables has been a front end of for years.
const (
	nftSubsystem             = 10 << 8 // NFNL_SUBSYS_NFTABLES
	nftGetChain, nftGetRule  = 4, 7
	nftChainTable            = 1
	nftChainName             = 3
	nftChainHook             = 4
	nftChainPolicy           = 5
	nftChainCounters         = 8
	nftHookNumber            = 1
	nftCounterPackets        = 2
	hookForward, verdictDrop = 2, 0 // NF_INET_FORWARD, NF_DROP
)

// nftDrops looks at nftables. named reports whether a rule names our bridges.
func nftDrops() (drops []ForwardDrop, named bool) {
	for _, family := range []struct {
		number uint8
		name   string
	}{{unix.NFPROTO_IPV4, "ip"}, {unix.NFPROTO_INET, "inet"}} {
		for _, chain := range nftDump(nftGetChain, family.number) {
			hook := attribute(chain, nl.SizeofNfgenmsg, nftChainHook)
			if number(attribute(hook, 0, nftHookNumber)) != hookForward || number(attribute(chain, nl.SizeofNfgenmsg, nftChainPolicy)) != verdictDrop {
				continue
			}
			packets := number(attribute(attribute(chain, nl.SizeofNfgenmsg, nftChainCounters), 0, nftCounterPackets))
			if packets == noNumber {
				packets = 0
			}
			drops = append(drops, ForwardDrop{
				Chain: fmt.Sprintf("table %s %s, chain %s", family.name,
					nl.BytesToString(attribute(chain, nl.SizeofNfgenmsg, nftChainTable)), nl.BytesToString(attribute(chain, nl.SizeofNfgenmsg, nftChainName))),
				Packets: packets,
			})
		}
		for _, rule := range nftDump(nftGetRule, family.number) {
			named = named || bytes.Contains(rule, []byte(vnet.BridgePrefix))
		}
	}
	return drops, named
}

// nftDump asks for all objects of a kind, nil where that fails.
func nftDump(kind int, family uint8) [][]byte {
	req := nl.NewNetlinkRequest(nftSubsystem|kind, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family})
	list, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil
	}
	return list
}

// noNumber is what number makes of an attribute that is not there.
const noNumber = 1 << 63

// number reads an attribute in network byte order.
func number(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	return noNumber
}

// legacyDrops looks at what the older iptables has, where it is in use: to ask
// otherwise would load it into the kernel.
func legacyDrops(ctx context.Context) (drops []ForwardDrop, named bool) {
	tables, _ := os.ReadFile("/proc/net/ip_tables_names")
	if !bytes.Contains(tables, []byte("filter")) {
		return nil, false
	}
	out, err := exec.CommandContext(ctx, "iptables-legacy", "-v", "-S").Output()
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(out)) {
		named = named || strings.Contains(line, vnet.BridgePrefix)
		if strings.HasPrefix(line, "-P FORWARD DROP") {
			d := ForwardDrop{Chain: "iptables-legacy, chain FORWARD"}
			fmt.Sscanf(line, "-P FORWARD DROP -c %d", &d.Packets) // 0 if it does not say
			drops = append(drops, d)
		}
	}
	return drops, named
}
