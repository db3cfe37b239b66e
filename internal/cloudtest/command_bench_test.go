package cloudtest

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// commandBoards are boards that answer commands at once, each over a control channel
// of its own: what a command costs the cloud.
type commandBoards struct {
	cloud  *Cloud
	client *apiclient.Client
	caller wire.Caller
	names  []string
}

// newCommandBoards starts a cloud and so many boards.
func newCommandBoards(b *testing.B, n int) *commandBoards {
	b.Helper()
	c, err := New(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Stop)
	f := &commandBoards{cloud: c}
	if f.client, err = c.Client(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(f.client.Close)
	d, err := dial.New(dial.Config{
		CA: []byte(c.ca), Env: func(string) string { return "" },
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			ip, err := netip.ParseAddr(c.find(Name).IP)
			return []netip.Addr{ip}, err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	b.Cleanup(func() { cancel(); running.Wait() })
	var coming errgroup.Group
	coming.SetLimit(8)
	for i := range n {
		name := fmt.Sprintf("board-%04d", i)
		f.names = append(f.names, name)
		coming.Go(func() error {
			s, id, err := f.join(ctx, d, name)
			if err != nil {
				return err
			}
			running.Go(func() { s.Run(ctx) })
			return serveCommands(ctx, s, id)
		})
	}
	if err := coming.Wait(); err != nil {
		b.Fatal(err)
	}
	f.verify(b)
	return f
}

// verify has the caller resolved anew: what vouches for it lasts a while.
func (f *commandBoards) verify(b *testing.B) {
	b.Helper()
	if err := f.cloud.Queue.Call(b.Context(), wire.TopicOf(wire.MethodVerify), wire.MethodVerify, wire.VerifyRequest{Secret: f.cloud.token}, &f.caller); err != nil {
		b.Fatal(err)
	}
}

// join makes a board and opens its session.
func (f *commandBoards) join(ctx context.Context, d *dial.Dialer, name string) (*wamp.Session, s4t.BoardID, error) {
	made, err := f.client.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(f.cloud.find(Name).address())
	if err != nil {
		return nil, "", err
	}
	conn, err := d.Dial(ctx, "https://"+net.JoinHostPort(Name, port), wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		return nil, "", err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, "", err
	}
	s, _, err := wamp.Join(ctx, wamp.Over(conn), wamp.JoinConfig{Key: key, Code: made.Code})
	return s, made.ID, err
}

// serveCommands begins a session in which commands succeed at once.
func serveCommands(ctx context.Context, s *wamp.Session, id s4t.BoardID) error {
	if err := s.Register(ctx, wamp.BoardURI(id, wamp.CodeAsk), func(_ context.Context, arg string) (string, error) {
		var ask wire.CodeAsk
		if err := json.Unmarshal([]byte(arg), &ask); err != nil {
			return "", err
		}
		if ask.Run == nil {
			return "{}", nil
		}
		now := time.Now()
		state := wire.RunState{ID: ask.Run.ID, Status: s4t.OperationSucceeded, AcceptedAt: now, StartedAt: now, EndedAt: now, Result: json.RawMessage(`{"at":3}`)}
		return string(wire.Encode(wire.CodeAnswer{Runs: []wire.RunState{state}})), nil
	}); err != nil {
		return err
	}
	if _, err := s.Call(ctx, wamp.BoardURI(id, wamp.Connected), `{"instance":"`+s4t.NewID()+`"}`); err != nil {
		return err
	}
	report := wire.CodeReport{Commands: []s4t.Command{{
		Name: "move", Source: s4t.CommandOfPlugin, Plugin: "gate", Timeout: "10s",
		Params: json.RawMessage(`{"type":"object","properties":{"to":{"type":"integer"}},"required":["to"],"additionalProperties":false}`),
		Result: json.RawMessage(`{"type":"object","properties":{"at":{"type":"integer"}},"required":["at"]}`),
	}}}
	_, err := s.Call(ctx, wamp.BoardURI(id, wamp.Code), string(wire.Encode(report)))
	return err
}

// run runs one command, and checks that it succeeded.
func (f *commandBoards) run(ctx context.Context, board string) error {
	req := wire.CommandRun{Caller: f.caller, Board: board, Command: "move", Params: json.RawMessage(`{"to":3}`)}
	var op s4t.Operation
	if err := f.cloud.Queue.Call(ctx, wire.TopicOf(wire.MethodCommandRun), wire.MethodCommandRun, req, &op); err != nil {
		return err
	}
	if op.Status != s4t.OperationSucceeded {
		return fmt.Errorf("%s: %s", op.Status, op.Error)
	}
	return nil
}

// quantiles reports two of how long something took.
func quantiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99} {
		b.ReportMetric(float64(took[int(q*float64(len(took)-1))].Microseconds())/1000, name)
	}
}

// BenchmarkCommand is one command after the other, from the conductor's topic to the
// board and back, recorded on the disk before and after (`make bench-commands`).
func BenchmarkCommand(b *testing.B) {
	f := newCommandBoards(b, 1)
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := f.run(b.Context(), f.names[0]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	quantiles(b, took)
}

// BenchmarkCommands is as many at once as a project may have, on 100 boards.
func BenchmarkCommands(b *testing.B) {
	f := newCommandBoards(b, 100)
	const together = 128
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	var group errgroup.Group
	group.SetLimit(together)
	for i := range b.N {
		group.Go(func() error {
			begin := time.Now()
			err := f.run(b.Context(), f.names[i%len(f.names)])
			took[i] = time.Since(begin)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	quantiles(b, took)
}

// BenchmarkCommandOfAFleet is one command on 1,000 boards.
func BenchmarkCommandOfAFleet(b *testing.B) {
	f := newCommandBoards(b, 1000)
	var took []time.Duration
	for b.Loop() {
		f.verify(b)
		begin := time.Now()
		req := wire.CommandFleet{CommandRun: wire.CommandRun{Caller: f.caller, Command: "move", Params: json.RawMessage(`{"to":3}`)}, Boards: f.names}
		var results wire.CommandResults
		if err := f.cloud.Queue.Call(b.Context(), wire.TopicOf(wire.MethodCommandFleet), wire.MethodCommandFleet, req, &results); err != nil {
			b.Fatal(err)
		}
		for _, op := range results.Items {
			if op.Status != s4t.OperationSucceeded {
				b.Fatalf("%s: %s: %s", op.Run.Board, op.Status, op.Error)
			}
		}
		took = append(took, time.Since(begin))
	}
	quantiles(b, took)
}
