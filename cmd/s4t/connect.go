package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
)

// streamPing is how often the rtunnel of a stream says something: a proxy on
// the path may cut idle connections, as early as after 30 s.
const (
	streamPing    = 15 * time.Second
	streamTimeout = 45 * time.Second
)

// streamChunk is how much of standard input is sent in one message, in bytes.
const streamChunk = 64 << 10

func (a *app) connectCommand() *cobra.Command {
	var target string
	cmd := &cobra.Command{
		Use:   "connect BOARD PORT",
		Short: "Connect standard input and output to a TCP service of a board",
		Long: `Connects standard input and output to a TCP service of a board, through the
HTTPS port of the cloud. The end of standard input closes that direction only.
A connection that is lost is resumed: nothing is lost or said twice.`,
		Example: "  s4t connect kitchen 80 < request\n  ssh -o ProxyCommand='s4t connect kitchen %p' root@kitchen",
		Args:    exactly(2), ValidArgsFunction: a.completeBoards(1),
	}
	tcp := 0
	cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		tcp, err = tcpPort(cmd, args[1])
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		at, err := a.resolve()
		if err != nil {
			return err
		}
		return a.connect(cmd.Context(), at, args[0], apiclient.StreamOpen{TCPPort: tcp, Target: target})
	}
	cmd.Flags().StringVar(&target, "target", "", "`HOST` on the board's LAN, where the board allows it (default the board itself)")
	return cmd
}

// connect asks for a ticket, opens the stream and copies until both
// directions have ended. A stream of a board that can do so outlives its connection.
func (a *app) connect(ctx context.Context, at cloudContext, board string, req apiclient.StreamOpen) error {
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
	req.Resumable = streamName()
	l := &lifeline{app: a, client: client, dial: dialer, board: board, req: req}
	stream, grant, err := l.open(ctx)
	if err != nil {
		return err
	}
	if grant.Resumable {
		return l.carry(ctx, stream)
	}
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	return a.pipe(ctx, stream)
}

// pipe copies in both directions with half-close. On a terminal, nobody is there to
// answer after the board's end: it is over then.
func (a *app) pipe(ctx context.Context, stream *stream.Stream) error {
	sent, received := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(stream, onlyReader{a.stdin}, make([]byte, streamChunk))
		sent <- errors.Join(err, stream.CloseWrite())
	}()
	reading, ended := context.WithCancel(ctx) // pongs come to whoever reads
	go stream.Conn().Keepalive(reading, streamPing, streamTimeout)
	go func() {
		service := greeting{to: a.stdout}
		_, err := stream.WriteTo(&service)
		ended()
		if f, ok := a.stdout.(*os.File); ok && err == nil {
			f.Close() // the end of the board's bytes, for whoever reads ours
		}
		received <- cmp.Or(service.refusal(), err)
	}()

	err := <-received
	if err == nil && !isTerminal(a.stdin) {
		err = <-sent
	}
	if err != nil && ctx.Err() == nil {
		stream.CloseWithReset()
		return streamEnd(err)
	}
	stream.Close()
	if ctx.Err() != nil {
		return s4t.Errorf(s4t.Timeout, "connect", "", "interrupted")
	}
	return nil
}

// streamEnd says how a stream ended before its time.
func streamEnd(err error) error {
	if e, ok := err.(*s4t.Error); ok {
		return e
	}
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return s4t.Errorf(s4t.Unavailable, "connect", "", "the service reset the connection")
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed):
		return s4t.Errorf(s4t.Unavailable, "connect", "", "the other end closed before everything was sent")
	}
	return s4t.Errorf(s4t.Unavailable, "connect", "try again", "the connection was lost: %w", err)
}

// onlyReader hides WriteTo of *os.File, so that the copy uses our buffer.
type onlyReader struct{ io.Reader }

// greeting passes a service's bytes on and keeps the first of them: sshd says
// there, before its banner, why it wants nothing of us, and ssh does not show it.
type greeting struct {
	to    io.Writer
	first []byte
}

// maxGreeting is enough for what sshd says, in bytes.
const maxGreeting = 64

// Write implements io.Writer.
func (g *greeting) Write(p []byte) (int, error) {
	if room := maxGreeting - len(g.first); room > 0 {
		g.first = append(g.first, p[:min(room, len(p))]...)
	}
	return g.to.Write(p)
}

// refusal is what a service said that is an sshd which refused us. The words are
// those of OpenSSH's sshd.c.
func (g *greeting) refusal() error {
	text := string(g.first)
	switch {
	case strings.HasPrefix(text, "Not allowed at this time\r\n"):
		return s4t.Errorf(s4t.Unavailable, "connect", "wait half a minute; the key that ssh offers may be wrong (--identity), see PerSourcePenalties of sshd_config",
			"the board's sshd refuses this user for a while, after logins that failed (%q)", strings.TrimSpace(text))
	case strings.HasPrefix(text, "Exceeded MaxStartups\r\n"):
		return s4t.Errorf(s4t.Unavailable, "connect", "try again in a moment",
			"the board's sshd has too many connections that have not logged in (%q)", strings.TrimSpace(text))
	}
	return nil
}
