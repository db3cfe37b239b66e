package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/wire"
)

// cloudName is the name of the cloud where boards know it by one.
const cloudName = "cloud.test"

// traveller is a board that has to find a way out.
type traveller struct {
	*testing.T
	*cloudlab.Board
	cloud *cloudlab.Cloud
	made  s4t.Board // with the join string
	n     int       // of the board in the lab
}

// onlyProxy lets nothing out of the board's LAN but through what listens on
// its router.
func (b *traveller) onlyProxy() {
	b.Helper()
	must(b.T, b.NAT.Nft("table inet way {\n chain forward {\n type filter hook forward priority 0; policy drop;\n }\n}\n"))
}

// tinyproxy runs the real one on the board's router.
func (b *traveller) tinyproxy(tcpPort int, more string) {
	b.Helper()
	file := filepath.Join(b.cloud.Lab.Dir, fmt.Sprintf("tinyproxy%d.conf", tcpPort))
	must(b.T, os.WriteFile(file, []byte(fmt.Sprintf("Port %d\nListen 192.168.1.1\nTimeout 600\nMaxClients 50\nConnectPort 8812\nLogLevel Error\n%s", tcpPort, more)), 0o644))
	if _, err := b.NAT.Start(fmt.Sprintf("tinyproxy%d", tcpPort), nil, "tinyproxy", "-d", "-c", file); err != nil {
		b.Skipf("tinyproxy is not installed (make deps): %v", err)
	}
	must(b.T, b.NAT.WaitListen(tcpPort, 5*time.Second))
}

// join enrols the board and waits until it works.
func (b *traveller) join(args ...string) time.Duration {
	b.Helper()
	start := time.Now()
	b.Args = args
	must(b.T, b.Board.Join(b.made.Join))
	b.Args = nil
	must(b.T, b.WaitReady(0, 15*time.Second))
	return time.Since(start)
}

// epoch is the number of the board's session, which grows with each.
func (b *traveller) epoch() int64 {
	b.Helper()
	out, err := b.Host.Run(b.Context(), filepath.Join(bin, "lightning-rod"), "status", "--state", b.State, "-o", "json")
	must(b.T, err)
	var s struct{ Epoch int64 }
	must(b.T, json.Unmarshal([]byte(out), &s))
	return s.Epoch
}

// works bridges the board with board1 and reaches a service of it.
func (b *traveller) works() {
	b.Helper()
	var br s4t.Bridge
	s4tJSON(b.T, b.cloud, &br, "bridge", "create", "to-"+b.Name, "--board", "board1", "--board", b.Name)
	within(b.T, 5*time.Second, "the bridge carries pings", func() error {
		if err := ping(b.Context(), b.Host, addressOf(b.T, br, "board1", false)); err != nil {
			return err
		}
		return ping(b.Context(), b.cloud.Boards[0].Host, addressOf(b.T, br, b.Name, false))
	})
	b.answers()
}

// answers reaches a service on the board as a user does.
func (b *traveller) answers() {
	b.Helper()
	within(b.T, 5*time.Second, "a service answers through the HTTPS port", func() error { return b.connect() })
}

func (b *traveller) connect() error {
	out, err := b.cloud.S4T(b.Context(), "connect", b.Name, "7000")
	if err == nil && out != "hello\n" {
		err = fmt.Errorf("the service said %q", out)
	}
	return err
}

// deadPeer is how soon a dead peer is noticed.
const deadPeer = 10 * time.Second

// idleStream keeps a stream open on which nothing is said for so long: a shell
// that somebody left alone.
func (b *traveller) idleStream(idle time.Duration) {
	b.Helper()
	serve(b.T, b.Host, "127.0.0.1:7001", func(c net.Conn) {
		io.WriteString(c, "hello\n")
		select {
		case <-time.After(idle):
			io.WriteString(c, "bye\n")
		case <-b.Context().Done():
		}
	})
	if out, err := b.cloud.S4T(b.Context(), "connect", b.Name, "7001"); err != nil || out != "hello\nbye\n" {
		b.Errorf("a stream that was idle for %v: %q, %v", idle, out, err)
	}
}

// doctor returns what the board's doctor finds.
func (b *traveller) doctor() []wire.Finding {
	b.Helper()
	p := patient{T: b.T, Board: b.Board.Board, cloud: b.cloud, state: b.State, env: b.Env}
	return p.examine()
}

// TestHardNetworks lets boards out of networks that make it hard. Where the paper's
// workflow cannot work, the cause is named; when it has gone, the board is back
// by itself.
func TestHardNetworks(t *testing.T) {
	t.Parallel()
	cases := networkCases()
	lab := newLab(t, len(cases)+1)
	hosts := netlab.CloudAddr + " " + cloudName + "\n"
	etc(t, lab.User, "hosts", hosts)
	etc(t, lab.Cloud, "hosts", hosts)
	for _, b := range lab.Boards() {
		etc(t, b.Host, "hosts", hosts)
		etc(t, b.NAT, "hosts", hosts)
	}
	c, err := cloudlab.Start(lab, bin, "--listen", "[::]:8812", "--url", "https://"+cloudName+":8812")
	must(t, err)
	showLogs(t, c)
	_, err = c.AddBoard(t.Context(), "board1")
	must(t, err)
	var mu sync.Mutex // guards c.Boards
	t.Run("cases", func(t *testing.T) {
		for i, tt := range cases {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				name := fmt.Sprintf("board%d", i+2)
				b := &traveller{T: t, cloud: c, n: i + 2, Board: &cloudlab.Board{Board: lab.Boards()[i+1], Name: name, State: filepath.Join(lab.Dir, name)}}
				mu.Lock()
				c.Adopt(b.Board)
				mu.Unlock()
				s4tJSON(t, c, &b.made, "board", "create", name)
				serve(t, b.Host, "127.0.0.1:7000", func(c net.Conn) { io.WriteString(c, "hello\n") })
				tt.run(b)
			})
		}
	})
}

type networkCase struct {
	name string
	run  func(b *traveller)
}

func networkCases() []networkCase {
	return append(networkProxyCases(), []networkCase{
		{"a NAT that forgets what is idle, and lets nothing in between", func(b *traveller) {
			strictNAT(b)
			for _, s := range []string{"nf_conntrack_tcp_timeout_established=30", "nf_conntrack_tcp_loose=0"} {
				_, err := b.NAT.Run(b.Context(), "sysctl", "-qw", "net.netfilter."+s)
				must(b.T, err)
			}
			b.join()
			b.works()
			epoch := b.epoch()
			b.idleStream(35 * time.Second)      // longer than the NAT remembers
			if err := b.connect(); err != nil { // at once: nothing had to be mended
				b.Error(err)
			}
			if now := b.epoch(); now != epoch {
				b.Errorf("epoch %d, was %d: the session was lost", now, epoch)
			}
		}},
		{"a NAT that is restarted", func(b *traveller) {
			strictNAT(b)
			_, err := b.NAT.Run(b.Context(), "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
			must(b.T, err)
			b.join()
			b.works()
			if err := b.Flush(); err != nil {
				b.Skip(err)
			}
			// Nobody is told: what is sent vanishes until it is missed.
			took := within(b.T, deadPeer+healLimit, "the board is back", b.connect)
			b.Logf("back after %v", took.Round(10*time.Millisecond))
		}},
		{"a captive portal, until somebody logs in", func(b *traveller) {
			b.join()
			must(b.T, b.Process.Stop())
			serve(b.T, b.NAT, "192.168.1.1:8000", say("302 Found", "Location: http://login.hotel.test/"))
			must(b.T, b.NAT.Nft("table ip way {\n chain pre {\n type nat hook prerouting priority -100;\n iifname \"lan\" meta l4proto tcp redirect to :8000\n }\n}\n"))
			must(b.T, b.Board.Run())
			within(b.T, 10*time.Second, "the doctor names the portal", func() error { return names(b.doctor(), wire.CaptivePortal) })
			_, err := b.NAT.Run(b.Context(), "nft", "delete", "table", "ip", "way")
			must(b.T, err)
			took := within(b.T, healLimit, "the board is back", b.connect)
			b.Logf("back after %v", took.Round(10*time.Millisecond))
		}},
		{"a DNS that fails, until it works", func(b *traveller) {
			b.join()
			must(b.T, b.Process.Stop())
			etc(b.T, b.Host, "hosts", "127.0.0.1 localhost\n")
			etc(b.T, b.Host, "nsswitch.conf", "hosts: files dns\n")
			etc(b.T, b.Host, "resolv.conf", "nameserver 192.168.1.1\n")
			must(b.T, b.Board.Run())
			within(b.T, 10*time.Second, "the doctor names the DNS", func() error { return names(b.doctor(), wire.DNSSilent) })
			serveDNS(b.T, b.NAT, "192.168.1.1:53", 0, net.ParseIP(netlab.CloudAddr))
			took := within(b.T, healLimit, "the board is back", b.connect)
			b.Logf("back after %v", took.Round(10*time.Millisecond))
		}},
		{"IPv6 only", func(b *traveller) {
			sixth(b)
			_, err := b.Host.Run(b.Context(), "ip", "-4", "addr", "flush", "dev", "eth0")
			must(b.T, err)
			etc(b.T, b.Host, "hosts", netlab.CloudAddr6+" "+cloudName+"\n")
			b.join()
			b.works()
		}},
		{"both, and IPv6 is dead", func(b *traveller) {
			sixth(b)
			must(b.T, b.NAT.Nft("table inet way {\n chain forward {\n type filter hook forward priority 0;\n meta nfproto ipv6 drop\n }\n}\n"))
			deadFamily(b, wire.FamilyDead)
		}},
		{"both, and IPv4 is dead", func(b *traveller) {
			sixth(b)
			must(b.T, b.NAT.Nft("table inet way {\n chain forward {\n type filter hook forward priority 0;\n meta nfproto ipv4 drop\n }\n}\n"))
			deadFamily(b, wire.FamilyDead)
		}},
	}...)
}

func networkProxyCases() []networkCase {
	return []networkCase{
		{"tinyproxy", func(b *traveller) {
			b.onlyProxy()
			b.tinyproxy(3128, "")
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3128)}
			b.join()
			b.works()
		}},
		{"tinyproxy with Basic, kept by join", func(b *traveller) {
			b.onlyProxy()
			b.tinyproxy(3129, "BasicAuth user secret\n")
			b.join("--proxy", proxyURL("user:secret", 3129))
			b.works()
			must(b.T, b.Process.Stop())
			must(b.T, b.Board.Run())
			within(b.T, healLimit, "the board is back after a restart", b.connect)
		}},
		{"a proxy with Digest", func(b *traveller) {
			b.onlyProxy()
			serveProxy(b.T, b.NAT, "192.168.1.1:3130", proxyOptions{digest: true})
			b.Env = []string{"https_proxy=" + proxyURL("user:secret", 3130)}
			b.join()
			b.works()
		}},
		{"a proxy that cuts what is idle", func(b *traveller) {
			b.onlyProxy()
			serveProxy(b.T, b.NAT, "192.168.1.1:3131", proxyOptions{idle: 30 * time.Second})
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3131)}
			b.join()
			b.works()
			epoch := b.epoch()
			b.idleStream(35 * time.Second)
			if err := b.connect(); err != nil { // at once: nothing had to be mended
				b.Error(err)
			}
			if now := b.epoch(); now != epoch {
				b.Errorf("epoch %d, was %d: the session was cut", now, epoch)
			}
		}},
		{"a proxy that re-signs TLS", func(b *traveller) {
			b.onlyProxy()
			ca := newAuthority(b.T, "Office Inspection CA")
			serveProxy(b.T, b.NAT, "192.168.1.1:3132", proxyOptions{resign: ca})
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3132)}
			cmd := b.Host.Command(b.Context(), filepath.Join(bin, "lightning-rod"), "join", b.made.Join, "--state", b.State, "--no-run")
			cmd.Env = append(os.Environ(), b.Env...)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Office Inspection CA") || !strings.Contains(string(out), "--ca FILE") {
				b.Errorf("a re-signed connection was not refused with its cause: %v: %s", err, out)
			}
			file := filepath.Join(b.cloud.Lab.Dir, "office.pem")
			must(b.T, os.WriteFile(file, ca.pem, 0o644))
			b.join("--ca", file)
			b.works()
			must(b.T, b.Process.Stop())
			must(b.T, b.Board.Run())
			within(b.T, healLimit, "the board is back after a restart", b.connect)
			// The proxy makes an exception: the cloud's own CA is known by its fingerprint.
			must(b.T, b.Process.Stop())
			serveProxy(b.T, b.NAT, "192.168.1.1:3142", proxyOptions{})
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3142)}
			must(b.T, b.Board.Run())
			within(b.T, healLimit, "the board is back without re-signing", b.connect)
		}},
		{"NO_PROXY goes around a proxy that is not there", func(b *traveller) {
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3133), "NO_PROXY=localhost,.test"}
			b.join()
			b.works()
		}},
		{"a proxy that comes back", func(b *traveller) {
			b.onlyProxy()
			b.tinyproxy(3134, "")
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3134)}
			b.join()
			must(b.T, b.Process.Stop())
			b.Env = []string{"HTTPS_PROXY=" + proxyURL("", 3144)}
			must(b.T, b.Board.Run())
			within(b.T, 10*time.Second, "the doctor names the proxy", func() error { return names(b.doctor(), wire.ProxyUnreachable) })
			b.tinyproxy(3144, "")
			took := within(b.T, healLimit, "the board is back", b.connect)
			b.Logf("back after %v", took.Round(10*time.Millisecond))
		}},
	}
}

// strictNAT passes only what belongs to a connection that it saw begin.
func strictNAT(b *traveller) {
	b.Helper()
	must(b.T, b.NAT.Nft("table inet strict {\n chain forward {\n type filter hook forward priority 0;\n ct state invalid drop\n tcp flags & (syn|ack) != syn ct state new drop\n }\n}\n"))
}

// sixth gives the board's LAN an IPv6 network that is routed to the cloud.
func sixth(b *traveller) {
	b.Helper()
	lan := fmt.Sprintf("2001:db8:%x:", b.n)
	for _, s := range []struct {
		h    *netlab.Host
		argv string
	}{
		{b.NAT, "sysctl -qw net.ipv6.conf.all.forwarding=1"},
		{b.NAT, "ip -6 addr add " + lan + ":1/64 dev lan nodad"},
		{b.Host, "ip -6 addr add " + lan + ":2/64 dev eth0 nodad"},
		{b.Host, "ip -6 route add default via " + lan + ":1"},
		{b.cloud.Lab.Cloud, fmt.Sprintf("ip -6 route add %s:/64 via 2001:db8::%d", lan, 20+b.n)},
	} {
		_, err := s.h.Run(b.Context(), strings.Fields(s.argv)...)
		must(b.T, err)
	}
	etc(b.T, b.Host, "hosts", netlab.CloudAddr+" "+cloudName+"\n"+netlab.CloudAddr6+" "+cloudName+"\n")
}

// deadFamily joins where one family is dead: it costs little, and is told.
func deadFamily(b *traveller, want string) {
	b.Helper()
	took := b.join()
	b.Logf("joined and ready after %v", took.Round(10*time.Millisecond))
	if took > 10*time.Second {
		b.Errorf("joining took %v: the dead family was waited for", took)
	}
	b.works()
	if err := names(b.doctor(), want); err != nil {
		b.Error(err)
	}
}

// names fails unless a diagnosis is among the findings, and nothing else is
// called certain.
func names(findings []wire.Finding, want string) error {
	found := false
	for _, f := range findings {
		found = found || f.ID == want
		if f.ID != want && f.Level == wire.LevelError && f.Certain {
			return fmt.Errorf("a wrong cause is said to be certain: %+v", f)
		}
	}
	if !found {
		return fmt.Errorf("%s is not among %+v", want, findings)
	}
	return nil
}
