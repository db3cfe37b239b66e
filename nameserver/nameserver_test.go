package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is the conductor's end of a queue.
type cloud struct {
	mu     sync.Mutex // guards the fields below
	places map[string]wire.ServicePlace
	away   error
	asked  int
}

func (c *cloud) Call(_ context.Context, topic, method string, req, reply any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if topic != wire.TopicOf(method) || method != wire.MethodServiceLookup {
		return fmt.Errorf("%s on %s", method, topic)
	}
	c.asked++
	if c.away == nil {
		*reply.(*wire.ServicePlace) = c.places[req.(wire.ServiceLookup).Name]
	}
	return c.away
}

func (c *cloud) set(name, host string, port int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.places[name] = wire.ServicePlace{Host: host, PublicPort: port}
}

func (c *cloud) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func newCloud() *cloud {
	return &cloud{places: map[string]wire.ServicePlace{
		"kitchen-ssh": {Host: "192.0.2.7", PublicPort: 50022}, "attic": {Host: "2001:db8::7", PublicPort: 50080}, "hall": {Host: "t2.example.org", PublicPort: 50001},
	}}
}

func newServer(t testing.TB, c Queue) *Server {
	t.Helper()
	s, err := New(Config{Zone: "svc.Example.org.", Listen: "127.0.0.1:0", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, Queue: c})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask packs a query, with change.
func ask(t testing.TB, name string, typ dnsmessage.Type, change func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// edns adds an OPT record.
func edns(version byte, size int) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(size, 0, true)
		h.TTL |= uint32(version) << 16
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
	}
}

// told is a message as text: code and flags, then the records of its sections.
func told(t testing.TB, b []byte) string {
	t.Helper()
	if b == nil {
		return "nothing"
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if !m.Response || m.ID != 7 || m.RecursionAvailable {
		t.Errorf("%+v", m.Header)
	}
	words := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Authoritative {
		words = append(words, "aa")
	}
	if m.Truncated {
		words = append(words, "tc")
	}
	for i, section := range [][]dnsmessage.Resource{m.Answers, m.Authorities, m.Additionals} {
		for _, r := range section {
			text := r.Header.Name.String() + " "
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				text += fmt.Sprint("A ", netip.AddrFrom4(b.A))
			case *dnsmessage.AAAAResource:
				text += fmt.Sprint("AAAA ", netip.AddrFrom16(b.AAAA))
			case *dnsmessage.CNAMEResource:
				text += "CNAME " + b.CNAME.String()
			case *dnsmessage.NSResource:
				text += "NS " + b.NS.String()
			case *dnsmessage.SRVResource:
				text += fmt.Sprint("SRV ", b.Port, " ", b.Target)
			case *dnsmessage.SOAResource:
				text += fmt.Sprint("SOA ", b.NS, " ", b.MBox, " ", b.MinTTL)
			case *dnsmessage.OPTResource:
				text = fmt.Sprint("OPT ", r.Header.Class, " ", r.Header.TTL)
			}
			if _, opt := r.Body.(*dnsmessage.OPTResource); !opt {
				text += fmt.Sprint(" ", r.Header.TTL)
			}
			words = append(words, []string{"", "+", "++"}[i]+text)
		}
	}
	return strings.Join(words, "; ")
}

func TestAnswers(t *testing.T) {
	s := newServer(t, newCloud())
	const soa = "; +svc.example.org. SOA ns.svc.example.org. hostmaster.svc.example.org. 5 5"
	for _, tt := range []struct {
		name string
		typ  dnsmessage.Type
		chg  func(*dnsmessage.Message)
		want string
	}{
		{"kitchen-ssh.svc.example.org.", dnsmessage.TypeA, nil, "Success; aa; kitchen-ssh.svc.example.org. A 192.0.2.7 5"},
		{"Kitchen-SSH.svc.EXAMPLE.org.", dnsmessage.TypeA, nil, "Success; aa; Kitchen-SSH.svc.EXAMPLE.org. A 192.0.2.7 5"},
		{"kitchen-ssh.svc.example.org.", dnsmessage.TypeAAAA, nil, "Success; aa" + soa},
		{"kitchen-ssh.svc.example.org.", dnsmessage.TypeTXT, nil, "Success; aa" + soa},
		{"kitchen-ssh.svc.example.org.", dnsmessage.TypeALL, nil, "Success; aa; kitchen-ssh.svc.example.org. A 192.0.2.7 5"},
		{"attic.svc.example.org.", dnsmessage.TypeAAAA, nil, "Success; aa; attic.svc.example.org. AAAA 2001:db8::7 5"},
		{"attic.svc.example.org.", dnsmessage.TypeA, nil, "Success; aa" + soa},
		{"hall.svc.example.org.", dnsmessage.TypeA, nil, "Success; aa; hall.svc.example.org. CNAME t2.example.org. 5"},
		{"hall.svc.example.org.", dnsmessage.TypeTXT, nil, "Success; aa; hall.svc.example.org. CNAME t2.example.org. 5"},
		{"_kitchen-ssh._tcp.svc.example.org.", dnsmessage.TypeSRV, nil, "Success; aa; _kitchen-ssh._tcp.svc.example.org. SRV 50022 kitchen-ssh.svc.example.org. 5; ++kitchen-ssh.svc.example.org. A 192.0.2.7 5"},
		{"_hall._tcp.svc.example.org.", dnsmessage.TypeSRV, nil, "Success; aa; _hall._tcp.svc.example.org. SRV 50001 t2.example.org. 5"},
		{"_hall._tcp.svc.example.org.", dnsmessage.TypeA, nil, "Success; aa" + soa},
		{"_tcp.svc.example.org.", dnsmessage.TypeSRV, nil, "Success; aa" + soa},
		{"cellar.svc.example.org.", dnsmessage.TypeA, nil, "NameError; aa" + soa},
		{"_cellar._tcp.svc.example.org.", dnsmessage.TypeSRV, nil, "NameError; aa" + soa},
		{"a.hall.svc.example.org.", dnsmessage.TypeA, nil, "NameError; aa" + soa},
		{"_hall._udp.svc.example.org.", dnsmessage.TypeSRV, nil, "NameError; aa" + soa},
		{"-.svc.example.org.", dnsmessage.TypeA, nil, "NameError; aa" + soa},
		{"\xff\\.svc.example.org.", dnsmessage.TypeA, nil, "NameError; aa" + soa},
		{"svc.example.org.", dnsmessage.TypeSOA, nil, "Success; aa; svc.example.org. SOA ns.svc.example.org. hostmaster.svc.example.org. 5 5"},
		{"svc.example.org.", dnsmessage.TypeNS, nil, "Success; aa; svc.example.org. NS ns.svc.example.org. 3600; ++ns.svc.example.org. A 192.0.2.1 3600; ++ns.svc.example.org. AAAA 2001:db8::1 3600"},
		{"svc.example.org.", dnsmessage.TypeA, nil, "Success; aa" + soa},
		{"ns.svc.example.org.", dnsmessage.TypeAAAA, nil, "Success; aa; ns.svc.example.org. AAAA 2001:db8::1 3600"},
		{"svc.example.org.", dnsmessage.TypeAXFR, nil, "Refused"},
		{"example.org.", dnsmessage.TypeA, nil, "Refused"},
		{"xsvc.example.org.", dnsmessage.TypeA, nil, "Refused"},
		{".", dnsmessage.TypeNS, nil, "Refused"},
		{"hall.svc.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, "Refused"},
		{"hall.svc.example.org.", dnsmessage.TypeA, edns(0, 4096), "Success; aa; hall.svc.example.org. CNAME t2.example.org. 5; ++OPT 1232 0"},
		{"hall.svc.example.org.", dnsmessage.TypeA, edns(1, 4096), "Success; ++OPT 1232 16777216"},
		{"hall.svc.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { edns(0, 512)(m); edns(0, 512)(m) }, "FormatError; ++OPT 1232 0"},
		{"hall.svc.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }, "FormatError"},
		{"hall.svc.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil }, "FormatError"},
		{"hall.svc.example.org.", dnsmessage.TypeSOA, func(m *dnsmessage.Message) { m.OpCode = 4 }, "NotImplemented"},
		{"hall.svc.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response = true }, "nothing"},
	} {
		if got := told(t, s.answer(t.Context(), ask(t, tt.name, tt.typ, tt.chg), true)); got != tt.want {
			t.Errorf("%s %v:\n%s, want\n%s", tt.name, tt.typ, got, tt.want)
		}
	}
}

// TestALongAnswerIsAskedForByTCP: the longest names do not fit into 512 bytes.
func TestALongAnswerIsAskedForByTCP(t *testing.T) {
	c := newCloud()
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "org"
	far := strings.Repeat("f", s4t.MaxDNSName)
	c.set(far, long, 50000)
	zone := strings.Repeat(strings.Repeat("z", 57)+".", 3) + "org"
	s, err := New(Config{Zone: zone, Listen: "127.0.0.1:0", Servers: []string{"ns1.example.org"}, Queue: c})
	if err != nil {
		t.Fatal(err)
	}
	query := ask(t, "_"+far+"._tcp."+zone+".", dnsmessage.TypeSRV, nil)
	for udp, want := range map[bool]string{true: "Success; aa; tc", false: "Success; aa; _" + far + "._tcp." + zone + ". SRV 50000 " + long + ". 5"} {
		got := s.answer(t.Context(), query, udp)
		if text := told(t, got); text != want || udp && len(got) > 512 {
			t.Errorf("udp %v: %s (%d bytes)", udp, text, len(got))
		}
	}
}

// TestWhatIsRemembered: names are asked for once in a while, and again after an event; the
// last that was known is told while the conductor is away.
func TestWhatIsRemembered(t *testing.T) {
	c := newCloud()
	s := newServer(t, c)
	now := time.Now()
	s.names.now = func() time.Time { return now }
	find := func(name, host string, asked int) {
		t.Helper()
		if place, err := s.names.find(t.Context(), name); err != nil || place.Host != host || c.count() != asked {
			t.Errorf("%s: %+v, %v; asked %d times, want %s and %d", name, place, err, c.count(), host, asked)
		}
	}
	find("attic", "2001:db8::7", 1)
	find("attic", "2001:db8::7", 1)
	find("cellar", "", 2)
	find("cellar", "", 2)
	c.set("attic", "192.0.2.8", 50080)
	find("attic", "2001:db8::7", 2)
	s.Heard([]s4t.Event{{Kind: "board.online"}})
	find("attic", "2001:db8::7", 2)
	s.Heard([]s4t.Event{{Kind: "board.online"}, {Kind: "service.moved"}})
	find("attic", "192.0.2.8", 3)
	c.set("cellar", "192.0.2.9", 50081)
	s.Heard(nil)
	find("cellar", "192.0.2.9", 4)
	now = now.Add(TTL) // and no event
	c.set("attic", "", 0)
	find("attic", "", 5)

	c.away = errors.New("away")
	now = now.Add(time.Minute)
	find("cellar", "192.0.2.9", 6)
	if place, err := s.names.find(t.Context(), "attic"); err == nil {
		t.Errorf("what no service had is told without a conductor: %+v", place)
	}
	if got := told(t, s.answer(t.Context(), ask(t, "attic.svc.example.org.", dnsmessage.TypeA, nil), true)); got != "ServerFailure" {
		t.Error(got)
	}
	now = now.Add(keepStale)
	if place, err := s.names.find(t.Context(), "cellar"); err == nil {
		t.Errorf("told after too long: %+v", place)
	}
	c.away = nil
	for i := range maxUnknown + 1 {
		if _, err := s.names.find(t.Context(), fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.names.unknown); n == 0 || n > maxUnknown {
		t.Errorf("%d names that no service has are remembered", n)
	}
}

// held is a queue that answers when it is let.
type held struct {
	*cloud
	waiting atomic.Int64
	full    chan struct{} // closed when maxAsks wait
	let     chan struct{}
}

func (h *held) Call(ctx context.Context, topic, method string, req, reply any) error {
	if h.waiting.Add(1) == maxAsks {
		close(h.full)
	}
	<-h.let
	return h.cloud.Call(ctx, topic, method, req, reply)
}

// TestNamesThatAreNotThereDoNotKeepOthersFromAnswers: while as many are looked up as may
// be, what is known is told, and one more is "ask again".
func TestNamesThatAreNotThereDoNotKeepOthersFromAnswers(t *testing.T) {
	h := &held{cloud: newCloud(), full: make(chan struct{}), let: make(chan struct{})}
	s := newServer(t, h)
	s.names.note("attic", 0, wire.ServicePlace{Host: "2001:db8::7"})
	var asking sync.WaitGroup
	for i := range maxAsks {
		asking.Go(func() { s.names.find(t.Context(), fmt.Sprint("n", i)) })
	}
	<-h.full
	if _, err := s.names.find(t.Context(), "another"); s4t.KindOf(err) != s4t.TooMany {
		t.Error(err)
	}
	if place, err := s.names.find(t.Context(), "attic"); err != nil || place.Host != "2001:db8::7" {
		t.Errorf("%+v, %v", place, err)
	}
	close(h.let)
	asking.Wait()
}

// run runs a server, until the test ends.
func run(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
}

// TestAResolverFindsServices asks by UDP and by TCP, as programs do.
func TestAResolverFindsServices(t *testing.T) {
	s := newServer(t, newCloud())
	run(t, s)
	for _, network := range []string{"udp", "tcp"} {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
		}}
		if addrs, err := r.LookupHost(t.Context(), "kitchen-ssh.svc.example.org."); err != nil || !slices.Equal(addrs, []string{"192.0.2.7"}) {
			t.Errorf("%s: %v, %v", network, addrs, err)
		}
		if _, srv, err := r.LookupSRV(t.Context(), "kitchen-ssh", "tcp", "svc.example.org."); err != nil || len(srv) != 1 || srv[0].Port != 50022 || srv[0].Target != "kitchen-ssh.svc.example.org." {
			t.Errorf("%s: %v, %v", network, srv, err)
		}
		if addrs, err := r.LookupHost(t.Context(), "cellar.svc.example.org."); err == nil || !err.(*net.DNSError).IsNotFound {
			t.Errorf("%s: %v, %v", network, addrs, err)
		}
	}
	// Connections that say nothing end, and a source has some of them only.
	first, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for range 2 * maxConnsOfSource {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err == nil || s.Limited() == 0 {
		t.Errorf("one source may have any number of connections: %v", err)
	}
}

// TestASourceThatAsksTooMuch is told half of the time to use TCP, in no more bytes than it sent; a
// neighbour is answered.
func TestASourceThatAsksTooMuch(t *testing.T) {
	s := newServer(t, newCloud())
	query := ask(t, "kitchen-ssh.svc.example.org.", dnsmessage.TypeALL, edns(0, 1232))
	greedy, other := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 50), Port: 1}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 51), Port: 1}
	full, short, none := 0, 0, 0
	for range 20 * burst {
		b := s.datagram(t.Context(), query, greedy)
		switch text := told(t, b); {
		case b == nil:
			none++
		case strings.Contains(text, "; tc"):
			if short++; len(b) > len(query) {
				t.Fatalf("%d bytes for %d", len(b), len(query))
			}
		default:
			full++
		}
	}
	if full < burst || short == 0 || none == 0 {
		t.Errorf("%d in full, %d short, %d not", full, short, none)
	}
	if text := told(t, s.datagram(t.Context(), query, other)); !strings.Contains(text, "192.0.2.7") {
		t.Error(text)
	}
}

func TestZonesAndServers(t *testing.T) {
	for _, zone := range []string{"", ".", "a..b", "-a.org", "a_b.org", strings.Repeat("a.", 100) + "org"} {
		if z, err := CheckZone(zone); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %q, %v", zone, z, err)
		}
	}
	for _, name := range []string{"192.0.2.1", "ns.svc.example.org", "svc.example.org", "a b", ""} {
		if err := CheckServers("svc.example.org", []string{name}); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := CheckServers("svc.example.org", []string{"NS1.example.org."}); err != nil {
		t.Error(err)
	}
}

// FuzzQuery sends arbitrary messages: what is answered can be read, is about the same question, and
// is of a bounded size.
func FuzzQuery(f *testing.F) {
	s := newServer(f, newCloud())
	f.Add(ask(f, "kitchen-ssh.svc.example.org.", dnsmessage.TypeA, nil))
	f.Add(ask(f, "_hall._tcp.svc.example.org.", dnsmessage.TypeSRV, edns(0, 1232)))
	f.Add(ask(f, "svc.example.org.", dnsmessage.TypeALL, edns(1, 100)))
	f.Add(ask(f, "example.org.", dnsmessage.TypeAXFR, nil))
	f.Add([]byte("\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		q, _, _ := parse(msg)
		for _, udp := range []bool{true, false} {
			b := s.answer(t.Context(), msg, udp)
			if b == nil {
				continue
			}
			var m dnsmessage.Message
			if err := m.Unpack(b); err != nil {
				t.Fatalf("%x is answered by %x: %v", msg, b, err)
			}
			if !m.Response || m.ID != q.id || len(m.Questions) == 1 && m.Questions[0] != q.question || udp && len(b) > q.size || len(m.Answers) > 2 {
				t.Errorf("%x is answered by %+v, %d bytes", msg, m, len(b))
			}
		}
	})
}
