package cloudtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

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
	"leases": func(g *greedy) {
		begins := time.Now().Add(time.Hour)
		g.fill(s4t.QuotaLeases, func(i int) error {
			from := begins.Add(time.Duration(i) * time.Minute)
			_, err := g.client.CreateLease(g.ctx, apiclient.LeaseCreate{Boards: []string{g.board}, From: &from, For: 60})
			return err
		})
	},
	"offers": func(g *greedy) {
		token, err := g.admin.CreateToken(g.ctx, apiclient.TokenCreate{Project: "greedy", Role: s4t.RoleManager})
		if err != nil {
			g.t.Fatal(err)
		}
		manager := g.clientFrom(token.Secret)
		g.t.Cleanup(manager.Close)
		g.fill(s4t.QuotaOffers, func(i int) error {
			_, err := manager.CreateOffer(g.ctx, apiclient.OfferCreate{Name: "greedy" + strconv.Itoa(i), Boards: []string{g.board}})
			return err
		})
	},
	"fleets": func(g *greedy) {
		g.fill(s4t.QuotaFleets, func(i int) error {
			_, err := g.client.CreateFleet(g.ctx, apiclient.FleetCreate{Name: "greedy" + strconv.Itoa(i)})
			return err
		})
	},
	"plugins": func(g *greedy) {
		g.fill(s4t.QuotaPlugins, func(i int) error {
			packed, size := packPlugin(g.t)
			digest, err := g.client.PutBundle(g.ctx, packed, size, nil)
			if err != nil {
				return err
			}
			key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
			_, err = g.client.CreatePlugin(g.ctx, "greedy"+strconv.Itoa(i), digest, key.Public().(ed25519.PublicKey), bundle.Sign(key, digest))
			return err
		})
	},
	"bundle bytes": func(g *greedy) {
		g.fill(s4t.QuotaBundleBytes, func(i int) error {
			_, err := g.client.PutBundle(g.ctx, strings.NewReader(strings.Repeat("x", i+1)), int64(i+1), nil)
			return err
		})
	},
	"bundles under way": func(g *greedy) {
		g.many(16, func() error {
			part := s4t.NewID() + strings.Repeat("x", wire.MaxBundlePart)
			_, err := g.client.PutBundle(g.ctx, strings.NewReader(part), int64(len(part)), nil)
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
	"DNS queries": func(g *greedy) {
		p := g.cloud.Process("iotronic")
		name := "neighbour-" + g.source[strings.LastIndexByte(g.source, '.')+1:]
		if _, err := g.client.UpdateService(g.ctx, "real", string(g.service.ID), apiclient.ServiceUpdate{DNSName: &name}); err != nil {
			g.t.Fatal(err)
		}
		g.many(64, func() error {
			_, err := p.Resolver(g.source).LookupHost(g.ctx, s4t.NewID()+".svc.test.")
			return err
		})
		ctx, cancel := context.WithTimeout(g.ctx, time.Minute)
		defer cancel()
		for {
			_, found, err := p.Resolver("127.0.0.1").LookupSRV(ctx, name, "tcp", "svc.test.")
			if err == nil && len(found) == 1 && int(found[0].Port) == g.service.PublicPort {
				return
			}
			if ctx.Err() != nil {
				g.t.Fatalf("another source is not answered: %v, %v", found, err)
			}
		}
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
	"requests about pins": func(g *greedy) {
		g.pinSession(func(ctx context.Context) { <-ctx.Done() }, nil)
		g.many(64, func() error { _, err := g.client.ReadPin(g.ctx, g.board, "sim/demo/out"); return err })
	},
	"requests about commands": func(g *greedy) {
		g.many(128, func() error { _, err := g.client.Commands(g.ctx, g.board); return err })
	},
	"questions about pins": func(g *greedy) {
		g.pinSession(func(ctx context.Context) { <-ctx.Done() }, nil)
		ask := g.askPins(wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/demo/out"}})
		g.many(200, func() error { return g.conduct(wire.MethodPinAsk, ask) })
	},
	"watchers of a board": func(g *greedy) {
		g.pinSession(nil, nil)
		g.many(32, func() error {
			w := wire.PinWatch{Caller: g.caller(), Board: g.board, Sink: wire.Sink{Topic: wire.TopicAPIPins + "." + s4t.NewID()}}
			return g.conduct(wire.MethodPinWatch, w)
		})
	},
	"samples": func(g *greedy) {
		g.pinSession(nil, func(s *wamp.Session) {
			text := `{"samples":["` + strings.Repeat("x", 900<<10) + `"]}`
			g.many(16, func() error { _, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Samples), text); return err })
		})
	},
	"pins": func(g *greedy) {
		g.session(false, func(s *wamp.Session) {
			g.many(4, func() error {
				pins := make([]s4t.Pin, s4t.MaxPins)
				for i := range pins {
					pins[i] = s4t.Pin{Name: fmt.Sprintf("sim/demo/%d", i), Guarantee: s4t.NewID()}
				}
				_, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Pins), string(wire.Encode(wire.PinReport{Pins: &pins})))
				return err
			})
		})
	},
	"values written for a time": func(g *greedy) {
		g.pinSession(nil, nil)
		ask := g.askPins(wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"sim/demo/out": 1}, For: time.Hour})
		g.many(16, func() error { return g.conduct(wire.MethodPinAsk, ask) })
	},
	"commands": func(g *greedy) {
		g.codeSession(func(ctx context.Context, _ wire.CodeAsk) wire.CodeAnswer { <-ctx.Done(); return wire.CodeAnswer{} }, nil)
		run := g.command()
		g.many(300, func() error { return g.conduct(wire.MethodCommandRun, run) })
		fleet := wire.CommandFleet{CommandRun: run, Boards: []string{g.board}}
		g.many(4, func() error { return g.conduct(wire.MethodCommandFleet, fleet) })
	},
	"open commands": func(g *greedy) {
		g.codeSession(func(_ context.Context, ask wire.CodeAsk) wire.CodeAnswer {
			if ask.Run == nil {
				return wire.CodeAnswer{}
			}
			return wire.CodeAnswer{Runs: []wire.RunState{{ID: ask.Run.ID, Status: s4t.OperationStarted, StartedAt: time.Now()}}}
		}, nil)
		run := g.command()
		run.Async = true
		g.many(64, func() error { return g.conduct(wire.MethodCommandRun, run) })
	},
	"reports of commands": func(g *greedy) {
		g.session(false, func(s *wamp.Session) {
			g.many(4, func() error {
				report := wire.CodeReport{}
				for i := range s4t.MaxCommands {
					report.Commands = append(report.Commands, s4t.Command{Name: fmt.Sprintf("c%d", i), Source: s4t.CommandOfOwner, Description: s4t.NewID(), Timeout: "1s"})
				}
				_, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Code), string(wire.Encode(report)))
				return err
			})
			g.many(4, func() error {
				report := wire.RunReport{}
				for range 500 {
					report.Runs = append(report.Runs, wire.RunState{ID: s4t.OperationID(s4t.NewID()), Status: s4t.OperationSucceeded})
				}
				_, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Runs), string(wire.Encode(report)))
				return err
			})
		})
	},
	"lines": func(g *greedy) {
		feed := wire.Feed{Topic: wire.TopicAPIFeeds + ".nobody", ID: s4t.NewID()}
		follow := wire.FeedFollow{Caller: g.caller(), Board: g.board, Plugin: "p", Feed: feed}
		g.codeSession(func(context.Context, wire.CodeAsk) wire.CodeAnswer { return wire.CodeAnswer{} }, func(s *wamp.Session) {
			text := string(wire.Encode(wire.FeedLines{Feed: feed, Lines: []s4t.LogLine{{Text: strings.Repeat("x", 900<<10)}}}))
			g.many(16, func() error { _, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Lines), text); return err })
		})
		g.many(32, func() error {
			another := follow
			another.Feed.ID = s4t.NewID()
			g.conduct(wire.MethodFeedFollow, another)
			return g.conduct(wire.MethodFeedFollow, follow)
		})
	},
	"recordings": func(g *greedy) {
		on := true
		if _, err := g.admin.UpdateProject(g.ctx, "greedy", apiclient.ProjectUpdate{RecordTerminals: &on}); err != nil {
			g.t.Fatal(err)
		}
		recorded := make(chan error, 1)
		g.session(false, func(s *wamp.Session) {
			id, err := g.record(s)
			recorded <- err
			var at atomic.Int64
			data := strings.Repeat("x", s4t.MaxRecordingPart-1) + "\n"
			g.many(64, func() error {
				part := wire.RecordingPart{ID: id, Offset: at.Load(), Data: data}
				_, err := s.Call(g.ctx, wamp.BoardURI(g.id, wamp.Recording), string(wire.Encode(part)))
				if err == nil {
					at.CompareAndSwap(part.Offset, part.Offset+int64(len(data)))
				}
				return err
			})
		})
		if err := <-recorded; err != nil {
			g.t.Fatal(err)
		}
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
	c, err := New(Config{Dir: t.TempDir(), PublicPorts: public, DNSZone: "svc.test"})
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := do(ctx); err != nil {
			t.Errorf("%s %s: %v", what, when, err)
		}
		took = append(took, time.Since(start))
	}
	rounds := 4
	if os.Getenv("S4T_P99") != "" {
		rounds = 60
	}
	for range rounds {
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

// packPlugin makes the bundle of a plugin that does nothing.
func packPlugin(t testing.TB) (*bytes.Reader, int64) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"plugin.toml": "name = \"idle\"\nversion = \"1\"\nruntime = \"exec\"\nkind = \"job\"\nentry = \"run\"\n", "run": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if _, _, err := bundle.Pack(dir, &packed); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(packed.Bytes()), int64(packed.Len())
}
