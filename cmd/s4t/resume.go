package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel/resume"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

const (
	quietFor   = 3 * time.Second // a loss that is mended within it is not spoken of
	firstRetry = 200 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// lifeline opens the connections of one stream of a board, one after the other.
type lifeline struct {
	app    *app
	client *apiclient.Client
	dial   stream.Dialer
	board  string
	req    apiclient.StreamOpen
}

// streamName names a stream that can be resumed: who does not know it cannot, and
// the board asks for the user besides.
func streamName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}

// open asks for a ticket and opens a connection, within the command's timeout.
func (l *lifeline) open(ctx context.Context) (*stream.Stream, wire.StreamGrant, error) {
	ctx, cancel := context.WithTimeout(ctx, l.app.timeout)
	defer cancel()
	grant, err := l.client.OpenStream(ctx, l.board, l.req)
	if err != nil {
		return nil, grant, err
	}
	conn, err := stream.Dial(ctx, l.dial, grant.URL, grant.Ticket)
	return conn, grant, err
}

// carry copies in both directions over conn, and over others where it is lost, until
// both have ended.
func (l *lifeline) carry(ctx context.Context, conn *stream.Stream) error {
	local := &console{in: l.app.stdin, out: greeting{to: l.app.stdout}}
	err := l.carryLocal(ctx, conn, func(s *resume.Stream) { local.stream = s }, local)
	if refused := local.out.refusal(); refused != nil {
		return refused
	}
	return err
}

// carryLocal is carry for any local end, which hears of its stream first.
func (l *lifeline) carryLocal(ctx context.Context, conn *stream.Stream, begin func(*resume.Stream), local stream.HalfCloser) error {
	held := &late{HalfCloser: local, begun: make(chan struct{})}
	s := resume.New(held, resume.Window, true)
	begin(s)
	close(held.begun)
	defer context.AfterFunc(ctx, func() { s.Abort(s4t.Errorf(s4t.Timeout, "connect", "", "interrupted")) })()
	defer onHangup(func() { s.Abort(errHungUp) })()
	for {
		lost := s.Carry(abrupt{conn})
		select {
		case <-s.Done():
			if err := s.Err(); err != nil && err != errHungUp {
				return streamEnd(err)
			}
			return nil
		default:
		}
		var err error
		if conn, err = l.resume(ctx, s, lost); err != nil {
			s.Abort(err)
			if err == errHungUp {
				return nil
			}
			return err
		}
	}
}

// late is a local end that is not used before it knows its stream.
type late struct {
	stream.HalfCloser
	begun chan struct{}
}

// CloseWrite implements stream.HalfCloser.
func (l *late) CloseWrite() error {
	<-l.begun
	return l.HalfCloser.CloseWrite()
}

// errHungUp ends a stream whose user has gone.
var errHungUp = errors.New("the user hung up")

// onHangup calls f at a SIGHUP, which ssh sends its ProxyCommand at its own end:
// who died of it, or of writing to nobody, could not tell the board, which would keep
// the stream for a while.
func onHangup(f func()) (stop func()) {
	signal.Ignore(syscall.SIGPIPE)      // writing fails instead
	if signal.Ignored(syscall.SIGHUP) { // as under nohup
		return func() {}
	}
	hup, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		select {
		case <-hup:
			f()
		case <-over:
		}
	}()
	return func() {
		signal.Stop(hup)
		close(over)
	}
}

// abrupt is a connection whose Close waits for nobody.
type abrupt struct{ *stream.Stream }

// Close implements io.Closer.
func (a abrupt) Close() error { return a.Conn().Close() }

// resume opens another connection for s. The user is told where that takes long.
func (l *lifeline) resume(ctx context.Context, s *resume.Stream, lost error) (*stream.Stream, error) {
	began := time.Now()
	told := false
	ctx, cancel := context.WithTimeout(ctx, resume.HoldTime)
	defer cancel()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		l.req.Again = true
		conn, grant, err := l.open(ctx)
		if s4t.KindOf(err) == s4t.NotFound && !s.Started() {
			// The board has not heard of it: the connection before was lost too early.
			l.req.Resumable, l.req.Again = streamName(), false
			conn, grant, err = l.open(ctx)
		}
		switch {
		case err == nil && !grant.Resumable:
			conn.Close()
			return nil, s4t.Errorf(s4t.Unavailable, "resume the connection", "connect again", "the board cannot resume it any more")
		case err == nil:
			if told {
				l.tell("the connection goes on, after %s", time.Since(began).Round(time.Second))
			}
			return conn, nil
		case ctx.Err() != nil:
			return nil, streamEnd(lost)
		case final(err):
			return nil, err
		}
		if !told && time.Since(began) > quietFor {
			told = true
			l.tell("the connection was lost (%s); it is tried again for %s", oneLine(err.Error()), resume.HoldTime)
		}
		select {
		case <-ctx.Done():
		case <-s.Done():
			return nil, s.Err()
		case <-time.After(wait):
		}
	}
}

// final reports whether another try can only fail alike.
func final(err error) bool {
	switch s4t.KindOf(err) {
	case s4t.NotFound, s4t.Forbidden, s4t.Unauthenticated, s4t.Invalid, s4t.Conflict:
		return true
	}
	return false
}

// tell says a line to the user, whose terminal may be in raw mode.
func (l *lifeline) tell(format string, args ...any) {
	end := "\n"
	if isTerminal(l.app.stderr) {
		end = "\r\n"
	}
	io.WriteString(l.app.stderr, "s4t: "+fmt.Sprintf(format, args...)+end)
}

// console is standard input and output as one end of a stream.
type console struct {
	in     io.Reader
	out    greeting
	stream *resume.Stream
}

// Read implements io.Reader.
func (c *console) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements io.Writer. A reader that has gone is the user who hung up.
func (c *console) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errHungUp
	}
	return n, err
}

// CloseWrite is the end of the board's bytes, for whoever reads ours. On a terminal,
// nobody is there to answer after it: it is over then.
func (c *console) CloseWrite() error {
	if isTerminal(c.in) {
		c.stream.CloseWrite()
	}
	if f, ok := c.out.to.(*os.File); ok {
		return f.Close()
	}
	return nil
}

// Close implements io.Closer: the process ends soon, and its input with it.
func (c *console) Close() error { return nil }
