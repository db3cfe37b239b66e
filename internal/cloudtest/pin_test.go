package cloudtest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// pinned is a board of which there is nothing but its pins. Its sessions go to the
// WAMP agent that a test says.
type pinned struct {
	t     *testing.T
	cloud *Cloud
	id    s4t.BoardID
	key   ed25519.PrivateKey
	asked chan wire.PinAsk
	came  chan s4t.Sample // of others
	*wamp.Session
}

// patience is how long anything may take on a machine that is busy with other
// things.
const patience = 30 * time.Second

func newPinned(t *testing.T, c *Cloud, client *apiclient.Client, name string) *pinned {
	t.Helper()
	made, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	b := &pinned{t: t, cloud: c, id: made.ID, asked: make(chan wire.PinAsk, 1024), came: make(chan s4t.Sample, 1024)}
	_, b.key, _ = ed25519.GenerateKey(nil)
	s, stop := b.join("wamp-agent-1", wamp.JoinConfig{Key: b.key, Code: made.Code})
	s.Close()
	stop()
	return b
}

// join opens a session at an agent.
func (b *pinned) join(agent string, cfg wamp.JoinConfig) (*wamp.Session, func()) {
	b.t.Helper()
	p, err := newProxy(b.cloud.Dial)
	if err != nil {
		b.t.Fatal(err)
	}
	d, err := dial.New(dial.Config{CA: []byte(b.cloud.ca), Proxy: p.url()})
	if err != nil {
		b.t.Fatal(err)
	}
	conn, err := d.Dial(b.t.Context(), url(agent+"."+Name), wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		b.t.Fatal(err)
	}
	s, _, err := wamp.Join(b.t.Context(), wamp.Over(conn), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return s, func() { conn.Close(); p.close() }
}

// connect begins a session at an agent; the one before is not told.
func (b *pinned) connect(agent string) {
	b.t.Helper()
	s, closed := b.join(agent, wamp.JoinConfig{Board: b.id, Key: b.key})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	b.t.Cleanup(func() { cancel(); <-ended; closed() })
	for name, h := range map[string]wamp.Handler{
		wamp.Ping: func(context.Context, string) (string, error) { return "{}", nil },
		wamp.PinsAsk: func(_ context.Context, arg string) (string, error) {
			var ask wire.PinAsk
			if err := json.Unmarshal([]byte(arg), &ask); err != nil {
				return "", err
			}
			b.asked <- ask
			return string(wire.Encode(wire.PinAnswer{Samples: []s4t.Sample{{Pin: "sim/demo/out"}}})), nil
		},
		wamp.PinsSamples: func(_ context.Context, arg string) (string, error) {
			var req wire.PinSamples
			var list []s4t.Sample
			if err := json.Unmarshal([]byte(arg), &req); err != nil {
				return "", err
			}
			err := json.Unmarshal(req.Samples, &list)
			for _, s := range list {
				b.came <- s
			}
			return "{}", err
		},
	} {
		if err := s.Register(b.t.Context(), wamp.BoardURI(b.id, name), h); err != nil {
			b.t.Fatal(err)
		}
	}
	b.Session = s
	if err := b.call(wamp.Connected, wire.BoardConnected{Instance: "the same"}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *pinned) call(name string, arg any) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	_, err := b.Call(ctx, wamp.BoardURI(b.id, name), string(wire.Encode(arg)))
	return err
}

// send sends samples of these numbers.
func (b *pinned) send(from, to int) {
	b.t.Helper()
	for seq := from; seq < to; seq++ {
		if err := b.call(wamp.Samples, wire.PinSamples{Samples: json.RawMessage(fmt.Sprintf(`[{"pin":"sim/demo/out","seq":%d}]`, seq))}); err != nil {
			b.t.Fatalf("sample %d: %v", seq, err)
		}
	}
}

func soon[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
		panic("unreachable")
	}
}

// TestABoardMovesBetweenAgentsWhileItIsWatched, by an API process and by a board at
// another agent: whoever asks again has every sample, in order. Of each role there
// are two, and one conductor is killed.
func TestABoardMovesBetweenAgentsWhileItIsWatched(t *testing.T) {
	c, err := New(Config{Dir: t.TempDir(), Conductors: 2, APIs: 1, WAMPAgents: 2, TunnelAgents: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	gate, hub := newPinned(t, c, client, "gate"), newPinned(t, c, client, "hub")

	ask := func(method string, req any) (a wire.PinAnswer, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err = c.Queue.Call(ctx, wire.TopicPins, method, req, &a)
		return a, err
	}
	var caller wire.Caller
	if err := c.Queue.Call(t.Context(), wire.TopicOf(wire.MethodVerify), wire.MethodVerify, wire.VerifyRequest{Secret: c.token}, &caller); err != nil {
		t.Fatal(err)
	}
	got := make(chan s4t.Sample, 1024)
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer func() { cancel(); serving.Wait() }()
	serving.Go(func() {
		c.Queue.Serve(ctx, wire.TopicAPIPins, "test", 4, queue.Mux{wire.MethodPinsSamples: queue.Handle(func(_ context.Context, req wire.PinSamples) (wire.Empty, error) {
			var list []s4t.Sample
			err := json.Unmarshal(req.Samples, &list)
			for _, s := range list {
				got <- s
			}
			return wire.Empty{}, err
		})}.Serve)
	})
	watch := func(after map[string]uint64) {
		t.Helper()
		w := wire.PinWatch{Caller: caller, Board: string(gate.id), After: after, Sink: wire.Sink{Topic: wire.TopicAPIPins + ".test"}}
		if _, err := ask(wire.MethodPinWatch, w); err != nil {
			t.Fatal(err)
		}
		if told := soon(t, "what is watched", gate.asked); told.Do != wire.PinWatched || !told.All || told.After["sim/demo/out"] != after["sim/demo/out"] {
			t.Errorf("the board hears %+v", told)
		}
		if err := hub.call(wamp.Remote, wire.PinRemote{Watch: &wire.PinWatch{Board: "gate", After: after}}); err != nil {
			t.Fatal(err)
		}
		soon(t, "what is watched", gate.asked)
	}
	come := func(from, to uint64) {
		t.Helper()
		for seq := from; seq < to; seq++ {
			for who, c := range map[string]chan s4t.Sample{"the API": got, "the board": hub.came} {
				if s := soon(t, "a sample", c); s.Seq != seq {
					t.Fatalf("%s got sample %d, want %d", who, s.Seq, seq)
				}
			}
		}
	}
	hub.connect("wamp-agent-1")
	read := wire.PinRequest{Caller: caller, Board: "gate", Ask: wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/demo/out"}}}
	if _, err := ask(wire.MethodPinAsk, read); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("before it is there: %v", err)
	}
	for i, agent := range []string{"wamp-agent-1", "wamp-agent-2", "wamp-agent-1"} {
		old := gate.Session
		gate.connect(agent)
		watch(map[string]uint64{"sim/demo/out": uint64(10 * i)})
		if i == 1 {
			c.Process("conductor-1").Kill()
		}
		gate.send(10*i, 10*i+10)
		come(uint64(10*i), uint64(10*i+10))
		if _, err := ask(wire.MethodPinAsk, read); err != nil {
			t.Errorf("at %s: %v", agent, err)
		}
		soon(t, "the question", gate.asked)
		if old != nil { // nobody hears it any more
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if _, err := old.Call(ctx, wamp.BoardURI(gate.id, wamp.Samples), `{"samples":[{"pin":"sim/demo/out","seq":99}]}`); err == nil {
				t.Error("samples of its old session are taken")
			}
			cancel()
		}
	}
	c.Process("wamp-agent-1").Kill()
	if _, err := ask(wire.MethodPinAsk, read); err == nil {
		t.Error("a board without an agent answers")
	}
	if len(got)+len(hub.came) > 0 {
		t.Errorf("%d and %d samples came twice", len(got), len(hub.came))
	}
}
