package lightningrod

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

func TestJoinKeepsAnIdentityPinnedToTheCloud(t *testing.T) {
	c := newTestCloudFrom(t, time.Now().AddDate(30, 0, 0)) // this board's clock is decades behind
	state := filepath.Join(t.TempDir(), "state")
	id, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("kitchen")})
	if err != nil {
		t.Fatal(err)
	}
	if id.Board != boardA || id.Name != "kitchen" || !strings.Contains(id.CA, "BEGIN CERTIFICATE") {
		t.Errorf("identity = %+v", id)
	}
	kept, err := stateDir(state).identity()
	if err != nil || !bytes.Equal(kept.Key, id.Key) {
		t.Errorf("on disk: %v, %v", kept, err)
	}
	if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "leave") {
		t.Errorf("joining again: %v, want a conflict that says leave", err)
	}
}

func TestJoinAgainAfterALostAnswer(t *testing.T) {
	c := newTestCloud(t)
	c.loseAnswer = true
	state := t.TempDir()
	if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); err == nil {
		t.Fatal("the first join succeeded")
	}
	if stateDir(state).joined() {
		t.Fatal("there is an identity without an answer")
	}
	if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := Join(t.Context(), JoinConfig{State: t.TempDir(), Join: c.joinString("")}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("another board with the same code: %v, want a conflict", err)
	}
}

func TestJoinIsRefusedWithItsReason(t *testing.T) {
	c := newTestCloud(t)
	other := newTestCloud(t)
	for _, tt := range []struct {
		name  string
		join  string
		board string // --name
		kind  s4t.Kind
		says  string
	}{
		{"not a join string", "hello", "", s4t.Invalid, "s4t board create"},
		{"cut short", c.joinString("")[:40], "", s4t.Invalid, "cut short"},
		{"another name than the code's", c.joinString("kitchen"), "garden", s4t.Invalid, "kitchen"},
		{"a name that is none", c.joinString(""), "-x", s4t.Invalid, "name"},
		{"a code that does not exist", s4t.JoinString{URLs: []string{c.url}, Code: "BAD", Fingerprint: c.fingerprint}.String(), "", s4t.NotFound, "code"},
		{"another CA than the join string's", s4t.JoinString{URLs: []string{c.url}, Code: c.code, Fingerprint: other.fingerprint}.String(), "", s4t.Unauthenticated, ""},
		{"nothing listens", s4t.JoinString{URLs: []string{"https://127.0.0.1:1"}, Code: "GOOD", Fingerprint: c.fingerprint}.String(), "", s4t.Unavailable, "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			_, err := Join(t.Context(), JoinConfig{State: state, Join: tt.join, Name: tt.board})
			if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %v (%s), want kind %s that says %q", err, s4t.KindOf(err), tt.kind, tt.says)
			}
			if stateDir(state).joined() {
				t.Error("there is an identity")
			}
		})
	}
}

func TestNameIsAskedForWhereTheCodeHasNone(t *testing.T) {
	c := newTestCloud(t)
	if _, err := Join(t.Context(), JoinConfig{State: t.TempDir(), Join: c.joinString(""), Name: "garden"}); err != nil {
		t.Fatal(err)
	}
	if c.name != "garden" {
		t.Errorf("the cloud was asked for %q", c.name)
	}
}

// startBoard joins and runs a board; end stops it and waits.
func startBoard(t *testing.T, c *testCloud, state string) (ready <-chan int64, end func() error) {
	t.Helper()
	if !stateDir(state).joined() {
		if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); err != nil {
			t.Fatal(err)
		}
	}
	lines := make(chan int64, 16)
	e, err := New(Config{State: state, Version: "test", SSHDir: t.TempDir(), Ready: func(_ string, g int64) { lines <- g }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var result error
	ended := false
	end = func() error {
		cancel()
		if !ended {
			ended, result = true, <-done
		}
		return result
	}
	t.Cleanup(func() { end() })
	return lines, end
}

func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s: nothing within a minute", what)
	}
	return v
}

func TestBoardFollowsTheCloud(t *testing.T) {
	c := newTestCloud(t)
	state := t.TempDir()
	ready, end := startBoard(t, c, state)
	if g := wait(t, ready, "ready"); g != 1 {
		t.Errorf("ready %d, want 1", g)
	}
	if r := wait(t, c.reports, "a report"); r.Generation != 1 || r.Epoch != 1 {
		t.Errorf("report = %+v", r)
	}
	c.change(t, func(*wire.BoardDesired) {})
	if g := wait(t, ready, "ready"); g != 2 {
		t.Errorf("ready %d, want 2", g)
	}
	s, err := ReadStatus(t.Context(), state)
	if err != nil || !s.Running || !s.Connected || s.AppliedGeneration != 2 || s.Epoch != 1 || s.URL != c.url {
		t.Errorf("status = %+v, %v", s, err)
	}
	if _, err := c.call(t, wamp.Ping); err != nil {
		t.Errorf("ping: %v", err)
	}
	answer, err := c.call(t, wamp.Doctor)
	var report wire.DoctorReport
	if err == nil {
		err = json.Unmarshal([]byte(answer), &report)
	}
	if err != nil || report.Board != "kitchen" || len(report.Findings) == 0 {
		t.Errorf("doctor: %+v, %v", report, err)
	}
	if err := end(); err != nil {
		t.Errorf("Run = %v", err)
	}
	s, err = ReadStatus(t.Context(), state)
	if err != nil || s.Running || s.Connected || len(s.Problems) == 0 {
		t.Errorf("status after the end = %+v, %v", s, err)
	}
}

func TestStreamReachesAServiceOfTheBoard(t *testing.T) {
	c := newTestCloud(t)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	defer echo.Close()
	_, text, _ := net.SplitHostPort(echo.Addr().String())
	tcpPort, _ := strconv.Atoi(text)
	c.desired.Resources = []wire.Resource{
		wire.NewResource(wire.KindService, "service-1", wire.DesiredService{Target: "127.0.0.1", TCPPort: tcpPort}),
		wire.NewResource(wire.KindStreams, string(boardA), wire.DesiredStreams{URL: c.url, Warm: 1}),
	}
	_, end := startBoard(t, c, t.TempDir())
	defer end()
	wait(t, c.reports, "a report")

	open := func(ticket wire.Ticket) (string, error) {
		user, agent := loopback.Pair(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			for !c.opener.Has(boardA) && ctx.Err() == nil {
				time.Sleep(time.Millisecond) // the board is on its way
			}
			opened, err := c.opener.Connect(ctx, context.Background(), stream.Asked{Board: boardA, Ticket: ticket.Sign(conductorKey), Local: agent})
			if !opened {
				agent.Close()
			}
			done <- err
		}()
		io.WriteString(user, "hello")
		user.CloseWrite()
		got, _ := io.ReadAll(user)
		user.Close()
		return string(got), <-done
	}
	service := wire.Ticket{Purpose: wire.PurposeService, Board: boardA, Service: "service-1", Target: echo.Addr().String()}
	if got, err := open(service); got != "hello" || err != nil {
		t.Errorf("stream = %q, %v", got, err)
	}
	service.Service = "service-2"
	if got, err := open(service); got != "" || s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("stream of a service that is not exposed = %q, %v", got, err)
	}
}

func TestLeaveTellsTheCloudWhereItCan(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		c := newTestCloud(t)
		state := filepath.Join(t.TempDir(), "state")
		ready, end := startBoard(t, c, state)
		wait(t, ready, "ready")
		res, err := Leave(t.Context(), LeaveConfig{State: state})
		if err != nil || !res.Told || res.Board != "kitchen" || !c.left {
			t.Errorf("leave = %+v, %v; cloud told: %v", res, err, c.left)
		}
		if err := end(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if _, err := os.Stat(state); !os.IsNotExist(err) {
			t.Errorf("state: %v", err)
		}
	})
	t.Run("not running", func(t *testing.T) {
		c := newTestCloud(t)
		state := t.TempDir()
		if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); err != nil {
			t.Fatal(err)
		}
		res, err := Leave(t.Context(), LeaveConfig{State: state})
		if err != nil || !res.Told || stateDir(state).joined() {
			t.Errorf("leave = %+v, %v", res, err)
		}
	})
	t.Run("offline", func(t *testing.T) {
		state := t.TempDir()
		id := testIdentity()
		id.URLs = []string{"https://127.0.0.1:1"}
		if err := stateDir(state).saveIdentity(id); err != nil {
			t.Fatal(err)
		}
		res, err := Leave(t.Context(), LeaveConfig{State: state})
		if err != nil || res.Told || res.Reason == "" || stateDir(state).joined() {
			t.Errorf("leave = %+v, %v", res, err)
		}
	})
	t.Run("with a damaged identity", func(t *testing.T) {
		state := t.TempDir()
		os.WriteFile(filepath.Join(state, IdentityFile), []byte("{"), 0o600)
		res, err := Leave(t.Context(), LeaveConfig{State: state})
		if err != nil || res.Told || stateDir(state).joined() {
			t.Errorf("leave = %+v, %v", res, err)
		}
	})
	t.Run("without having joined", func(t *testing.T) {
		if _, err := Leave(t.Context(), LeaveConfig{State: t.TempDir()}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("error = %v, want not found", err)
		}
	})
}

func TestSecondAgentOnOneStateIsRefused(t *testing.T) {
	c := newTestCloud(t)
	state := t.TempDir()
	ready, _ := startBoard(t, c, state)
	wait(t, ready, "ready")
	e, err := New(Config{State: state})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("Run = %v, want a conflict", err)
	}
}

func TestSocketInADeepDirectory(t *testing.T) {
	dir := stateDir(filepath.Join(t.TempDir(), strings.Repeat("deep/", 30)))
	if err := dir.create(); err != nil {
		t.Fatal(err)
	}
	e, _ := engineFor(t, noDialer{}, nil)
	sock, err := dir.listen(e.cfg.Log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sock.serve(ctx, func(ctx context.Context, q string) any { return e.answer(ctx, q, func() {}) }, nil)
	}()
	var s Status
	if err := dir.ask(t.Context(), askStatus, &s); err != nil || s.ID != boardA {
		t.Errorf("status = %+v, %v", s, err)
	}
	if err := dir.ask(t.Context(), "what?", &s); err == nil {
		t.Error("an unknown question was answered")
	}
	silent, err := net.Dial("unix", relative(t, dir.path(socketFile)))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cancel()
	wait(t, done, "the end of the socket, with a silent peer")
}

// relative shortens a path that is too long for a Unix address.
func relative(t *testing.T, path string) string {
	t.Helper()
	t.Chdir(filepath.Dir(path))
	return filepath.Base(path)
}
