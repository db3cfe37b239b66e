package conductor

import (
	"net"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// FuzzParse: what the parsers of a user's words let through can go into a
// ticket and be dialled.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"ssh", "22", "65536", "-1", "007", "", "localhost", "192.168.1.5", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0", "plc.lan", "-x", "a b", "Kitchen-SSH", "ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, tcpPort, err := parseService("", s); err == nil && (name != s || tcpPort < 1 || tcpPort > 65535) {
			t.Errorf("service %q is %q, %d", s, name, tcpPort)
		}
		if name, err := s4t.ParseDNSName("", s); err == nil && (!strings.EqualFold(name, s) || strings.ContainsAny(name, "._") || len("_"+name) > 63) {
			t.Errorf("DNS name %q is %q", s, name)
		}
		if host, err := parseTarget("", s); err == nil {
			again, err := parseTarget("", host)
			if err != nil || again != host || len(host) > 253 {
				t.Errorf("target %q is %q, then %q (%v)", s, host, again, err)
			}
			if h, _, err := net.SplitHostPort(net.JoinHostPort(host, "22")); err != nil || h != host {
				t.Errorf("target %q cannot be dialled: %v", host, err)
			}
		}
	})
}
