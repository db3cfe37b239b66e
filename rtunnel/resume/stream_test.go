package resume_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/resume"
	"github.com/stack4things/s4t/rtunnel/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair returns both ends of a TCP connection.
func tcpPair(t testing.TB) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// ends are a user's stream and a board's, and what is beyond them: the user's
// program and the board's service.
type ends struct {
	user, board   *resume.Stream
	program, serv *net.TCPConn
}

func newEnds(t testing.TB, window int) ends {
	program, a := tcpPair(t)
	serv, b := tcpPair(t)
	return ends{user: resume.New(a, window, true), board: resume.New(b, window, false), program: program, serv: serv}
}

// carry joins both over one connection, which is cut after some bytes from the user, if limit
// is not negative. It returns when both ends have left it.
func (e ends) carry(t testing.TB, limit int64) {
	u, far := tcpPair(t)
	far2, b := tcpPair(t)
	var both sync.WaitGroup
	both.Go(func() { e.user.Carry(u) })
	both.Go(func() { e.board.Carry(b) })
	var between sync.WaitGroup
	between.Go(func() {
		if limit < 0 {
			io.Copy(far2, far)
			far2.CloseWrite()
			return
		}
		io.CopyN(far2, far, limit)
		far2.Close()
		far.Close()
	})
	between.Go(func() {
		io.Copy(far, far2)
		far.CloseWrite()
	})
	both.Wait()
	between.Wait()
	far.Close()
	far2.Close()
}

// TestNothingIsLost cuts connections after any number of bytes: all that either side
// writes arrives, once and in order, and both see the end.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		up := make([]byte, rapid.IntRange(0, 300_000).Draw(rt, "up"))
		down := make([]byte, rapid.IntRange(0, 300_000).Draw(rt, "down"))
		rnd := rand.NewChaCha8([32]byte{1})
		rnd.Read(up)
		rnd.Read(down)
		cuts := rapid.SliceOfN(rapid.Int64Range(0, 200_000), 0, 4).Draw(rt, "cuts")
		e := newEnds(t, resume.SmallWindow)
		var running sync.WaitGroup
		var gotUp, gotDown []byte
		running.Go(func() { e.program.Write(up); e.program.CloseWrite() })
		running.Go(func() { e.serv.Write(down); e.serv.CloseWrite() })
		running.Go(func() { gotUp, _ = io.ReadAll(e.serv) })
		running.Go(func() { gotDown, _ = io.ReadAll(e.program) })
		for _, cut := range cuts {
			e.carry(t, cut)
		}
		e.carry(t, -1)
		running.Wait()
		e.program.Close()
		e.serv.Close()
		<-e.user.Done()
		<-e.board.Done()
		if !bytes.Equal(up, gotUp) || !bytes.Equal(down, gotDown) {
			rt.Fatalf("%d bytes of %d came up, %d of %d down", len(gotUp), len(up), len(gotDown), len(down))
		}
		if e.user.Err() != nil || e.board.Err() != nil {
			rt.Fatal(e.user.Err(), e.board.Err())
		}
	})
}

// TestANewConnectionReplacesTheOld: the one before is dead for one end only.
func TestANewConnectionReplacesTheOld(t *testing.T) {
	e := newEnds(t, resume.SmallWindow)
	old, silent := tcpPair(t)
	var running sync.WaitGroup
	running.Go(func() { e.board.Carry(old) })
	if _, err := silent.Read(make([]byte, 1)); err != nil { // it has begun; nobody reads more
		t.Fatal(err)
	}
	e.serv.Write([]byte("hello"))
	running.Go(func() { e.carry(t, -1) })
	got := make([]byte, 5)
	if _, err := io.ReadFull(e.program, got); err != nil || string(got) != "hello" {
		t.Fatal(string(got), err)
	}
	e.program.Close()
	e.serv.Close()
	<-e.user.Done()
	<-e.board.Done()
	running.Wait()
	silent.Close()
}

// TestAServiceThatReadsAfterItHasWritten: what is acknowledged passes it.
func TestAServiceThatReadsAfterItHasWritten(t *testing.T) {
	e := newEnds(t, resume.SmallWindow)
	var running sync.WaitGroup
	running.Go(func() { e.carry(t, -1) })
	const size = 8 << 20 // more than all buffers hold
	running.Go(func() {
		io.CopyN(e.serv, e.serv, size) // an echo
		e.serv.CloseWrite()
	})
	sent, got := sha256.New(), sha256.New()
	running.Go(func() {
		b := make([]byte, 1000)
		for n := 0; n < size; n += len(b) {
			b = b[:min(len(b), size-n)]
			rand.NewChaCha8([32]byte{byte(n)}).Read(b)
			sent.Write(b)
			e.program.Write(b)
		}
		e.program.CloseWrite()
	})
	if n, err := io.Copy(got, e.program); n != size || err != nil {
		t.Fatal(n, err)
	}
	running.Wait()
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("it is not the same")
	}
	e.program.Close()
	e.serv.Close()
}

// TestAReset: a service that breaks off is seen as such, by the next connection too.
func TestAReset(t *testing.T) {
	e := newEnds(t, resume.SmallWindow)
	e.serv.SetLinger(0)
	e.serv.Close()
	<-e.board.Done()
	e.carry(t, -1)
	<-e.user.Done()
	if err := e.user.Err(); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	if _, err := e.program.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	e.program.Close()
}

// TestABoardThatSaysNonsense ends the stream, rather than try for ever.
func TestABoardThatSaysNonsense(t *testing.T) {
	e := newEnds(t, resume.SmallWindow)
	u, far := tcpPair(t)
	far.Write([]byte("SSH-2.0-OpenSSH\r\n"))
	err := e.user.Carry(u)
	if s4t.KindOf(err) != s4t.Invalid || s4t.KindOf(e.user.Err()) != s4t.Invalid {
		t.Error(err, e.user.Err())
	}
	far.Close()
	e.program.Close()
	e.board.Abort(err)
	e.serv.Close()
}

// service is a TCP service of a board, of which each connection comes on a channel.
func service(t *testing.T) (dial func() (stream.HalfCloser, error), served chan *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	served = make(chan *net.TCPConn, 300)
	return func() (stream.HalfCloser, error) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		s, err := l.Accept()
		if err != nil {
			return nil, err
		}
		served <- s.(*net.TCPConn)
		return c.(*net.TCPConn), nil
	}, served
}

func TestKeeper(t *testing.T) {
	k := resume.NewKeeper(time.Hour)
	dial, served := service(t)
	id := resume.ID{Name: "a", User: "u", Target: "x:1"}
	other := id
	other.User = "v"

	if _, err := k.Open(id, true, dial); s4t.KindOf(err) != s4t.NotFound {
		t.Error("a stream that never was is resumed:", err)
	}
	first, err := k.Open(id, false, dial)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Open(id, false, dial); s4t.KindOf(err) != s4t.Conflict {
		t.Error("two of one name:", err)
	}
	if _, err := k.Open(other, true, dial); s4t.KindOf(err) != s4t.NotFound {
		t.Error("another user resumes it:", err)
	}

	program, a := tcpPair(t)
	user := resume.New(a, resume.Window, true)
	lost := make(chan error, 1)
	go func() { lost <- user.Carry(first) }()
	program.Write([]byte("one"))
	s := <-served
	b := make([]byte, 3)
	io.ReadFull(s, b)
	first.Close()
	if err := <-lost; err == nil {
		t.Error("the stream has ended")
	}
	again, err := k.Open(id, true, dial)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- user.Carry(again) }()
	program.Write([]byte("two"))
	if _, err := io.ReadFull(s, b); err != nil || string(b) != "two" {
		t.Error(string(b), err)
	}
	program.CloseWrite()
	s.Close()
	if err := <-over; err != nil {
		t.Error(err)
	}
	again.Close()
	program.Close()
	k.Close()
	if _, err := k.Open(id, false, dial); s4t.KindOf(err) != s4t.Unavailable {
		t.Error("a closed Keeper opens:", err)
	}
}

// TestWhatIsOpenBySomethingThatIsOver ends with it, also where nobody carries it; nobody resumes it.
func TestWhatIsOpenBySomethingThatIsOver(t *testing.T) {
	k := resume.NewKeeper(time.Hour)
	dial, served := service(t)
	ids := []resume.ID{{Name: "a", User: "u", Target: "x:1", By: "night"}, {Name: "b", User: "u", Target: "x:1", By: "day"}, {Name: "c", User: "u", Target: "x:1"}}
	var ends []io.Closer
	for _, id := range ids {
		c, err := k.Open(id, false, dial)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, c, <-served)
	}
	k.DropBy(func(by string) bool { return by == "night" }, errors.New("the night is over"))
	for i, id := range ids {
		c, err := k.Open(id, true, dial)
		if gone := s4t.KindOf(err) == s4t.NotFound; gone != (i == 0) {
			t.Errorf("%+v is resumed: %v", id, err)
		}
		if err == nil {
			ends = append(ends, c)
		}
	}
	for _, c := range ends {
		c.Close()
	}
	k.Close()
}

// TestWhoTakesAllStreams: the one that nobody came back for makes room, a user's own first.
func TestWhoTakesAllStreams(t *testing.T) {
	k := resume.NewKeeper(time.Hour)
	dial, served := service(t)
	var open []stream.HalfCloser
	id := func(i int) resume.ID { return resume.ID{Name: string(rune('A' + i)), User: "u", Target: "x:1"} }
	for i := range 64 {
		c, err := k.Open(id(i), false, dial)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := k.Open(id(64), false, dial); s4t.KindOf(err) != s4t.TooMany {
		t.Error("a user has more than its share:", err)
	}
	c, err := k.Open(resume.ID{Name: "a", User: "v", Target: "x:1"}, false, dial)
	if err != nil {
		t.Error("another user has none:", err)
	}
	open = append(open, c)
	open[3].Close()
	first := <-served
	for range 3 {
		first.Close()
		first = <-served
	}
	for { // until the Keeper knows
		c, err := k.Open(id(64), false, dial)
		if err == nil {
			open = append(open, c)
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the one that nobody came back for lives")
	}
	if _, err := k.Open(id(3), true, dial); s4t.KindOf(err) != s4t.NotFound {
		t.Error("it can be resumed:", err)
	}
	for _, c := range open {
		c.Close()
	}
	k.Close()
	first.Close()
	for len(served) > 0 {
		(<-served).Close()
	}
}

// TestForget: a stream that nobody comes back for ends.
func TestForget(t *testing.T) {
	k := resume.NewKeeper(time.Millisecond)
	dial, served := service(t)
	c, err := k.Open(resume.ID{Name: "a"}, false, dial)
	if err != nil {
		t.Fatal(err)
	}
	s := <-served
	c.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	s.Close()
	k.Close()
}

// BenchmarkBulk moves bytes of a service to a user's program, over loopback all the way.
func BenchmarkBulk(b *testing.B) {
	e := newEnds(b, resume.Window)
	var running sync.WaitGroup
	running.Go(func() { e.carry(b, -1) })
	chunk := make([]byte, 256<<10)
	b.SetBytes(int64(len(chunk)))
	running.Go(func() {
		for range b.N {
			e.serv.Write(chunk)
		}
		e.serv.CloseWrite()
	})
	if n, err := io.Copy(io.Discard, e.program); n != int64(b.N*len(chunk)) || err != nil {
		b.Fatal(n, err)
	}
	e.program.Close()
	running.Wait()
	e.serv.Close()
}
