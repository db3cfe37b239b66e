//go:build linux

package link

import (
	"net/netip"
	"os/exec"
	"slices"
	"testing"
)

func TestLookSeesInterfacesAddressesAndRoutes(t *testing.T) {
	inNamespace(t)
	for _, argv := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "link", "add", "va0", "type", "veth", "peer", "name", "vb0"},
		{"ip", "link", "set", "va0", "up"}, // its peer is down: no carrier
		{"ip", "link", "add", "vd0", "type", "veth", "peer", "name", "ve0"},
		{"ip", "link", "set", "vd0", "up"},
		{"ip", "link", "set", "ve0", "up"},
		{"ip", "addr", "add", "192.0.2.7/24", "dev", "vd0"},
		{"ip", "-6", "addr", "add", "2001:db8::7/64", "dev", "vd0", "nodad"},
		{"ip", "route", "add", "default", "via", "192.0.2.1"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %s", argv, out)
		}
	}
	var s Survey
	up := map[string]bool{}
	for !up["vd0"] || !up["ve0"] { // the kernel notices a carrier when it has time
		var err error
		if s, err = TakeSurvey(); err != nil {
			t.Fatal(err)
		}
		for _, i := range s.Interfaces {
			up[i.Name] = i.Up && !i.Loopback
		}
	}
	for _, i := range s.Interfaces {
		if i.Name == "vd0" && (!slices.Contains(i.Addresses, netip.MustParsePrefix("192.0.2.7/24")) || !slices.Contains(i.Addresses, netip.MustParsePrefix("2001:db8::7/64"))) {
			t.Errorf("addresses of vd0: %v", i.Addresses)
		}
	}
	if !up["vd0"] || !up["ve0"] || up["va0"] || up["vb0"] || up["lo"] {
		t.Errorf("up: %v, want vd0 and ve0", up)
	}
	if !s.Default(false) || s.Default(true) {
		t.Errorf("routes %v: want a default route of IPv4 only", s.Routes)
	}
	if !slices.Contains(s.Routes, Route{To: netip.MustParsePrefix("192.0.2.0/24"), Interface: "vd0"}) {
		t.Errorf("routes %v: the connected one is missing", s.Routes)
	}
}
