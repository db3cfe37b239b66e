package cloud

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp/router"
)

// atGate is a connection of nobody, that keeps what it is told.
type atGate struct {
	net.Conn
	told []byte
}

func (c *atGate) SetWriteDeadline(time.Time) error { return nil }

func (c *atGate) Write(b []byte) (int, error) {
	c.told = append(c.told, b...)
	return len(b), nil
}

func TestTheGateLetsInWhatIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		past := router.Arrivals{Pace: goodPace} // neither good nor bad
		g.arrivals = func() router.Arrivals {
			past.Begun += 1000 // all the time
			return past
		}
		one, two := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
		errs := make(chan error, 4096)
		arrive := func(source netip.Prefix) net.Conn {
			c := &atGate{}
			go func() { errs <- g.enter(t.Context(), c, source) }()
			synctest.Wait()
			return c
		}
		set := func(n int, d time.Duration) { // the gate asks with its lock held
			g.mu.Lock()
			past.Beginning, past.Pace = n, d
			g.mu.Unlock()
		}
		now := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.limit
		}
		limit := now()
		var conns []net.Conn
		for range limit {
			conns = append(conns, arrive(one))
		}
		if len(errs) != limit {
			t.Fatalf("%d of %d came in", len(errs), limit)
		}
		for range limit {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		arrive(one)
		if len(errs) != 0 {
			t.Fatal("one too many did not wait")
		}
		arrive(two)
		if err := <-errs; err != nil {
			t.Errorf("who comes from a source with none inside: %v", err)
		}
		g.leave(conns[0])
		synctest.Wait()
		if len(errs) != 0 { // two's is still inside
			t.Error("one too many came in")
		}
		g.leave(conns[1])
		if err := <-errs; err != nil {
			t.Errorf("when there is room: %v", err)
		}
		began := time.Now()
		arrive(one)
		if err := <-errs; s4t.KindOf(err) != s4t.Unavailable || time.Since(began) < waitTime || time.Since(began) > waitTime+2*lookAgain {
			t.Errorf("who waits for nothing, after %v: %v", time.Since(began), err)
		}

		// So many wait that no more may: at once, and the largest source pays.
		for range maxWaiting {
			arrive(one)
		}
		began = time.Now()
		arrive(one)
		if err := <-errs; err == nil || time.Since(began) != 0 {
			t.Errorf("where too many wait: %v after %v", err, time.Since(began))
		}
		arrive(two)
		if err := <-errs; err == nil {
			t.Errorf("one of the largest source goes: %v", err)
		}
		time.Sleep(2 * waitTime)
		synctest.Wait()

		set(maxBeginning, goodPace/2)
		for range 100 {
			time.Sleep(adaptEvery)
			arrive(one)
		}
		if n := now(); n != maxBeginning {
			t.Errorf("where they do not take long, %d may come in", n)
		}
		set(0, 2*badPace)
		for range 100 {
			time.Sleep(adaptEvery)
			arrive(one)
		}
		if n := now(); n != minBeginning {
			t.Errorf("where they take long, %d may come in", n)
		}
		set(0, 2*slowPace)
		for range 100 {
			time.Sleep(adaptEvery)
			arrive(one)
		}
		if n := now(); n != leastBeginning {
			t.Errorf("where they take too long, %d may come in", n)
		}
		time.Sleep(2 * waitTime)
	})
}

// TestABoardIsSentAwayForAlmostNothing: before its handshake is computed, and it
// understands. Who has a ticket, and users, pass.
func TestABoardIsSentAwayForAlmostNothing(t *testing.T) {
	dir := t.TempDir()
	certs := &certs{dir: dir, cas: caDir(dir), hosts: []string{"127.0.0.1"}, now: time.Now, log: discard}
	if err := certs.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := newGate()
	g.arrivals = func() router.Arrivals { return router.Arrivals{Beginning: 2 * maxBeginning} }
	conf := certs.tlsConfig()
	conf.GetConfigForClient = newHandshakes(g).admit
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { c.(*tls.Conn).Handshake(); c.Close() }()
		}
	}()
	d, err := dial.New(dial.Config{CA: []byte(certs.trust().CAs[0]), OneTry: true, Stall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + l.Addr().String()
	_, err = d.Dial(t.Context(), url, "/wamp", "wamp.2.msgpack", "")
	if e, ok := err.(*s4t.Error); !ok || e.Kind != s4t.Unavailable || e.RetryAfter != time.Second {
		t.Errorf("a board: %v", err)
	}
	_, err = d.Dial(t.Context(), url, "/rtunnel", "s4t.port.1", "ticket")
	if e, ok := err.(*s4t.Error); !ok || e.RetryAfter != 0 {
		t.Errorf("an rtunnel is not let in: %v", err)
	}
	user := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}}
	c, err := user.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("a user is not let in: %v", err)
	}
	c.Close()
}
