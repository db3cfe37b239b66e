package e2e

import (
	"bytes"
	"crypto/sha256"
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

// patient is a board for one case of the doctor.
type patient struct {
	*testing.T
	*netlab.Board
	cloud *cloudlab.Cloud
	join  s4t.JoinString // of the cloud; its code was not used
	env   []string
	args  []string // of `lightning-rod doctor`
	state string
	as    []string // command line before lightning-rod's own

	tcpPort func() int // one that nobody listens on, on every host of the lab
}

// target makes a fake cloud the doctor's aim: a server on the internet.
func (p *patient) target(scheme string, serve func(addr string)) {
	p.Helper()
	addr := fmt.Sprintf("%s:%d", netlab.UserAddr, p.tcpPort())
	serve(addr)
	p.args = []string{scheme + "://" + addr}
}

// pinned makes the aim a join string with the cloud's fingerprint.
func (p *patient) pinned(url string) {
	j := p.join
	j.URLs = []string{url}
	p.args = []string{j.String()}
}

// proxied puts a proxy into the way.
func (p *patient) proxied(userinfo string, serve func(addr string)) {
	p.Helper()
	n := p.tcpPort()
	serve(fmt.Sprintf("192.168.1.1:%d", n))
	p.env = append(p.env, "HTTPS_PROXY="+proxyURL(userinfo, n))
}

// forward loads a rule into the board's NAT, on what it forwards.
func (p *patient) forward(rule string) {
	p.Helper()
	must(p.T, p.NAT.Nft("table inet way {\n chain forward {\n type filter hook forward priority 0;\n "+rule+"\n }\n}\n"))
}

// redirect sends TCP from the board to a port of its NAT.
func (p *patient) redirect(match string, tcpPort int) {
	p.Helper()
	must(p.T, p.NAT.Nft(fmt.Sprintf("table ip way {\n chain pre {\n type nat hook prerouting priority -100;\n iifname \"lan\" %s redirect to :%d\n }\n}\n", match, tcpPort)))
}

// in runs a command in the board's namespace.
func (p *patient) in(argv ...string) {
	p.Helper()
	_, err := p.Host.Run(p.Context(), argv...)
	must(p.T, err)
}

// examine runs the doctor and returns what it finds.
func (p *patient) examine() []wire.Finding {
	p.Helper()
	argv := append(append([]string{}, p.as...), filepath.Join(bin, "lightning-rod"), "doctor", "-o", "json", "--state", p.state)
	cmd := p.Host.Command(p.Context(), append(argv, p.args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var findings []wire.Finding
	if jerr := json.Unmarshal(out, &findings); jerr != nil {
		p.Fatalf("the doctor said %q: %v %v: %s", out, jerr, err, stderr.String())
	}
	return findings
}

// joined enrols the board without running it.
func (p *patient) joined() {
	p.Helper()
	_, err := p.Host.Run(p.Context(), filepath.Join(bin, "lightning-rod"), "join", p.join.String(), "--state", p.state, "--no-run")
	must(p.T, err)
	p.args = nil
}

// nobody lets the doctor run as a user without any right.
func (p *patient) nobody() {
	p.Helper()
	must(p.T, os.Chmod(p.cloud.Lab.Dir, 0o711))
	cmd := p.Host.Command(p.Context(), "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", filepath.Join(bin, "lightning-rod"), "version")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.Skipf("nobody cannot run lightning-rod here: %v: %s", err, out)
	}
	p.as = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
}

// silent takes a connection and says nothing.
func silent(c net.Conn) { io.Copy(io.Discard, c) }

// TestDoctorNamesTheCause makes each thing that may stand in a board's way
// happen, for real, and asks the doctor. What it calls certain must be it.
func TestDoctorNamesTheCause(t *testing.T) {
	t.Parallel()
	for _, tt := range doctorCases() {
		if _, ok := wire.Diagnose(tt.want); !ok && tt.want != "" {
			t.Fatalf("there is no diagnosis %q", tt.want)
		}
	}
	cases := doctorCases()
	lab := newLab(t, len(cases))
	c, err := cloudlab.Start(lab, bin)
	must(t, err)
	showLogs(t, c)
	var joins []s4t.JoinString
	for i := range cases {
		var made s4t.Board
		s4tJSON(t, c, &made, "board", "create", fmt.Sprintf("board%d", i+1))
		j, err := s4t.ParseJoin(made.Join)
		must(t, err)
		joins = append(joins, j)
	}
	var mu sync.Mutex // guards next
	next := 20000
	t.Run("cases", func(t *testing.T) {
		for i, tt := range cases {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				p := &patient{T: t, Board: lab.Boards()[i], cloud: c, join: joins[i], state: filepath.Join(lab.Dir, fmt.Sprintf("state%d", i)),
					tcpPort: func() int { mu.Lock(); defer mu.Unlock(); next++; return next }}
				p.args = []string{joins[i].String()}
				tt.arrange(p)
				start := time.Now()
				findings := p.examine()
				checkFindings(t, findings, tt.want, tt.says)
				t.Logf("%.1f s", time.Since(start).Seconds())
			})
		}
	})
}

// checkFindings fails unless the findings hold the one that is wanted, and no other
// error that is said to be certain.
func checkFindings(t *testing.T, findings []wire.Finding, want, says string) {
	t.Helper()
	found := want == ""
	for _, f := range findings {
		if f.ID != want && f.Level == wire.LevelError && f.Certain {
			t.Errorf("a wrong cause is said to be certain: %+v", f)
		}
		if f.ID != want || f.ID == "" {
			continue
		}
		found = true
		if f.Cure == "" || !strings.Contains(f.Cause+f.Cure, says) {
			t.Errorf("%+v: want a cure, and %q in it", f, says)
		}
	}
	if !found {
		var text strings.Builder
		for _, f := range findings {
			fmt.Fprintf(&text, "\n%+v", f)
		}
		t.Errorf("%s is not among:%s", want, text.String())
	}
}

// doctorCase is one thing in the way.
type doctorCase struct {
	name    string
	arrange func(p *patient)
	want    string // ID; "": nothing is wrong
	says    string
}

func doctorCases() []doctorCase {
	cases := []doctorCase{
		{"nothing", func(p *patient) {}, "", ""},
		{"a code that nobody knows", func(p *patient) {
			p.join.Code = "NOPE-NOPE-NOPE"
			p.args = []string{p.join.String()}
		}, wire.CodeUnknown, ""},
		{"a code that was used", func(p *patient) {
			p.joined()
			p.state, p.args = p.state+"-other", []string{p.join.String()}
		}, wire.CodeUsed, ""},
		{"a board that was deleted", func(p *patient) {
			p.joined()
			runS4T(p.T, p.cloud, "board", "delete", p.join.Name)
		}, wire.BoardUnknown, "join with a new code"},
		{"a board that does not run", func(p *patient) { p.joined() }, wire.NotRunning, ""},
		{"a state that only root may read", func(p *patient) { p.joined(); p.nobody() }, wire.StateUnreadable, ""},
		{"a state that only root may write", func(p *patient) {
			p.nobody()
			must(p.T, os.Mkdir(p.state, 0o755))
		}, wire.StateNotWritable, ""},
		{"no right to make devices", func(p *patient) { p.nobody() }, wire.NoNetAdmin, "CAP_NET_ADMIN"},
		{"no /dev/net/tun", func(p *patient) {
			p.as = []string{"unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh"}
		}, wire.NoTun, "/dev/net/tun"},
	}
	cases = append(cases, linkCases()...)
	cases = append(cases, proxyCases()...)
	return append(cases, doorCases()...)
}

// named makes the aim a name, with these lines in the board's resolv.conf.
func (p *patient) named(host, resolv string) {
	etc(p.T, p.Host, "resolv.conf", resolv)
	etc(p.T, p.Host, "nsswitch.conf", "hosts: files dns\n")
	p.pinned("https://" + host + ":8812")
}

func linkCases() []doctorCase {
	dns := func(rcode byte, ip string) func(p *patient) {
		return func(p *patient) {
			serveDNS(p.T, p.NAT, "192.168.1.1:53", rcode, net.ParseIP(ip))
			p.named("cloud.test", "nameserver 192.168.1.1\n")
		}
	}
	return []doctorCase{
		{"the cable is out", func(p *patient) { p.in("ip", "link", "set", "eth0", "down") }, wire.LinkDown, "eth0"},
		{"no default route", func(p *patient) { p.in("ip", "route", "del", "default") }, wire.NoDefaultRoute, ""},
		{"the router knows no way", func(p *patient) {
			_, err := p.NAT.Run(p.Context(), "ip", "route", "add", "unreachable", netlab.CloudAddr)
			must(p.T, err)
		}, wire.NoRoute, ""},
		{"the board's own policy forbids it", func(p *patient) { p.in("ip", "route", "add", "prohibit", netlab.CloudAddr) }, wire.LocalFirewall, ""},
		{"no DNS server is configured", func(p *patient) { p.named("cloud.test", "# none\n") }, wire.DNSNone, ""},
		{"the DNS server is silent", func(p *patient) {
			c, err := p.NAT.ListenPacket("192.168.1.1:53")
			must(p.T, err)
			p.Cleanup(func() { c.Close() })
			p.named("cloud.test", "nameserver 192.168.1.1\n")
		}, wire.DNSSilent, "192.168.1.1"},
		{"nobody is there as DNS server", func(p *patient) { p.named("cloud.test", "nameserver 192.168.1.1\n") }, wire.DNSSilent, "192.168.1.1"},
		{"the DNS does not know the name", dns(3, ""), wire.DNSNameUnknown, "cloud.test"},
		{"the DNS fails", dns(2, ""), wire.DNSFailing, ""},
		{"the DNS lies", dns(0, "192.168.1.1"), wire.DNSLies, "192.168.1.1"},
		{"nobody listens", func(p *patient) { p.pinned(fmt.Sprintf("https://%s:1", netlab.CloudAddr)) }, wire.TCPRefused, ""},
		{"a firewall drops", func(p *patient) { p.forward("tcp dport 8812 drop") }, wire.TCPSilent, "HTTP proxy"},
		{"IPv6 is dead", func(p *patient) {
			p.in("ip", "-6", "addr", "add", "2001:db8:1::2/64", "dev", "eth0", "nodad")
			_, err := p.NAT.Run(p.Context(), "ip", "-6", "addr", "add", "2001:db8:1::1/64", "dev", "lan", "nodad")
			must(p.T, err)
			p.in("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
			p.forward("meta nfproto ipv6 drop")
			_, err = p.NAT.Run(p.Context(), "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
			must(p.T, err)
			etc(p.T, p.Host, "hosts", netlab.UserAddr+" cloud.test\n2001:db8::11 cloud.test\n")
			a := newAuthority(p.T, "a CA")
			cert, err := a.issue("cloud.test", time.Now().AddDate(0, 1, 0))
			must(p.T, err)
			n := p.tcpPort()
			serveTLS(p.T, p.cloud.Lab.User, fmt.Sprintf("%s:%d", netlab.UserAddr, n), cert, say("503 Service Unavailable"))
			p.join.Fingerprint = fmt.Sprintf("%x", sha256.Sum256(a.cert.Raw))
			p.pinned(fmt.Sprintf("https://cloud.test:%d", n))
		}, wire.FamilyDead, "IPv6"},
		{"the path drops big packets", func(p *patient) { must(p.T, p.ShrinkPath(1280)) }, wire.PathMTU, "1280"},
	}
}

func proxyCases() []doctorCase {
	answer := func(status string, fields ...string) func(p *patient) {
		return func(p *patient) {
			p.proxied("", func(addr string) { serve(p.T, p.NAT, addr, say(status, fields...)) })
		}
	}
	return []doctorCase{
		{"a proxy that passes", func(p *patient) {
			p.proxied("", func(addr string) { serveProxy(p.T, p.NAT, addr, proxyOptions{}) })
			p.forward("drop")
		}, "", ""},
		{"no proxy is there", func(p *patient) { p.proxied("", func(string) {}) }, wire.ProxyUnreachable, ""},
		{"what is there is no proxy", func(p *patient) {
			p.proxied("", func(addr string) {
				serve(p.T, p.NAT, addr, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); io.Copy(io.Discard, c) })
			})
		}, wire.ProxyNotHTTP, ""},
		{"the proxy wants a login", func(p *patient) {
			p.proxied("", func(addr string) { serveProxy(p.T, p.NAT, addr, proxyOptions{digest: true}) })
		}, wire.ProxyLoginMissing, "USER:PASSWORD"},
		{"the proxy does not take the password", func(p *patient) {
			p.proxied("user:wrong", func(addr string) { serveProxy(p.T, p.NAT, addr, proxyOptions{digest: true}) })
		}, wire.ProxyLoginWrong, `"user"`},
		{"the proxy speaks Negotiate only", answer("407 Proxy Authentication Required", "Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM"), wire.ProxyLoginUnsupported, "negotiate, ntlm"},
		{"the proxy forbids it", answer("403 Forbidden"), wire.ProxyForbids, ""},
		{"the proxy is a portal", answer("302 Found", "Location: http://portal.test/"), wire.ProxyPortal, "portal.test"},
		{"tinyproxy cannot reach the cloud", answer("500 Unable to connect"), wire.ProxyCannotReach, "500"},
		{"the proxy cannot reach the cloud", answer("502 Bad Gateway"), wire.ProxyCannotReach, ""},
		{"the proxy re-signs TLS", func(p *patient) {
			p.proxied("", func(addr string) {
				serveProxy(p.T, p.NAT, addr, proxyOptions{resign: newAuthority(p.T, "Office Inspection CA")})
			})
		}, wire.TLSResigned, "Office Inspection CA"},
	}
}

func doorCases() []doctorCase {
	plain := func(answer func(net.Conn)) func(p *patient) {
		return func(p *patient) { p.target("http", func(addr string) { serve(p.T, p.cloud.Lab.User, addr, answer) }) }
	}
	// public is a cloud with a certificate that the system's roots know.
	public := func(until time.Time, date string) func(p *patient) {
		return func(p *patient) {
			a := newAuthority(p.T, "Public CA")
			file := filepath.Join(p.cloud.Lab.Dir, p.NS+"-roots.pem")
			must(p.T, os.WriteFile(file, a.pem, 0o644))
			p.env = append(p.env, "SSL_CERT_FILE="+file)
			cert, err := a.issue(netlab.UserAddr, until)
			must(p.T, err)
			p.target("https", func(addr string) {
				serveTLS(p.T, p.cloud.Lab.User, addr, cert, say("404 Not Found", "Date: "+date))
			})
		}
	}
	now := time.Now().UTC()
	const rfc1123 = "Mon, 02 Jan 2006 15:04:05 GMT"
	return []doctorCase{
		{"a captive portal", func(p *patient) {
			n := p.tcpPort()
			serve(p.T, p.NAT, fmt.Sprintf("192.168.1.1:%d", n), say("302 Found", "Location: http://login.hotel.test/"))
			p.redirect("meta l4proto tcp", n)
		}, wire.CaptivePortal, "login.hotel.test"},
		{"no TLS there", func(p *patient) {
			p.target("https", func(addr string) { serve(p.T, p.cloud.Lab.User, addr, say("200 OK")) })
		}, wire.NotTLS, ""},
		{"TLS is cut", func(p *patient) {
			p.target("https", func(addr string) { serve(p.T, p.cloud.Lab.User, addr, func(c net.Conn) { c.Read(make([]byte, 5)) }) })
		}, wire.TLSCut, ""},
		{"TLS gets no answer", func(p *patient) {
			p.target("https", func(addr string) { serve(p.T, p.cloud.Lab.User, addr, silent) })
		}, wire.TLSSilent, ""},
		{"another server in the cloud's place", func(p *patient) {
			cert, err := newAuthority(p.T, "Somebody's CA").issue("www.somebody.test", now.AddDate(0, 1, 0))
			must(p.T, err)
			p.target("https", func(addr string) { serveTLS(p.T, p.cloud.Lab.User, addr, cert, silent) })
			p.pinned(p.args[0])
		}, wire.WrongCertificate, "Somebody's CA"},
		{"another IoTronic in the cloud's place", func(p *patient) {
			p.join.Fingerprint = strings.Repeat("ab", 32)
			p.args = []string{p.join.String()}
		}, wire.CAReplaced, "IoTronic CA"},
		{"a URL alone", func(p *patient) { p.args = []string{cloudlab.URL} }, wire.CAUnknown, "join string"},
		{"another name than the certificate's", func(p *patient) {
			etc(p.T, p.Host, "hosts", netlab.CloudAddr+" other.test\n")
			p.pinned("https://other.test:8812")
		}, wire.HostName, "other.test"},
		{"an expired certificate", public(now.AddDate(0, 0, -1), now.Format(rfc1123)), wire.CertificateExpired, ""},
		{"a clock that is wrong by years", public(now.AddDate(-3, 0, 0), now.AddDate(-3, -1, 0).Format(rfc1123)), wire.ClockBreaksTLS, ""},
		{"no IoTronic there", plain(say("404 Not Found")), wire.WrongServer, ""},
		{"a web page there", plain(say("200 OK", "Content-Type: text/html")), wire.WebPage, ""},
		{"the upgrade is taken away", plain(say("426 Upgrade Required")), wire.UpgradeStripped, ""},
		{"the upgrade is cut", plain(func(c net.Conn) { c.Read(make([]byte, 100)) }), wire.UpgradeCut, ""},
		{"the upgrade gets no answer", plain(silent), wire.UpgradeSilent, ""},
		{"the upgrade is refused", plain(say("418 I'm a teapot")), wire.UpgradeRefused, "teapot"},
		{"the cloud is down behind its reverse proxy", plain(say("503 Service Unavailable")), wire.CloudDown, ""},
	}
}
