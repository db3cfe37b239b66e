package lightningrod

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wire"
)

// place is what a test has around a board.
type place struct {
	mu     sync.Mutex // guards the fields below
	survey link.Survey
	names  map[string][]netip.Addr
}

func (p *place) set(change func(p *place)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *place) take() (link.Survey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.survey, nil
}

func (p *place) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.names[host]; a != nil {
		return a, nil
	}
	return nil, errors.New("no such host")
}

func route(to, iface string) link.Route {
	return link.Route{To: netip.MustParsePrefix(to), Interface: iface}
}

// home is a board at home, with a VPN that takes everything, Docker, and ports.
func home() link.Survey {
	return link.Survey{
		Interfaces: []link.Interface{
			{Name: "lo", Loopback: true, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}},
			{Name: "eth0", Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.5/24"), netip.MustParsePrefix("fe80::5/64")}},
			{Name: "ppp0", Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("100.99.1.7/32")}},
		},
		Routes: []link.Route{
			route("0.0.0.0/0", "eth0"), route("0.0.0.0/1", "tun0"), route("128.0.0.0/1", "tun0"), route("192.168.1.0/24", "eth0"),
			route("172.17.0.0/16", "docker0"), route("10.8.0.0/16", "tun0"), route("10.77.0.0/24", "s4t-0a1b2c3d"), route("10.78.0.0/24", "s4tb-0a1b2c3d"),
			route("fe80::/64", "eth0"), route("2001:db8:1::/64", "eth0"), route("fd00:77::/64", "s4t-0a1b2c3d"),
		},
	}
}

// newTestAround is around with a place instead of a machine.
func newTestAround(t *testing.T, p *place, resolv string, hosts ...string) *around {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(resolv), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAround(p.take, func() []string { return hosts })
	a.resolv, a.lookup = []string{file, file + ".missing"}, p.lookup
	a.look()
	a.lookUp(t.Context())
	return a
}

func TestWhatTheBoardsNetworksMustNotHide(t *testing.T) {
	p := &place{survey: home(), names: map[string][]netip.Addr{"cloud.example.org": {netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("2001:db8:9::2")}}}
	a := newTestAround(t, p, "search example.org\nnameserver 127.0.0.53\nnameserver 9.9.9.9 # a\nnameserver fe80::1%eth0\nnameserver x\n", "cloud.example.org", "198.51.100.7")
	for _, tt := range []struct{ address, says string }{
		{"10.77.0.2/24", ""},
		{"10.79.0.2/24", ""},
		{"fd00:78::2/64", ""},
		{"192.168.2.2/24", ""},
		{"nonsense", ""},
		{"192.168.1.7/24", "192.168.1.0/24 overlaps 192.168.1.0/24, which this board reaches through eth0"},
		{"192.168.0.2/16", "overlaps 192.168.1.0/24"},
		{"192.168.1.130/25", "overlaps 192.168.1.0/24"},
		{"172.17.9.2/24", "docker0"},
		{"10.8.4.2/24", "tun0"},
		{"100.99.1.2/24", "100.99.1.7/32, which this board reaches through ppp0"},
		{"2001:db8:1::2/64", "eth0"},
		{"9.9.9.2/24", "holds 9.9.9.9, a DNS server"},
		{"203.0.113.3/24", "holds 203.0.113.2, by which this board reaches its cloud at cloud.example.org"},
		{"2001:db8:9::3/64", "2001:db8:9::2"},
		{"198.51.100.3/24", "198.51.100.7"},
	} {
		got := a.overlap([]string{"10.99.0.1/24", tt.address})
		if (got == "") != (tt.says == "") || !strings.Contains(got, tt.says) || got != "" && !strings.Contains(got, "--cidr") {
			t.Errorf("%s: %q, want %q in it", tt.address, got, tt.says)
		}
	}
	p.set(func(p *place) { p.names = nil })
	a.lookUp(t.Context())
	if a.overlap([]string{"203.0.113.3/24"}) == "" {
		t.Error("while the DNS is away the cloud's address is forgotten")
	}
}

func TestABoardTellsItsRoutesAndResolvers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{survey: home()}
		c := newFakeCloud(testDesired(4))
		e, _ := engineFor(t, noDialer{}, always(c))
		changed := e.around.changed
		e.around = newTestAround(t, p, "nameserver 192.168.1.1\n")
		e.around.changed = changed
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.around.Run(ctx) })
		defer running.Wait()
		defer cancel()
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		wantRoutes := []string{"10.8.0.0/16", "100.99.1.7/32", "172.17.0.0/16", "192.168.1.0/24", "2001:db8:1::/64"}
		c.mu.Lock()
		info := c.info
		c.mu.Unlock()
		if !slices.Equal(info.Routes, wantRoutes) || !slices.Equal(info.Resolvers, []string{"192.168.1.1"}) {
			t.Errorf("at the connection: routes %v, resolvers %v", info.Routes, info.Resolvers)
		}
		for _, want := range [][]string{{"10.8.0.0/16", "100.99.1.7/32", "172.17.0.0/16", "192.168.1.0/24", "192.168.9.0/24", "2001:db8:1::/64"}, wantRoutes} {
			p.set(func(p *place) {
				p.survey = home()
				if len(want) > len(wantRoutes) {
					p.survey.Routes = append(p.survey.Routes, route("192.168.9.0/24", "wlan0"))
				}
			})
			e.around.moved(link.Change{Interface: "wlan0", Routes: true})
			time.Sleep(time.Second)
			synctest.Wait()
			r := c.reported()
			if got := r[len(r)-1].Info; got == nil || !slices.Equal(got.Routes, want) {
				t.Errorf("after a change: %+v, want routes %v", got, want)
			}
		}
		n := len(c.reported())
		e.around.moved(link.Change{Interface: "s4t-0a1b2c3d", Routes: true})
		e.around.moved(link.Change{})
		time.Sleep(time.Minute + 30*time.Second)
		synctest.Wait()
		if got := c.reported()[n:]; len(got) > 0 {
			t.Errorf("nothing has changed, and is told: %+v", got)
		}
	})
}

// TestAPortWaitsForTheOverlapToEnd: it goes when there is one, and is back when
// it has gone, told by the kernel.
func TestAPortWaitsForTheOverlapToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{survey: home()}
		a := newTestAround(t, p, "")
		b := newPortBench()
		b.cfg.Overlap, b.cfg.Moved = a.overlap, a.moved
		a.changed = b.reconsider
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.Run(ctx) })
		defer running.Wait()
		defer cancel()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		dev, agent := <-b.devices, <-b.dialer.agents
		go readAll(agent)
		defer agent.Close()
		synctest.Wait()
		if st := b.only(t); !st.Up {
			t.Fatalf("state = %+v", st)
		}
		p.set(func(p *place) { p.survey.Routes = append(home().Routes, route("10.77.0.0/16", "wlan0")) })
		b.noticed(link.Change{Interface: "wlan0", Routes: true})
		time.Sleep(time.Second)
		synctest.Wait()
		if st := b.only(t); st.Up || st.ProblemID != wire.AddressOverlap || !strings.Contains(st.Problem, "wlan0") || !dev.isClosed() {
			t.Fatalf("state = %+v, device closed %v", st, dev.isClosed())
		}
		time.Sleep(time.Hour)
		if len(b.devices) > 0 {
			t.Error("it was tried without a reason")
		}
		p.set(func(p *place) { p.survey = home() })
		b.noticed(link.Change{Interface: "wlan0", Routes: true})
		<-b.devices
		agent = <-b.dialer.agents
		defer agent.Close()
		synctest.Wait()
		if st := b.only(t); !st.Up || st.Problem != "" {
			t.Errorf("state = %+v", st)
		}
	})
}

// FuzzResolvers: the file belongs to others.
func FuzzResolvers(f *testing.F) {
	f.Add([]byte("nameserver 1.1.1.1\nnameserver ::1\n"))
	f.Add([]byte("nameserver\x00\nnameserver fe80::1%eth0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := resolvers(b)
		if len(list) > maxResolv || !reflect.DeepEqual(list, resolvers(b)) {
			t.Errorf("%d servers", len(list))
		}
		for _, ip := range list {
			if !ip.IsValid() || ip.IsLoopback() || ip.Zone() != "" {
				t.Errorf("%v", ip)
			}
		}
	})
}
