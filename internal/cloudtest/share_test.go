package cloudtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
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

// shares takes each row of the table of docs/security.md to its limit, and
// keeps it there until ctx ends.
var shares = map[string]func(g *greedy){
	"boards":       func(g *greedy) { g.fill(s4t.QuotaBoards, g.makeBoard) },
	"networks":     func(g *greedy) { g.fill(s4t.QuotaNetworks, g.makeBridge) },
	"ports":        func(g *greedy) { g.fill(s4t.QuotaPorts, g.makeBridge) },
	"services":     func(g *greedy) { g.fill(s4t.QuotaServices, g.expose) },
	"public ports": func(g *greedy) { g.fill(s4t.QuotaPublicPorts, g.expose) },
	"users": func(g *greedy) {
		g.fill(s4t.QuotaUsers, func(i int) error {
			_, err := g.admin.CreateUser(g.ctx, apiclient.UserCreate{Name: "greedy" + strconv.Itoa(i), Project: "greedy", Role: s4t.RoleReader})
			return err
		})
	},
	"tokens": func(g *greedy) {
		g.fill(s4t.QuotaTokens, func(int) error {
			_, err := g.client.CreateToken(g.ctx, apiclient.TokenCreate{Expires: "1h"})
			return err
		})
	},
	"streams": func(g *greedy) {
		g.quota(s4t.QuotaStreams, 4)
		g.many(16, g.visit)
	},
	"watchers": func(g *greedy) {
		g.quota(s4t.QuotaWatchers, 8)
		g.many(24, func() error {
			s, err := g.client.Events(g.ctx, apiclient.EventsOptions{After: 1, Once: true})
			if err != nil {
				return err
			}
			defer s.Close()
			for range s.All() {
			}
			return s.Err()
		})
	},
	"requests": func(g *greedy) {
		g.many(64, func() error { _, err := g.client.Boards(g.ctx, nil, ""); return err })
	},
	"questions": func(g *greedy) {
		g.session(true)
		g.many(32, func() error { _, err := g.client.DoctorBoard(g.ctx, g.board); return err })
	},
	"bodies": func(g *greedy) {
		g.many(64, func() error { return g.unfinished("/v1/boards", g.token, 1<<20) })
	},
	"bodies of logins": func(g *greedy) {
		g.many(64, func() error { return g.unfinished("/v1/login", "", 8<<10) })
	},
	"connections": func(g *greedy) {
		g.many(600, func() error {
			c, err := g.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			defer context.AfterFunc(g.ctx, func() { c.Close() })()
			io.Copy(io.Discard, c)
			return io.EOF
		})
	},
	"handshakes": func(g *greedy) {
		g.many(8, func() error {
			c, err := g.dialTLS("http/1.1")
			if err == nil {
				c.Close()
				time.Sleep(10 * time.Millisecond)
			}
			return err
		})
	},
	"logins": func(g *greedy) {
		client := g.clientFrom("")
		g.many(32, func() error {
			_, err := client.Login(g.ctx, apiclient.Login{User: "nobody-" + s4t.NewID()[:8], Password: "wrong wrong wrong"})
			return err
		})
	},
	"codes": func(g *greedy) {
		g.many(8, func() error { return g.join(wamp.JoinConfig{Key: g.key, Code: "wrong-" + s4t.NewID()}, nil) })
	},
	"sessions": func(g *greedy) {
		g.many(8, func() error {
			return g.join(wamp.JoinConfig{Board: g.id, Key: g.key}, func(s *wamp.Session) { s.Run(g.ctx) })
		})
	},
	"calls of a board": func(g *greedy) {
		g.session(false, func(s *wamp.Session) {
			g.many(64, func() error { _, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Desired), "{}"); return err })
		})
	},
	"rtunnels": func(g *greedy) {
		g.session(false, func(s *wamp.Session) {
			g.many(16, func() error {
				text, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Ticket), `{"purpose":"streams","count":4}`)
				if err != nil {
					return err
				}
				return g.rtunnels(text)
			})
		})
	},
	"visitors": func(g *greedy) { g.many(64, g.visit) },
	"history": func(g *greedy) {
		g.many(4, func() error {
			name := "h" + s4t.NewID()[:8]
			if _, err := g.client.CreateBoard(g.ctx, apiclient.BoardCreate{Name: name}); err != nil {
				return err
			}
			return g.client.DeleteBoard(g.ctx, name)
		})
	},
	"refusals": func(g *greedy) {
		g.many(16, func() error {
			_, err := g.client.CreateProject(g.ctx, apiclient.ProjectCreate{Name: "mine"})
			return err
		})
	},
	"lines of the log": func(g *greedy) {
		client := g.clientFrom("s4t_" + s4t.NewID())
		g.many(16, func() error { _, err := client.Boards(g.ctx, nil, ""); return err })
	},
}

// rows are the first columns of the table, and what it says of each.
func rows(t *testing.T) (names []string, text map[string]string) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(page), "| what is shared |")
	if !ok {
		t.Fatal("docs/security.md has no table of what is shared")
	}
	text = map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || strings.HasPrefix(line, "|--") {
			if len(names) > 0 && !strings.HasPrefix(line, "|") {
				break
			}
			continue
		}
		name := strings.TrimSpace(cells[1])
		names, text[name] = append(names, name), line
	}
	return names, text
}

// TestWhoTakesAllLeavesOthersServed: with each row of the table of what is
// shared at its limit for one project, board or stranger, a neighbour's requests
// are answered, its board is online and its public port answers. With S4T_P99
// set, the requests' p99 is at most three times that in calm: `make test-faults`
// sets it, as the time of a test on a busy machine says nothing.
func TestWhoTakesAllLeavesOthersServed(t *testing.T) {
	names, text := rows(t)
	for name := range shares {
		if text[name] == "" {
			t.Errorf("docs/security.md has no row %q", name)
		}
	}
	for key, limit := range s4t.DefaultQuota {
		if row := text[strings.ReplaceAll(string(key), "_", " ")]; !strings.Contains(row, "| "+strconv.FormatInt(limit, 10)+" ") || !strings.Contains(row, "`--quota "+string(key)+"=N`") {
			t.Errorf("docs/security.md does not say %d of quota %s: %q", limit, key, row)
		}
	}
	public, err := FreePorts(12)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Dir: t.TempDir(), PublicPorts: public})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	admin, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	n := newNeighbour(t, c, admin)
	calm := n.served(t, "in calm")
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			take := shares[name]
			if take == nil {
				t.Fatalf("no test takes %q to its limit", name)
			}
			g := newGreedy(t, c, admin, "127.0.10."+strconv.Itoa(i+1))
			take(g)
			p99 := n.served(t, "beside it")
			g.letGo()
			if os.Getenv("S4T_P99") != "" {
				t.Logf("p99 %v, in calm %v", p99, calm)
				if p99 > 3*calm {
					t.Errorf("p99 is %v, in calm %v", p99, calm)
				}
			}
		})
	}
}

// neighbour is who is to be served.
type neighbour struct {
	client  *apiclient.Client
	service s4t.Service
	cloud   *Cloud
}

const password = "correct horse battery"

// member makes a project with a member and returns a token of theirs.
func member(t *testing.T, admin *apiclient.Client, project string) string {
	t.Helper()
	ctx := t.Context()
	if _, err := admin.CreateProject(ctx, apiclient.ProjectCreate{Name: project}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateUser(ctx, apiclient.UserCreate{Name: project, Project: project, Role: s4t.RoleMember, Password: password}); err != nil {
		t.Fatal(err)
	}
	token, err := admin.Login(ctx, apiclient.Login{User: project, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return token.Secret
}

func newNeighbour(t *testing.T, c *Cloud, admin *apiclient.Client) *neighbour {
	n := &neighbour{cloud: c}
	var err error
	if n.client, err = c.clientFrom("127.0.9.1", member(t, admin, "neighbour")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.client.Close)
	made, err := n.client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "good"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Enrol(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	n.service = exposed(t, n.client, "good", serveGreeting(t))
	return n
}

// exposed waits for a board and exposes a port of it.
func exposed(t *testing.T, client *apiclient.Client, board string, tcpPort int) s4t.Service {
	t.Helper()
	if _, err := client.WaitBoard(t.Context(), board, s4t.BoardOnline); err != nil {
		t.Fatal(err)
	}
	o, err := client.ExposeService(t.Context(), board, apiclient.ServiceExpose{Service: strconv.Itoa(tcpPort)})
	if err == nil {
		o, err = client.WaitOperation(t.Context(), o.ID, nil)
	}
	if err == nil {
		err = apiclient.Failed(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Services(t.Context(), board)
	if err != nil || len(s) != 1 {
		t.Fatal(s, err)
	}
	return s[0]
}

// served fails unless all that a neighbour asks for is done, and returns the p99
// of its requests.
func (n *neighbour) served(t *testing.T, when string) time.Duration {
	t.Helper()
	var took []time.Duration
	note := func(what string, do func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if err := do(ctx); err != nil {
			t.Errorf("%s %s: %v", what, when, err)
		}
		took = append(took, time.Since(start))
	}
	for range 40 {
		note("its board is online", func(ctx context.Context) error {
			b, err := n.client.Board(ctx, "good")
			if err == nil && b.Status != s4t.BoardOnline {
				err = fmt.Errorf("it is %s", b.Status)
			}
			return err
		})
		note("a board is made", func(ctx context.Context) error {
			_, err := n.client.CreateBoard(ctx, apiclient.BoardCreate{Name: "passing"})
			return err
		})
		note("and deleted", func(ctx context.Context) error { return n.client.DeleteBoard(ctx, "passing") })
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	note("its public port answers", func(ctx context.Context) error {
		conn, err := n.cloud.From("127.0.9.1")(ctx, "tcp", net.JoinHostPort(n.service.Host, strconv.Itoa(n.service.PublicPort)))
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		if err == nil && string(text) != greeting {
			err = fmt.Errorf("it says %q", text)
		}
		return err
	})
	note("it logs in", func(ctx context.Context) error {
		_, err := n.client.Login(ctx, apiclient.Login{User: "neighbour", Password: password})
		return err
	})
	return p99
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
	bridges, err := g.client.Bridges(ctx)
	fail(err)
	for _, b := range bridges {
		o, err := g.client.DeleteBridge(ctx, string(b.ID))
		if err == nil {
			_, err = g.client.WaitOperation(ctx, o.ID, nil)
		}
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

// many does something n times at once, again and again. Who is refused comes
// again soon. It returns when each has begun.
func (g *greedy) many(n int, do func() error) {
	for range n {
		g.doing.Go(func() {
			for g.ctx.Err() == nil {
				if do() != nil {
					select {
					case <-g.ctx.Done():
					case <-time.After(50 * time.Millisecond):
					}
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
	return apiclient.New(apiclient.Config{URL: url(Name), Token: token, CA: c.ca, Dial: c.From(source), Timeout: 20 * time.Second})
}
