package cloud

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// behind is a cloud behind proxies in 10.1.0.0/16, and on its own host.
var behind = proxies{prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}, loopback: true}

func TestTheClientIsTheLastWhoIsNoProxy(t *testing.T) {
	for _, tt := range []struct {
		name, peer, want string
		forwarded        []string
	}{
		{"no proxy", "192.0.2.1", "192.0.2.1", []string{"203.0.113.9"}},
		{"a proxy that says nothing", "10.1.0.1", "10.1.0.1", nil},
		{"a proxy", "10.1.0.1", "203.0.113.9", []string{"203.0.113.9"}},
		{"this host's proxy", "127.0.0.1", "203.0.113.9", []string{"203.0.113.9"}},
		{"a client that makes some up", "10.1.0.1", "203.0.113.9", []string{"198.51.100.1, 10.1.0.7,203.0.113.9"}},
		{"in a line of its own", "10.1.0.1", "203.0.113.9", []string{"198.51.100.1", "203.0.113.9"}},
		{"two proxies", "10.1.0.1", "203.0.113.9", []string{"198.51.100.1, 203.0.113.9", "10.1.0.2"}},
		{"IPv6, and a port", "fd00::1", "2001:db8::7", []string{"[2001:db8::7]:443"}},
		{"IPv6 in brackets", "fd00::1", "2001:db8::7", []string{"[2001:db8::7]"}},
		{"IPv4 and a port", "10.1.0.1", "203.0.113.9", []string{"203.0.113.9:5060"}},
		{"IPv4 written as IPv6", "::ffff:10.1.0.1", "203.0.113.9", []string{"::ffff:203.0.113.9"}},
		{"nonsense", "10.1.0.1", "10.1.0.1", []string{"203.0.113.9, unknown"}},
		{"nonsense behind a proxy", "10.1.0.1", "10.1.0.2", []string{"unknown, 10.1.0.2"}},
		{"nothing but commas", "10.1.0.1", "10.1.0.1", []string{" , ,"}},
		{"all are proxies", "10.1.0.1", "10.1.0.9", []string{"10.1.0.9, 10.1.0.2"}},
		{"without an end", "10.1.0.1", "10.1.0.2", []string{"203.0.113.9, " + strings.Repeat("10.1.0.2, ", 5000) + "10.1.0.2"}},
	} {
		if got := behind.client(netip.MustParseAddr(tt.peer), http.Header{"X-Forwarded-For": tt.forwarded}); got.Unmap() != netip.MustParseAddr(tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if p := (TLS{TrustedProxy: behind.prefixes}).proxies(); p.trusts(netip.MustParseAddr("127.0.0.1")) {
		t.Error("with TLS on, who is on this host is believed")
	}
}

// TestBehindAProxyEachClientIsASource is a stranger and a user behind one
// reverse proxy: what is counted by source sees two.
func TestBehindAProxyEachClientIsASource(t *testing.T) {
	h := tellSource(behind, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }))
	a := newAdmission(newGate())
	srv := newHTTPServer(h, a, discard)
	defer srv.Close()
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(at)
	ask := func(forwarded string) string {
		req, _ := http.NewRequest("GET", "http://"+at.Addr().String(), nil)
		req.Header.Set("X-Forwarded-For", forwarded)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for forwarded, want := range map[string]string{"203.0.113.9": "203.0.113.9:0", "1.2.3.4, 2001:db8::7": "[2001:db8::7]:0"} {
		if got := ask(forwarded); got != want {
			t.Errorf("%s: counted as %s, want %s", forwarded, got, want)
		}
		a.mu.Lock()
		source := s4t.SourceOf(netip.MustParseAddrPort(want).Addr())
		if len(a.sources) != 1 || a.sources[source] == nil {
			t.Errorf("%s: its connection counts as another's: %v", forwarded, a.sources)
		}
		a.mu.Unlock()
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("203.0.113.9", "10.1.0.2")
	f.Add("198.51.100.1, [2001:db8::7]:443", ",")
	f.Add("::ffff:10.1.0.2%eth0, unknown", " 10.1.0.1 ,, ")
	f.Fuzz(func(t *testing.T, one, two string) {
		h := http.Header{"X-Forwarded-For": {one, two}}
		if got := behind.client(netip.MustParseAddr("192.0.2.1"), h); got != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("a stranger is %s", got)
		}
		ip := behind.client(netip.MustParseAddr("10.1.0.1"), h)
		if !ip.IsValid() || ip.Zone() != "" || ip.Is4In6() {
			t.Errorf("%q", ip)
		}
		if h.Values("X-Forwarded-For")[0] != one || h.Values("X-Forwarded-For")[1] != two {
			t.Error("the request was changed")
		}
	})
}
