package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// brokerPatience bounds what several processes do, on a machine however busy.
const brokerPatience = time.Minute

// carryTo has an address of a host lead to a socket of this machine's, where the
// tests' brokers and databases listen: a TCP port or the path of a Unix socket.
func carryTo(t *testing.T, h *netlab.Host, addr, to string) {
	t.Helper()
	l, err := h.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	network := "tcp"
	if filepath.IsAbs(to) {
		network = "unix"
	}
	ctx, cancel := context.WithCancel(context.Background())
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			c, err := net.Dial(network, to)
			if err != nil {
				from.Close()
				continue
			}
			end := func() { from.Close(); c.Close() }
			context.AfterFunc(ctx, end)
			carrying.Go(func() { defer end(); io.Copy(c, from) })
			carrying.Go(func() { defer end(); io.Copy(from, c) })
		}
	})
	t.Cleanup(func() { l.Close(); cancel(); carrying.Wait() })
}

// heard fails unless so many agents are there, and online.
func heard(t *testing.T, c *cloudlab.Cloud, want int) error {
	t.Helper()
	var agents []s4t.Agent
	if err := c.JSON(t.Context(), &agents, "agent", "list"); err != nil {
		return err
	}
	for _, a := range agents {
		if a.Status != s4t.AgentOnline {
			return fmt.Errorf("%s is %s", a.ID, a.Status)
		}
	}
	if len(agents) != want {
		return fmt.Errorf("there are %d agents, want %d", len(agents), want)
	}
	return nil
}

// TestProcessesOverRabbitMQ runs a cloud of six processes over RabbitMQ and
// PostgreSQL: two of conductors, WAMP agents and tunnel agents each. Boards join, are
// bridged and reached by SSH; the broker is killed under a ping, comes back, and all goes on.
func TestProcessesOverRabbitMQ(t *testing.T) {
	t.Parallel()
	lab := newLab(t, 2)
	node := rabbittest.Own(t)
	const port = "127.0.0.1:5672"
	carryTo(t, lab.Cloud, port, node.Addr())
	q, err := url.Parse(node.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	q.Host = port
	cloudURL := func(port int) string { return fmt.Sprintf("https://%s:%d", netlab.CloudAddr, port) }
	db := pgtest.URL(t)

	// The second conductor starts with the first: they have to agree on one CA and
	// one admin. The agents start before there is a conductor to speak with.
	start := func(name string, listen int, args ...string) *netlab.Process {
		t.Helper()
		p, err := lab.Cloud.Start(name, nil, append([]string{filepath.Join(bin, "iotronic"), "serve", "--name", name, "--queue", q.String(),
			"--listen", fmt.Sprintf("%s:%d", netlab.CloudAddr, listen)}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	conductor := []string{"--role", "api,conductor", "--database", db}
	agents := []*netlab.Process{
		start("w1", 8813, "--role", "wamp-agent"),
		start("w2", 8814, "--role", "wamp-agent", "--advertise", cloudURL(8814)),
		start("t1", 8815, "--role", "tunnel-agent", "--public-ports", "50000-50099"),
		start("t2", 8816, "--role", "tunnel-agent", "--public-ports", "50100-50199"),
	}
	second := start("c2", 8817, append(conductor, "--data", filepath.Join(lab.Dir, "c2"))...)
	c := &cloudlab.Cloud{Lab: lab, Bin: bin, Data: filepath.Join(lab.Dir, "iotronic-data"), Listen: netlab.CloudAddr + ":8812", Args: append(conductor, "--name", "c1", "--queue", q.String())}
	showLogs(t, c)
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	for i, p := range append(agents, second) {
		line, err := p.WaitLine("ready ", 0, brokerPatience)
		if err != nil {
			t.Fatal(err)
		}
		if want := cloudURL(8813 + i); line != "ready "+want {
			t.Errorf("%s says %q, want %s", p.Name, line, want)
		}
	}
	var users []s4t.User
	s4tJSON(t, c, &users, "user", "list")
	if len(users) != 1 {
		t.Errorf("two conductors that start at once make %d users", len(users))
	}
	within(t, brokerPatience, "the status lists every process", func() error {
		var s cloud.Status
		out, err := lab.Cloud.Run(t.Context(), filepath.Join(bin, "iotronic"), "status", "--database", db, "-o", "json")
		if err == nil {
			err = json.Unmarshal([]byte(out), &s)
		}
		want := map[string]bool{"wamp-agent-w1": true, "wamp-agent-w2": true, "tunnel-agent-t1": true, "tunnel-agent-t2": true, "conductor-c1": true, "conductor-c2": true, "api-c1": true, "api-c2": true}
		for _, p := range s.Processes {
			if !p.Online {
				return fmt.Errorf("%s is %s", p.Name, p.Status)
			}
			delete(want, p.Name)
		}
		if err == nil && len(want) > 0 {
			err = fmt.Errorf("%v are missing", want)
		}
		return err
	})
	// Each conductor's context is good for the other: one CA, and both tokens are known.
	other := *c
	other.Data = filepath.Join(lab.Dir, "c2")
	s4tJSON(t, &other, &users, "user", "list")

	joinBoards(t, c, 2)
	create := func(name string) (string, s4t.Bridge) {
		t.Helper()
		var b s4t.Bridge
		s4tJSON(t, c, &b, "bridge", "create", name, "--board", "board1", "--board", "board2")
		to := addressOf(t, b, "board2", false)
		within(t, brokerPatience, "first ping on "+name, func() error { return ping(t.Context(), c.Boards[0].Host, to) })
		return to, b
	}
	began := time.Now()
	to, _ := create("one")
	t.Logf("request to first ping: %v (with process starts)", time.Since(began).Round(time.Millisecond))
	d := sshd(t, c.Boards[0])
	overSSH := func() {
		t.Helper()
		within(t, brokerPatience, "ssh", func() error {
			out, err := c.S4T(t.Context(), "ssh", "board1", "--user", "root", "--identity", d.Key, "--ssh-option", "BatchMode=yes", "--", "echo", "hello")
			if err == nil && !strings.Contains(out, "hello") {
				err = fmt.Errorf("it says %q", out)
			}
			return err
		})
	}
	overSSH()

	// What flows does not need the broker, for as long as the agents' leases last.
	pinging := startPinger(t, c.Boards[0].Host, to)
	node.Kill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	began = time.Now()
	if _, err := c.S4T(ctx, "board", "list"); err == nil {
		t.Error("a request without a broker succeeds")
	}
	cancel()
	t.Logf("a request without a broker ended after %v", time.Since(began).Round(time.Millisecond))
	node.Restart(t)
	began = time.Now()
	within(t, brokerPatience, "a request after the broker's restart", func() error {
		_, err := c.S4T(t.Context(), "board", "list")
		return err
	})
	t.Logf("requests are answered %v after the broker listens again", time.Since(began).Round(time.Millisecond))
	// A broker that was away for long has made all agents silent: what is asked for
	// before they are heard again is refused, and says so.
	within(t, brokerPatience, "all agents are heard", func() error { return heard(t, c, 4) })
	for _, b := range c.Boards {
		within(t, brokerPatience, b.Name+" is online", func() error { return status(t, c, b.Name, s4t.BoardOnline) })
	}
	sent, lost := pinging.stop(t)
	t.Logf("%d pings, %d lost while the broker was away", sent, lost)
	create("two")
	overSSH()

	// Any one conductor is enough.
	second.Kill()
	create("three")
}
