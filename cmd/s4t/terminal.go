package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/resume"
	"github.com/stack4things/s4t/terminal"
)

func (a *app) terminalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "terminal BOARD",
		Short: "Open a shell of a board, where its owner allows it",
		Long: `Opens a shell of the user that the board's owner has named with
` + "`lightning-rod run --allow-terminal USER`" + `: without an SSH service, a password or a key.
The shell follows the size of this terminal, and waits where the connection is lost. The
exit status is that of the shell. Enter, ~ and . end it from here.`,
		Example: "  s4t terminal kitchen",
		Args:    exactly(1), ValidArgsFunction: a.completeBoards(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := a.resolve()
		if err != nil {
			return err
		}
		return a.terminal(cmd.Context(), at, args[0])
	}
	return cmd
}

// terminal opens a terminal of a board on this one.
func (a *app) terminal(ctx context.Context, at cloudContext, board string) error {
	op := "open a terminal of board " + board
	in, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(a.stdin) {
		return s4t.Errorf(s4t.Invalid, op, "run it in a terminal; `s4t ssh BOARD -- COMMAND` and `s4t command run` need none", "standard input is no terminal")
	}
	client, err := at.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ca, system := at.trusted()
	dialer, err := dial.New(dial.Config{CA: []byte(ca), SystemRoots: system, Env: a.env})
	if err != nil {
		return err
	}
	l := &lifeline{app: a, client: client, dial: dialer, board: board, req: apiclient.StreamOpen{Terminal: true, Resumable: streamName()}}
	conn, grant, err := l.open(ctx)
	if err != nil {
		return err
	}
	if !grant.Resumable {
		conn.Close()
		return s4t.Errorf(s4t.Unavailable, op, "update lightning-rod on the board", "the board cannot resume streams")
	}
	if grant.Recorded {
		fmt.Fprintln(a.stderr, "This terminal is recorded: what the board shows, for the managers of its project.")
	}
	restore, err := rawMode(in)
	if err != nil {
		conn.Close()
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	defer restore()
	end := newTerminalEnd(in, a.stdout, cmp.Or(a.env("TERM"), "xterm-256color"))
	defer end.stop()
	err = l.carryLocal(ctx, conn, func(s *resume.Stream) { end.stream = s }, end)
	switch {
	case end.problem != "":
		return s4t.Errorf(s4t.Unavailable, op, "", "%s", oneLine(end.problem))
	case end.exited:
		if end.status == 0 {
			return nil
		}
		return remoteStatus(end.status)
	}
	return err
}

// terminalEnd is this terminal as the local end of a stream: what is read of it are the frames of
// the user, what is written those of the board.
type terminalEnd struct {
	out    io.Writer
	stream *resume.Stream

	frames  terminal.Decoder // of what is written
	exited  bool
	status  uint8
	problem string

	said    chan []byte // frames
	pending []byte      // of Read
	over    chan struct{}
	stopped sync.Once
}

// newTerminalEnd begins to read a terminal, which may go on after stop.
func newTerminalEnd(in *os.File, out io.Writer, term string) *terminalEnd {
	e := &terminalEnd{out: out, said: make(chan []byte), over: make(chan struct{})}
	columns, rows := sizeOf(in)
	e.pending = terminal.Frame{Kind: terminal.Open, Columns: columns, Rows: rows, Term: term}.Append(nil)
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(sizes)
		for {
			select {
			case <-e.over:
				return
			case <-sizes:
			}
			columns, rows := sizeOf(in)
			if !e.say(terminal.Frame{Kind: terminal.Size, Columns: columns, Rows: rows}) {
				return
			}
		}
	}()
	go func() {
		var leave escape
		buf := make([]byte, 4<<10)
		for {
			n, err := in.Read(buf)
			if err != nil || leave.in(buf[:n]) {
				e.stop()
				return
			}
			if !e.say(terminal.Frame{Kind: terminal.Data, Data: buf[:n]}) {
				return
			}
		}
	}()
	return e
}

// say sends a frame, and reports whether anybody takes more.
func (e *terminalEnd) say(f terminal.Frame) bool {
	select {
	case e.said <- f.Append(nil):
		return true
	case <-e.over:
		return false
	}
}

// stop ends the user's frames.
func (e *terminalEnd) stop() { e.stopped.Do(func() { close(e.over) }) }

// Read implements io.Reader.
func (e *terminalEnd) Read(p []byte) (int, error) {
	if len(e.pending) == 0 {
		select {
		case e.pending = <-e.said:
		case <-e.over:
			return 0, errHungUp
		}
	}
	n := copy(p, e.pending)
	e.pending = e.pending[n:]
	return n, nil
}

// Write implements io.Writer.
func (e *terminalEnd) Write(p []byte) (int, error) {
	err := e.frames.Take(p, func(f terminal.Frame) error {
		switch f.Kind {
		case terminal.Data:
			_, err := e.out.Write(f.Data)
			return err
		case terminal.Exit:
			e.exited, e.status = true, f.Status
		case terminal.Problem:
			e.problem = f.Problem
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite is the end of the board's frames: it is over.
func (e *terminalEnd) CloseWrite() error {
	e.stream.CloseWrite()
	return nil
}

// Close implements io.Closer.
func (e *terminalEnd) Close() error {
	e.stop()
	return nil
}

// escape finds Enter, ~ and . in what is typed, as ssh(1) does. The zero value is at the begin of a line.
type escape struct{ seen []byte }

// in reports whether the user leaves.
func (e *escape) in(typed []byte) bool {
	if e.seen == nil {
		e.seen = []byte{'\r'}
	}
	e.seen = append(e.seen, typed...)
	found := bytes.Contains(e.seen, []byte("\r~."))
	e.seen = append([]byte{}, e.seen[max(0, len(e.seen)-2):]...)
	return found
}
