package vnet

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

const portID = s4t.PortID("3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11")

func TestNamesFitTheKernel(t *testing.T) {
	for _, id := range []s4t.PortID{portID, s4t.PortID(s4t.NewID()), "", "port", s4t.PortID(strings.Repeat("x", 99))} {
		for _, name := range []string{InterfaceName(id), BridgeName(id)} {
			if err := ValidInterfaceName(name); err != nil {
				t.Error(err)
			}
		}
		if mac := MAC(id); len(mac) != 17 || !strings.HasPrefix(mac, "02:") {
			t.Errorf("MAC(%q) = %q", id, mac)
		}
	}
	for _, name := range []string{InterfaceName(portID), BridgeName(portID), UplinkName(s4t.NetworkID(portID)), "s4t-probe0"} {
		if !Own(name) {
			t.Errorf("%s is not known as ours", name)
		}
	}
	for _, name := range []string{"eth0", "docker0", "s4tx", "br-s4t-"} {
		if Own(name) {
			t.Errorf("%s is taken for ours", name)
		}
	}
	if got := InterfaceName(portID); got != "s4t-3f0c2a9e" {
		t.Errorf("InterfaceName = %q", got)
	}
	if got := MAC(portID); got != "02:6f:4a:4b:7c:11" {
		t.Errorf("MAC = %q", got)
	}
	for _, name := range []string{"", "a/b", "eth0 ", "s4t-%d", "eth0:1", "..", "0123456789abcdef", "é"} {
		if ValidInterfaceName(name) == nil {
			t.Errorf("%q passes for the name of an interface", name)
		}
	}
}

func TestNextFree(t *testing.T) {
	for _, tt := range []struct {
		name, prefix string
		used         []string
		want         string // "": full
	}{
		{"the first port of a /24 gets .2, .1 is the router's", "10.77.0.0/24", nil, "10.77.0.2"},
		{"the next one gets the next", "10.77.0.0/24", []string{"10.77.0.2", "10.77.0.3"}, "10.77.0.4"},
		{"a freed one is given again", "10.77.0.0/24", []string{"10.77.0.3"}, "10.77.0.2"},
		{"a /29 keeps .1 for a router", "10.77.0.0/29", nil, "10.77.0.2"},
		{"a /30 holds two ports", "10.77.0.0/30", nil, "10.77.0.1"},
		{"the other one", "10.77.0.0/30", []string{"10.77.0.1"}, "10.77.0.2"},
		{"and no third: .3 is broadcast", "10.77.0.0/30", []string{"10.77.0.1", "10.77.0.2"}, ""},
		{"IPv6 starts at ::2", "fd00:77::/64", nil, "fd00:77::2"},
		{"a small IPv6 subnet keeps none for a router", "fd00:77::/126", nil, "fd00:77::1"},
		{"IPv6 has no broadcast address", "fd00:77::/126", []string{"fd00:77::1", "fd00:77::2"}, "fd00:77::3"},
		{"a full IPv6 subnet", "fd00:77::/126", []string{"fd00:77::1", "fd00:77::2", "fd00:77::3"}, ""},
		{"a prefix with host bits is its subnet", "10.77.0.99/24", nil, "10.77.0.2"},
		{"a /32 holds none", "10.77.0.1/32", nil, ""},
		{"the end of the address space", "255.255.255.252/30", []string{"255.255.255.253", "255.255.255.254"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			used := map[netip.Addr]bool{}
			for _, a := range tt.used {
				used[netip.MustParseAddr(a)] = true
			}
			got, ok := NextFree(netip.MustParsePrefix(tt.prefix), func(a netip.Addr) bool { return used[a] })
			if ok != (tt.want != "") || ok && got.String() != tt.want {
				t.Errorf("NextFree = %v, %v; want %q", got, ok, tt.want)
			}
			if ok {
				p := netip.MustParsePrefix(tt.prefix).Masked()
				if !p.Contains(got) || got == p.Addr() || got.Is4() && !p.Contains(got.Next()) {
					t.Errorf("%v is not a host address of %v", got, p)
				}
			}
		})
	}
	tries := 0
	if _, ok := NextFree(netip.MustParsePrefix("10.0.0.0/8"), func(netip.Addr) bool { tries++; return true }); ok || tries > maxTries {
		t.Errorf("a /8 that is all used took %d tries", tries)
	}
	if _, ok := NextFree(netip.Prefix{}, func(netip.Addr) bool { return false }); ok {
		t.Error("the zero prefix has an address")
	}
}

func TestChoosePrefix(t *testing.T) {
	var used []netip.Prefix
	for _, want := range []string{"10.77.0.0/24", "10.77.1.0/24", "10.77.2.0/24"} {
		got := ChoosePrefix(used)
		if got.String() != want {
			t.Errorf("got %v, want %s", got, want)
		}
		used = append(used, got)
	}
	for _, tt := range []struct{ used, want string }{
		{"10.77.0.0/16", "10.78.0.0/24"},
		{"10.77.0.128/25", "10.77.1.0/24"},
		{"10.64.0.0/10", "10.128.0.0/24"},
		{"10.0.0.0/8", "172.16.0.0/24"},
		{"0.0.0.0/0", "invalid Prefix"},
		{"10.78.0.0/16", "10.77.0.0/24"},
		{"fd00:77::/64", "10.77.0.0/24"},
	} {
		if got := ChoosePrefix([]netip.Prefix{netip.MustParsePrefix(tt.used)}); got.String() != tt.want {
			t.Errorf("beside %s: %v, want %s", tt.used, got, tt.want)
		}
	}
	if err := ValidatePrefix(ChoosePrefix(nil)); err != nil {
		t.Error(err)
	}
	// Blocks that overlap each other, in any order.
	used = nil
	for _, text := range []string{"10.77.3.7/32", "10.77.0.0/23", "10.64.0.0/12", "10.80.0.0/12", "10.96.0.0/11", "10.128.0.0/9", "172.16.0.0/13", "172.24.0.0/13", "192.168.0.0/24", "192.168.1.1/32"} {
		used = append(used, netip.MustParsePrefix(text))
	}
	if got := ChoosePrefix(used); got.String() != "192.168.2.0/24" {
		t.Errorf("got %v", got)
	}
}

func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"10.77.0.0/24": false, "172.31.0.0/16": false, "172.32.0.0/16": true, "192.168.0.0/16": false, "100.64.7.0/24": false, "203.0.113.0/24": false, "198.18.0.0/15": false,
		"8.8.8.0/24": true, "10.0.0.0/7": true, "192.0.0.0/8": true, "fd00:77::/64": false, "2001:db8:1::/48": false, "2001:470::/48": true,
	} {
		if got := IsPublic(netip.MustParsePrefix(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestValidatePrefix(t *testing.T) {
	for _, tt := range []struct {
		prefix string
		ok     bool
	}{
		{"10.77.0.0/24", true}, {"10.0.0.0/8", true}, {"192.0.2.0/30", true}, {"8.8.8.0/24", true},
		{"fd00:77::/64", true}, {"2001:db8::/48", true}, {"fd00::/126", true},
		{"10.77.0.1/24", false}, {"10.77.0.0/31", false}, {"10.0.0.0/7", false}, {"0.0.0.0/8", false},
		{"127.0.0.0/8", false}, {"169.254.0.0/16", false}, {"224.0.0.0/8", false}, {"240.0.0.0/8", false},
		{"fd00::/47", false}, {"fd00::/127", false}, {"fe80::/64", false}, {"ff00::/64", false}, {"::/64", false},
		{"::ffff:10.77.0.0/120", false},
	} {
		err := ValidatePrefix(netip.MustParsePrefix(tt.prefix))
		if (err == nil) != tt.ok || err != nil && s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("ValidatePrefix(%s) = %v, want ok %v", tt.prefix, err, tt.ok)
		}
	}
	if ValidatePrefix(netip.Prefix{}) == nil {
		t.Error("the zero prefix passes")
	}
}

func TestMTUArithmetic(t *testing.T) {
	if got := GREMTU(1500); got != 1458 {
		t.Errorf("GREMTU(1500) = %d, want 1458 as a gretap with a key has", got)
	}
}

// TestBoardPort compares plans with testdata/*.golden.
func TestBoardPort(t *testing.T) {
	port := Port{ID: portID, Layer: 2, Interface: InterfaceName(portID), MAC: MAC(portID), MTU: 1500}
	with := func(f func(p *Port)) Port { p := port; f(&p); return p }
	for name, p := range map[string]Port{
		"layer2":       with(func(p *Port) { p.Addresses = []string{"10.77.0.2/24", "fd00:77::2/64"} }),
		"layer2-bare":  port,
		"layer2-gre":   with(func(p *Port) { p.Encapsulation, p.Addresses = s4t.EncapGRE, []string{"10.77.0.2/24"} }),
		"layer3":       with(func(p *Port) { p.Layer, p.MAC, p.Addresses = 3, "", []string{"10.77.0.2/24"} }),
		"layer3-ipv6":  with(func(p *Port) { p.Layer, p.MAC, p.Addresses = 3, "", []string{"10.77.0.2/24", "fd00:77::2/64"} }),
		"bridge-to":    with(func(p *Port) { p.Guards.BridgeTo, p.Addresses = "eth1", []string{"10.77.0.2/24"} }),
		"cloud-uplink": {},
	} {
		t.Run(name, func(t *testing.T) {
			ops, err := BoardPort(p)
			if name == "cloud-uplink" {
				ops, err = Uplink("s4t-net", "br-lan", 1500)
			}
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(Render(ops)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := Render(ops); got != string(want) {
				t.Errorf("plan:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestBoardPortRefusesWhatCannotBe(t *testing.T) {
	good := Port{ID: portID, Layer: 2, Interface: "s4t-a", MAC: "02:00:00:00:00:01", MTU: 1500, Addresses: []string{"10.77.0.2/24"}}
	for name, change := range map[string]func(p *Port){
		"a layer that is none":            func(p *Port) { p.Layer = 0 },
		"a name that is none":             func(p *Port) { p.Interface = "../etc" },
		"no MAC":                          func(p *Port) { p.MAC = "" },
		"a multicast MAC":                 func(p *Port) { p.MAC = "03:00:00:00:00:01" },
		"a MAC of 8 bytes":                func(p *Port) { p.MAC = "02:00:00:00:00:01:02:03" },
		"an MTU too small":                func(p *Port) { p.MTU = 68 },
		"an MTU too large":                func(p *Port) { p.MTU = 65536 },
		"an address without a length":     func(p *Port) { p.Addresses = []string{"10.77.0.2"} },
		"IPv6 at an MTU too small for it": func(p *Port) { p.MTU, p.Addresses = 1279, []string{"fd00::2/64"} },
		"layer 3 bridged to an interface": func(p *Port) { p.Layer, p.Guards.BridgeTo = 3, "eth1" },
		"bridged to itself":               func(p *Port) { p.Guards.BridgeTo = p.Interface },
		"bridged to a name that is none":  func(p *Port) { p.Guards.BridgeTo = "eth1/x" },
	} {
		p := good
		change(&p)
		if ops, err := BoardPort(p); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v, %v; want an invalid error", name, ops, err)
		}
	}
	if _, err := Uplink("s4t-net", "", 1500); err == nil {
		t.Error("an uplink to no bridge passes")
	}
}
