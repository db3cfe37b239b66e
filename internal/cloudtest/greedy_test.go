package cloudtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// greedy is who takes what is shared, from an address of its own.
type greedy struct {
	t       *testing.T
	cloud   *Cloud
	source  string // its address
	admin   *apiclient.Client
	client  *apiclient.Client // a member of project "greedy"
	token   string            // theirs
	ctx     context.Context   // ends when it has to let go
	cancel  context.CancelFunc
	doing   sync.WaitGroup
	service s4t.Service // of its board, whose target holds what connects
	key     ed25519.PrivateKey
	id      s4t.BoardID // of a board that answers nothing; key is its
	board   string      // its name
}

func newGreedy(t *testing.T, c *Cloud, admin *apiclient.Client, source string) *greedy {
	g := &greedy{t: t, cloud: c, admin: admin, source: source}
	g.ctx, g.cancel = context.WithCancel(t.Context())
	t.Cleanup(func() { g.letGo(); g.forget() })
	g.token = member(t, admin, "greedy")
	g.client = g.clientFrom(g.token)
	for _, key := range s4t.QuotaKeys() {
		g.quota(s4t.QuotaKey(key), 200) // history has room
	}
	hold := g.holds()
	made, err := g.client.CreateBoard(g.ctx, apiclient.BoardCreate{Name: "real"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Enrol(g.ctx, made)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(); os.RemoveAll(b.state) })
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	g.service = exposed(t, g.client, "real", hold)
	if made, err = g.client.CreateBoard(g.ctx, apiclient.BoardCreate{Name: "silent"}); err != nil {
		t.Fatal(err)
	}
	g.board = made.Name
	_, g.key, _ = ed25519.GenerateKey(nil)
	if err := g.join(wamp.JoinConfig{Key: g.key, Code: made.Code}, nil); err != nil {
		t.Fatal(err)
	}
	g.id = made.ID
	return g
}

// letGo ends all that it does.
func (g *greedy) letGo() {
	g.cancel()
	g.doing.Wait()
}

// forget deletes all that it has made.
func (g *greedy) forget() {
	g.t.Helper()
	ctx := context.WithoutCancel(g.t.Context())
	fail := func(err error) {
		if err != nil {
			g.t.Error(err)
		}
	}
	plugins, err := g.client.Plugins(ctx)
	fail(err)
	for _, p := range plugins {
		fail(g.client.DeletePlugin(ctx, string(p.ID), ""))
	}
	bridges, err := g.client.Bridges(ctx)
	fail(err)
	for _, b := range bridges {
		o, err := g.client.DeleteBridge(ctx, string(b.ID))
		if err == nil {
			_, err = g.client.WaitOperation(ctx, o.ID, nil)
		}
		fail(err)
	}
	fleets, err := g.client.Fleets(ctx)
	fail(err)
	for _, f := range fleets {
		fail(g.client.DeleteFleet(ctx, string(f.ID)))
	}
	offers, err := g.client.OfferList().All(ctx)
	fail(err)
	for _, o := range offers {
		fail(g.admin.DeleteOffer(ctx, string(o.ID)))
	}
	leases, err := g.client.LeaseList().All(ctx)
	fail(err)
	for _, l := range leases {
		_, err := g.client.ReleaseLease(ctx, string(l.ID))
		fail(err)
	}
	boards, err := g.client.Boards(ctx, nil, "")
	fail(err)
	for _, b := range boards {
		fail(g.client.DeleteBoard(ctx, string(b.ID)))
	}
	users, err := g.admin.Users(ctx)
	fail(err)
	for _, u := range users {
		if strings.HasPrefix(u.Name, "greedy") {
			fail(g.admin.DeleteUser(ctx, u.Name))
		}
	}
	fail(g.admin.DeleteProject(ctx, "greedy"))
	g.client.Close()
}

// many does something n times at once, again and again, each ten times a second:
// the limit is to be reached, not the CPU that this process shares with the
// cloud. It returns when each has begun.
func (g *greedy) many(n int, do func() error) {
	for range n {
		g.doing.Go(func() {
			for g.ctx.Err() == nil {
				do()
				select {
				case <-g.ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}

// quota sets what the project may have.
func (g *greedy) quota(key s4t.QuotaKey, limit int64) {
	g.t.Helper()
	if _, err := g.admin.UpdateProject(g.ctx, "greedy", apiclient.ProjectUpdate{Quota: map[s4t.QuotaKey]*int64{key: &limit}}); err != nil {
		g.t.Fatal(err)
	}
}

// fill makes things until the quota is full, and checks what is said then.
func (g *greedy) fill(key s4t.QuotaKey, do func(i int) error) {
	g.t.Helper()
	for i := range 12 {
		if i == 4 {
			p, err := g.client.Project(g.ctx, "greedy")
			if err != nil {
				g.t.Fatal(err)
			}
			g.quota(key, p.Quota[key].Used+1)
		}
		err := do(i)
		if err == nil {
			continue
		}
		if s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "uses") || !strings.Contains(err.Error(), "admin") {
			g.t.Fatalf("more %s than allowed: %v", key, err)
		}
		p, err := g.client.Project(g.ctx, "greedy")
		if err != nil || p.Quota[key].Used > p.Quota[key].Limit {
			g.t.Fatalf("%+v %v", p.Quota[key], err)
		}
		return
	}
	g.t.Fatalf("no quota of %s", key)
}

func (g *greedy) makeBoard(i int) error {
	_, err := g.client.CreateBoard(g.ctx, apiclient.BoardCreate{Name: "board" + strconv.Itoa(i)})
	return err
}

func (g *greedy) makeBridge(i int) error {
	_, err := g.client.CreateBridge(g.ctx, apiclient.BridgeCreate{Name: "bridge" + strconv.Itoa(i), Boards: []string{"silent"}})
	return err
}

func (g *greedy) expose(i int) error {
	_, err := g.client.ExposeService(g.ctx, "silent", apiclient.ServiceExpose{Service: strconv.Itoa(8000 + i)})
	return err
}

func (g *greedy) dial() (net.Conn, error) {
	return g.cloud.From(g.source)(g.ctx, "tcp", net.JoinHostPort(Name, tcpPort))
}

func (g *greedy) dialTLS(proto string) (net.Conn, error) {
	raw, err := g.dial()
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
	if err := c.HandshakeContext(g.ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (g *greedy) clientFrom(token string) *apiclient.Client {
	g.t.Helper()
	client, err := g.cloud.clientFrom(g.source, token)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(client.Close)
	return client
}

// unfinished sends a body that does not end.
func (g *greedy) unfinished(path, token string, length int) error {
	c, err := g.dialTLS("http/1.1")
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(g.ctx, func() { c.Close() })()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\n\r\n", path, Name, length, token)
	c.Write(bytes.Repeat([]byte(" "), length/2))
	io.Copy(io.Discard, c)
	return io.EOF
}

// visit connects to the public port of its service and stays.
func (g *greedy) visit() error {
	c, err := g.cloud.From(g.source)(g.ctx, "tcp", net.JoinHostPort(g.service.Host, strconv.Itoa(g.service.PublicPort)))
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(g.ctx, func() { c.Close() })()
	io.Copy(io.Discard, c)
	return io.EOF
}

// holds is a TCP service that says nothing.
func (g *greedy) holds() (tcpPort int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { io.Copy(io.Discard, c); c.Close() })
		}
	})
	g.t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// dialer dials as a board does.
func (g *greedy) dialer() (*dial.Dialer, func(), error) {
	p, err := newProxy(g.cloud.From(g.source))
	if err != nil {
		return nil, nil, err
	}
	d, err := dial.New(dial.Config{CA: []byte(g.cloud.ca), Proxy: p.url()})
	return d, p.close, err
}

// join opens a session, gives it to then, and closes it.
func (g *greedy) join(cfg wamp.JoinConfig, then func(*wamp.Session)) error {
	d, done, err := g.dialer()
	if err != nil {
		return err
	}
	defer done()
	conn, err := d.Dial(g.ctx, url(Name), wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		return err
	}
	defer conn.Close()
	s, _, err := wamp.Join(g.ctx, wamp.Over(conn), cfg)
	if err != nil {
		return err
	}
	if then != nil {
		then(s)
	} else {
		s.Close()
	}
	return nil
}

// session opens a session of the silent board in which `doctor`, where it is
// there, is never answered, and gives it to then when it is connected.
func (g *greedy) session(doctor bool, then ...func(*wamp.Session)) {
	connected := make(chan error, 1)
	g.doing.Go(func() {
		err := g.join(wamp.JoinConfig{Board: g.id, Key: g.key}, func(s *wamp.Session) {
			ended := make(chan struct{})
			go func() { defer close(ended); s.Run(g.ctx) }()
			if doctor {
				if err := s.Register(g.ctx, wamp.BoardURI(g.id, wamp.Doctor), func(ctx context.Context, _ string) (string, error) {
					<-ctx.Done()
					return "", ctx.Err()
				}); err != nil {
					g.t.Error(err)
				}
			}
			_, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Connected), `{"instance":"`+s4t.NewID()+`"}`)
			connected <- err
			for _, f := range then {
				f(s)
			}
			<-ended
		})
		if err != nil {
			connected <- err
		}
	})
	if err := <-connected; err != nil {
		g.t.Fatal(err)
	}
}

// pinSession opens a session of the silent board in which it answers questions about
// its pins, after hold where that is there.
func (g *greedy) pinSession(hold func(ctx context.Context), then func(*wamp.Session)) {
	registered := make(chan error, 1)
	g.session(false, func(s *wamp.Session) {
		registered <- s.Register(g.ctx, wamp.BoardURI(g.id, wamp.PinsAsk), func(ctx context.Context, _ string) (string, error) {
			if hold != nil {
				hold(ctx)
			}
			return "{}", ctx.Err()
		})
		if then != nil {
			then(s)
		}
	})
	if err := <-registered; err != nil {
		g.t.Fatal(err)
	}
}

// codeSession opens a session of the silent board in which it has a command "wait"
// and answers as answer says.
func (g *greedy) codeSession(answer func(ctx context.Context, ask wire.CodeAsk) wire.CodeAnswer, then func(*wamp.Session)) {
	ready := make(chan error, 1)
	g.session(false, func(s *wamp.Session) {
		err := s.Register(g.ctx, wamp.BoardURI(g.id, wamp.CodeAsk), func(ctx context.Context, arg string) (string, error) {
			var ask wire.CodeAsk
			if err := json.Unmarshal([]byte(arg), &ask); err != nil {
				return "", err
			}
			return string(wire.Encode(answer(ctx, ask))), ctx.Err()
		})
		if err == nil {
			_, err = s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Code), `{"commands":[{"name":"wait","source":"owner","timeout":"1h"}]}`)
		}
		ready <- err
		if then != nil {
			then(s)
		}
	})
	if err := <-ready; err != nil {
		g.t.Fatal(err)
	}
}

// command is the run of that command.
func (g *greedy) command() wire.CommandRun {
	return wire.CommandRun{Caller: g.caller(), Board: g.board, Command: "wait"}
}

// caller is who its token is of.
func (g *greedy) caller() (c wire.Caller) {
	g.t.Helper()
	if err := g.cloud.Queue.Call(g.ctx, wire.TopicOf(wire.MethodVerify), wire.MethodVerify, wire.VerifyRequest{Secret: g.token}, &c); err != nil && g.ctx.Err() == nil {
		g.t.Error(err)
	}
	return c
}

// record has a terminal of the silent board opened that is recorded, and returns its recording.
func (g *greedy) record(s *wamp.Session) (s4t.RecordingID, error) {
	report := wire.BoardReport{Seq: 1, Info: &s4t.BoardInfo{Terminal: "root", Resumes: true, Records: true}}
	if _, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Report), string(wire.Encode(report))); err != nil {
		return "", err
	}
	if err := g.conduct(wire.MethodStreamOpen, wire.StreamOpen{Caller: g.caller(), Board: g.board, Terminal: true, Resumable: strings.Repeat("0a", 16)}); err != nil {
		return "", err
	}
	all, err := g.admin.Recordings(g.ctx)
	if err != nil {
		return "", err
	}
	for _, r := range all {
		if r.BoardID == g.id {
			return r.ID, nil
		}
	}
	return "", errors.New("the silent board has no recording")
}

// askPins is what it asks of the silent board's pins.
func (g *greedy) askPins(ask wire.PinAsk) wire.PinRequest {
	return wire.PinRequest{Caller: g.caller(), Board: g.board, Ask: ask}
}

// conduct asks the conductor, past the API, which has shares of its own.
func (g *greedy) conduct(method string, req any) error {
	return g.cloud.Queue.Call(g.ctx, wire.TopicOf(method), method, req, nil)
}

// rtunnels opens one with each ticket, and keeps them.
func (g *greedy) rtunnels(text string) error {
	var tickets wire.BoardTickets
	if err := json.Unmarshal([]byte(text), &tickets); err != nil {
		return err
	}
	d, done, err := g.dialer()
	if err != nil {
		return err
	}
	defer done()
	var open sync.WaitGroup
	defer open.Wait()
	for _, ticket := range tickets.Tickets {
		conn, err := d.Dial(g.ctx, url(Name), rtunnel.Path, rtunnel.SubprotocolStreams, ticket)
		if err != nil {
			return err
		}
		open.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(g.ctx, func() { conn.Close() })()
			conn.ReadMessage()
		})
	}
	return nil
}

// clientFrom is a client with a token whose connections come from an address.
func (c *Cloud) clientFrom(source, token string) (*apiclient.Client, error) {
	return apiclient.New(apiclient.Config{URL: url(Name), Token: token, CA: c.ca, Dial: c.From(source), Timeout: time.Minute})
}
