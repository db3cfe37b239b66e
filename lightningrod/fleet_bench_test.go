package lightningrod

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

// fleet is many boards in one process: real sessions, retries and reports,
// without devices, files locked or a socket each. It is a program of bench/scale
// in the form of a benchmark, so that an earlier build's fleet is that build's
// own code.
type fleet struct {
	URL    string   // of the cloud
	URLs   []string // optional: of each of its WAMP agents; the boards begin at each in turn
	CA     string   // PEM
	First  int      // number of the first board; its key and id follow from it
	Boards int
	Dir    string // for their state
	Rate   int    // boards that come a second; 0: all at once

	tries, sessions, online, lost atomic.Int64
	vain                          atomic.Int64 // dials that ended behind their TLS, without a session
}

// BenchmarkFleet runs the fleet that S4T_FLEET describes, in JSON, until its
// input ends. A line of input lets the boards go; four times a second it says how
// many are online, how many tries and sessions there were, and what was begun in vain.
func BenchmarkFleet(b *testing.B) {
	var f fleet
	if err := json.Unmarshal([]byte(os.Getenv("S4T_FLEET")), &f); err != nil {
		b.Skip("bench/scale runs it")
	}
	ctx, cancel := context.WithCancel(context.Background())
	engines := make([]*Engine, f.Boards)
	for i := range engines {
		var err error
		if engines[i], err = f.board(f.First + i); err != nil {
			b.Fatal(err)
		}
	}
	fmt.Println("fleet made")
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	var running sync.WaitGroup
	running.Go(func() {
		for begin, i := time.Now(), 0; i < len(engines); i++ {
			if f.Rate > 0 {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(f.Rate))))
			}
			running.Go(func() { engines[i].tellHealth(ctx) })
			running.Go(func() { engines[i].keepSession(ctx) })
		}
	})
	running.Go(func() {
		for tick := time.NewTicker(250 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			fmt.Println("fleet", time.Now().UnixMilli(), f.online.Load(), f.tries.Load(), f.sessions.Load(), f.lost.Load(), f.vain.Load())
		}
	})
	in.ReadString('\n')
	cancel() // and nobody is waited for: the process ends
}

// board makes one.
func (f *fleet) board(i int) (*Engine, error) {
	seed := sha256.Sum256([]byte("fleet " + strconv.Itoa(i)))
	key := ed25519.NewKeyFromSeed(seed[:])
	dir := filepath.Join(f.Dir, strconv.Itoa(i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	e, err := New(Config{State: dir, SSHDir: f.Dir, Version: "v0"})
	if err != nil {
		return nil, err
	}
	e.health = newHealth(filepath.Join(dir, "none"), dir, "v0") // to read this machine's for each board would cost more than to tell it
	urls := []string{f.URL}
	for k := range min(len(f.URLs), maxKnown) {
		urls = append(urls[:k], f.URLs[(i+k)%len(f.URLs)])
	}
	e.id = Identity{Board: s4t.BoardID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)), Name: "fleet" + strconv.Itoa(i), Key: seed[:],
		URLs: urls, CA: f.CA, TicketKey: key.Public().(ed25519.PublicKey)}
	e.caps = link.Capabilities{}
	from := netip.AddrFrom4([4]byte{127, 1 + byte(i>>14), byte(i >> 6), byte(i&63) + 1})
	cfg := dial.Config{Control: func(_ context.Context, _, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			err = unix.Bind(int(fd), &unix.SockaddrInet4{Addr: from.As4()})
		})
		if cerr != nil {
			return cerr
		}
		return err
	}, Env: func(string) string { return "" }, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		return nil, &net.DNSError{Name: host}
	}}
	cfg.CA = []byte(f.CA)
	cfg.Classical, cfg.OneTry = true, true // as newDialer has it
	dialer, err := dial.New(cfg)
	if err != nil {
		return nil, err
	}
	c := &connector{cfg: connectorConfig{Identity: e.id, Doctor: e.doctor, Log: e.cfg.Log}, dialer: dialer}
	m := &member{fleet: f}
	e.cfg.Ready = func(string, int64) { m.ready() }
	e.openProfile()
	return e, e.build(dialer, func(ctx context.Context, urls []string) (cloud, error) {
		f.tries.Add(1)
		s, err := c.connect(ctx, urls)
		if err != nil {
			early := []string{wire.TCPSilent, wire.TCPRefused, wire.NoRoute, wire.TLSSilent}
			if !errors.Is(err, dial.ErrTurn) && !slices.Contains(early, dial.DiagnosisOf(err)) {
				f.vain.Add(1)
			}
			return nil, err
		}
		return m.open(s), nil
	})
}

// maxKnown is how many WAMP agents a board is told.
const maxKnown = 3

// member is a board as it is counted.
type member struct {
	*fleet

	mu     sync.Mutex // guards the fields below
	opened *counted   // the session that came about last
	live   *counted   // the session that it is online by; nil: it is not
}

// open notes a session.
func (m *member) open(c cloud) cloud {
	m.sessions.Add(1)
	s := &counted{c, m}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened = s
	return s
}

// ready notes that the cloud knows what the board has, by the session that came
// about last.
func (m *member) ready() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.online.Add(1)
	}
	m.live = m.opened
}

// closed notes the end of a session: one that the board has moved from is no
// loss.
func (m *member) closed(c *counted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == c {
		m.live = nil
		m.online.Add(-1)
		m.lost.Add(1)
	}
	if m.opened == c {
		m.opened = m.live
	}
}

// counted is a session that tells of its end.
type counted struct {
	cloud
	member *member
}

// Close implements cloud.
func (c *counted) Close() {
	c.member.closed(c)
	c.cloud.Close()
}
