package wamp

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

const testBoard = s4t.BoardID("3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11")

// pipe is a transport in memory; the test is the cloud's end of it.
type pipe struct {
	in, out chan []byte
	closed  chan struct{}
	once    sync.Once
}

func newPipe() *pipe {
	return &pipe{in: make(chan []byte), out: make(chan []byte, 256), closed: make(chan struct{})}
}

func (p *pipe) Read() ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-p.closed:
		return nil, io.EOF
	}
}

func (p *pipe) Write(b []byte) error {
	select {
	case p.out <- append([]byte(nil), b...):
		return nil
	case <-p.closed:
		return io.ErrClosedPipe
	}
}

func (p *pipe) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

// say sends a message to the board.
func (p *pipe) say(l ...any) { p.in <- Append(nil, list(l)) }

// hear returns what the board said.
func (p *pipe) hear(t *testing.T) list {
	t.Helper()
	l, err := Decode(<-p.out)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func running(t *testing.T) (*Session, *pipe, chan error) {
	p := newPipe()
	s := newSession(p, 1)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	return s, p, ended
}

func TestCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, ended := running(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		kinds := make(chan s4t.Kind, maxPending)
		for range maxPending {
			wg.Go(func() {
				_, err := s.Call(ctx, "u", "")
				kinds <- s4t.KindOf(err)
			})
		}
		synctest.Wait()
		if _, err := s.Call(ctx, "u", ""); s4t.KindOf(err) != s4t.TooMany {
			t.Errorf("call %d gave %v", maxPending+1, err)
		}
		wg.Wait() // a minute later
		for range maxPending {
			if k := <-kinds; k != s4t.Timeout {
				t.Errorf("a call without answer gave %s", k)
			}
		}
		p.say(MsgResult, 1, dict{}) // too late: nobody waits
		p.Close()
		if err := <-ended; s4t.KindOf(err) != s4t.Unavailable || ReasonOf(err) != "" {
			t.Errorf("a lost connection gave %v", err)
		}
		if _, err := s.Call(ctx, "u", ""); s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("a call after the end gave %v", err)
		}
	})
}

// Routers refuse a session whose request ids do not grow one by one.
func TestRequestsArriveInTheOrderOfTheirIds(t *testing.T) {
	s, p, ended := running(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range maxPending {
		wg.Go(func() { s.Call(ctx, "u", "") })
	}
	for want := range maxPending {
		if m := p.hear(t); m[1] != int64(want+1) {
			t.Errorf("request %v arrived in place of %d", m[1], want+1)
		}
	}
	cancel()
	wg.Wait()
	p.Close()
	<-ended
}

func TestGoodbyeOfTheCloudEndsEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, ended := running(t)
		failed := make(chan error, 1)
		go func() {
			_, err := s.Call(t.Context(), "u", "")
			failed <- err
		}()
		p.hear(t)
		p.say(MsgGoodbye, dict{"message": "another board has this key"}, ReasonCloned)
		for _, err := range []error{<-failed, <-ended} {
			if ReasonOf(err) != ReasonCloned || s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "another board") {
				t.Errorf("got %v", err)
			}
		}
		if l := p.hear(t); l[0] != int64(MsgGoodbye) || l[2] != ReasonAck {
			t.Errorf("the board answered %v", l)
		}
	})
}

func TestHandlersAreBoundedAndEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, ended := running(t)
		block := make(chan struct{})
		registered := make(chan error, 1)
		go func() {
			registered <- s.Register(t.Context(), "u", func(ctx context.Context, arg string) (string, error) {
				switch arg {
				case "panic":
					panic("oops")
				case "fast":
					return "done", nil
				}
				select {
				case <-ctx.Done():
					return "", ctx.Err()
				case <-block:
					return "late", nil
				}
			})
		}()
		p.hear(t)
		p.say(MsgRegistered, 1, 7)
		p.say(MsgInvocation, 1, 7, dict{}, list{"fast"}) // at once: the handler is there
		if err := <-registered; err != nil {
			t.Fatal(err)
		}
		if l := p.hear(t); l[0] != int64(MsgYield) || l[3].(list)[0] != "done" {
			t.Errorf("got %v", l)
		}
		p.say(MsgInvocation, 2, 7, dict{}, list{"panic"})
		if l := p.hear(t); l[0] != int64(MsgError) || l[4] != ErrorURI(s4t.Internal) || strings.Contains(l[6].(dict)[ErrorKey].(string), "oops") {
			t.Errorf("a panic gave %v", l)
		}
		for i := range maxInvocations {
			p.say(MsgInvocation, 2000+i, 7, dict{}, list{"block"})
		}
		synctest.Wait()
		p.say(MsgInvocation, 3000, 7, dict{}, list{"fast"}) // it waits for its turn
		for i := range maxInvocations {
			p.say(MsgInterrupt, 2000+i, dict{})
		}
		kinds := map[int64]int{}
		for range maxInvocations + 1 {
			kinds[p.hear(t)[0].(int64)]++
		}
		if kinds[MsgYield] != 1 || kinds[MsgError] != maxInvocations {
			t.Errorf("what waited: %v", kinds)
		}
		for i := range maxInvocations + maxWaiting {
			p.say(MsgInvocation, 10+i, 7, dict{}, list{"block"})
		}
		p.say(MsgInvocation, 1000, 7, dict{}, list{"block"})
		if l := p.hear(t); l[0] != int64(MsgError) || l[4] != ErrorURI(s4t.TooMany) {
			t.Errorf("one too many gave %v", l)
		}
		p.say(MsgInterrupt, 10, dict{})
		if l := p.hear(t); l[0] != int64(MsgError) || l[2] != int64(10) {
			t.Errorf("an interrupt gave %v", l)
		}
		p.Close()
		<-ended // every handler has ended: synctest would tell
	})
}

func TestCloseSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe()
		s := newSession(p, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		cancel()
		if l := p.hear(t); l[0] != int64(MsgGoodbye) {
			t.Errorf("got %v", l)
		}
		start := time.Now()
		p.say(MsgGoodbye, dict{}, ReasonAck)
		if err := <-ended; err != nil || time.Since(start) > 0 {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}

		s, _, ended = running(t)
		synctest.Wait()
		start = time.Now()
		s.Close() // nobody answers
		if err := <-ended; s4t.KindOf(err) != s4t.Unavailable || time.Since(start) != goodbyeWait {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}

		start = time.Now()
		newSession(newPipe(), 1).Close() // nobody reads for it, either
		if took := time.Since(start); took > 0 {
			t.Errorf("Close of a session that never ran took %v", took)
		}
	})
}

// idlePipe is a WebSocket that tells how long it was idle.
type idlePipe struct {
	*pipe
	last time.Time
}

func (p *idlePipe) ReadMessage() (byte, []byte, error)  { b, err := p.Read(); return opBinary, b, err }
func (p *idlePipe) WriteMessage(_ byte, b []byte) error { return p.Write(b) }
func (p *idlePipe) Idle() time.Duration                 { return time.Since(p.last) }

func TestSilenceEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &idlePipe{newPipe(), time.Now()}
		s := newSession(Over[byte](p), 1)
		start := time.Now()
		err := s.Run(t.Context())
		if took := time.Since(start); s4t.KindOf(err) != s4t.Unavailable || took > 10*time.Second || took < s4t.PresenceTimeout {
			t.Errorf("ended after %v with %v", took, err)
		}
	})
}

func TestWhatIsNotWAMPEndsTheSession(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
	}{
		{"garbage", []byte("hello")},
		{"a welcome in a session", Append(nil, list{MsgWelcome, 1, dict{}})},
		{"a message for routers", Append(nil, list{MsgCall, 1, dict{}, "u"})},
		{"an event without topic", Append(nil, list{MsgEvent})},
		{"an invocation with a word for a number", Append(nil, list{MsgInvocation, "x", 1, dict{}})},
		{"arguments that are no list", Append(nil, list{MsgResult, 1, dict{}, "x"})},
		{"an id above 2^53", Append(nil, list{MsgResult, 1<<53 + 1, dict{}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, p, ended := running(t)
			p.in <- tt.b
			if err := <-ended; s4t.KindOf(err) != s4t.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestJoinRefusals(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	challenge := list{MsgChallenge, MethodCryptosign, dict{"challenge": strings.Repeat("00", challengeSize)}}
	welcome := func(authid string, extra dict) list {
		return list{MsgWelcome, 1, dict{"authid": authid, "authextra": extra}}
	}
	board := JoinConfig{Board: testBoard, Key: key}
	code := JoinConfig{Code: "SECRET", Key: key}
	tests := []struct {
		name  string
		cfg   JoinConfig
		cloud []list
		kind  s4t.Kind
		says  string
	}{
		{"no key", JoinConfig{Board: testBoard}, nil, s4t.Invalid, "required"},
		{"an abort with a typed error", board, []list{{MsgAbort, dict{ErrorKey: `{"kind":"too_many","message":"slow down","hint":"wait"}`}, "s4t.error.too_many"}}, s4t.TooMany, "slow down; wait"},
		{"an abort of WAMP's own", board, []list{{MsgAbort, dict{"message": "nope"}, "wamp.error.authentication_failed"}}, s4t.Unauthenticated, "nope"},
		{"a cloud that stops", board, []list{{MsgAbort, dict{}, ReasonShutdown}}, s4t.Unavailable, "shutdown"},
		{"no challenge", board, []list{welcome(string(testBoard), dict{})}, s4t.Invalid, "not with a challenge"},
		{"a short challenge", board, []list{{MsgChallenge, MethodCryptosign, dict{"challenge": "00"}}}, s4t.Invalid, "not 32 bytes"},
		{"garbage", board, []list{{"x"}}, s4t.Invalid, "not understood"},
		{"a welcome for another board", board, []list{challenge, welcome(s4t.NewID(), dict{})}, s4t.Invalid, "takes this board for"},
		{"an identity that is not there", code, []list{challenge, welcome(string(testBoard), dict{})}, s4t.Invalid, "no identity"},
		{"an identity of another board", code, []list{challenge, welcome(string(testBoard), dict{"joined": `{"board":"` + s4t.NewID() + `"}`})}, s4t.Invalid, "no identity"},
		{"a connection that is lost", board, nil, s4t.Unavailable, "lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPipe()
			go func() {
				for _, l := range tt.cloud {
					p.say(l...)
				}
				if tt.cloud == nil {
					p.Close()
				}
			}()
			_, _, err := Join(t.Context(), p, tt.cfg)
			if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v (%s), want %s with %q", err, s4t.KindOf(err), tt.kind, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Error("the code is in the error")
			}
			<-p.closed // Join gives nothing back that is open
		})
	}
}

func TestJoinGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		key := ed25519.NewKeyFromSeed(make([]byte, 32))
		_, _, err := Join(t.Context(), newPipe(), JoinConfig{Board: testBoard, Key: key})
		if s4t.KindOf(err) != s4t.Timeout || time.Since(start) != joinTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestErrorsCross(t *testing.T) {
	uri, text := EncodeError(s4t.Errorf(s4t.NotFound, "find x", "look", "it is not there: %w", errors.New("cause")))
	err := DecodeError("op", uri, text, "")
	if err.Kind != s4t.NotFound || err.Error() != "find x: it is not there: cause; look" {
		t.Errorf("got %v (%s)", err, err.Kind)
	}
	err = DecodeError("call u", "s4t.error.offline", "{broken", "gone")
	if err.Kind != s4t.Offline || err.Error() != "call u: gone" {
		t.Errorf("got %v (%s)", err, err.Kind)
	}
}
