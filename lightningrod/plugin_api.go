package lightningrod

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// A plugin that may call the API has a socket for it in its folder: each connection
// goes on to the cloud over TLS, by the way that lightning-rod itself goes. The plugin
// speaks plain HTTP/1.1 to it, and has a token in a file.

const (
	maxPluginConns = 8               // connections of one plugin to the API at a time
	pluginIdle     = 2 * time.Minute // one on which nothing comes either way for so long is closed
	tokenMargin    = 2 * time.Minute // a token is renewed so long before it ends, or after half of its life
)

// pluginAPI is the way of one plugin to the API.
type pluginAPI struct {
	plugin   string // ResourceKey.ID
	listener net.Listener
	url      atomic.Pointer[string]                                  // of the API, as the cloud said with the last token
	reach    func(ctx context.Context, url string) (net.Conn, error) // the API; without a URL where the board's sessions go
	slots    chan struct{}
	online   func() (c cloud, epoch int64, changed <-chan struct{})
	board    s4t.BoardID
	file     string // with the token
	uid      int
	tried    chan struct{} // closed when a token was asked for once, or cannot be
	log      *slog.Logger
}

// serve passes connections on, and keeps the token fresh, until ctx ends.
func (a *pluginAPI) serve(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stop := context.AfterFunc(ctx, func() { a.listener.Close() })
	defer stop()
	running.Go(func() { a.keepToken(ctx) })
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		select {
		case a.slots <- struct{}{}:
			running.Go(func() {
				defer func() { <-a.slots }()
				a.pass(ctx, conn)
			})
		default:
			conn.Close() // it has its share
		}
	}
}

// pass joins one connection to one with the cloud, until either ends.
func (a *pluginAPI) pass(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	url := ""
	if said := a.url.Load(); said != nil {
		url = *said
	}
	to, err := a.reach(ctx, url)
	if err != nil {
		a.log.Debug("a plugin does not reach the API", "plugin", a.plugin, "err", err)
		io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	defer to.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close(); to.Close() })
	defer stop()
	idle := time.AfterFunc(pluginIdle, func() { conn.Close(); to.Close() })
	defer idle.Stop()
	var asking sync.WaitGroup
	asking.Go(func() {
		relay(to, conn, idle)
		if hungUp(conn) { // else it waits for the answer still, which a server does not give to who has closed
			to.Close()
		}
	})
	relay(conn, to, idle)
	conn.Close()
	asking.Wait()
}

// relay copies from one connection to another until either ends; each piece puts off
// the end of idle ones.
func relay(to io.Writer, from io.Reader, idle *time.Timer) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			idle.Reset(pluginIdle)
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hungUp reports whether the other end of a Unix connection is closed, and not only for
// writing: POLLHUP of poll(2).
func hungUp(conn net.Conn) bool {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return true
	}
	closed := true
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		closed = err != nil || n > 0 && p[0].Revents&unix.POLLHUP != 0
	})
	return closed || err != nil
}

// keepToken writes a token to the file, and another before it ends.
func (a *pluginAPI) keepToken(ctx context.Context) {
	retry := sessionBackoff()
	tried := sync.OnceFunc(func() { close(a.tried) })
	for {
		c, epoch, changed := a.online()
		wait := time.Hour
		if c != nil {
			var t wire.PluginToken
			err := c.Call(ctx, wamp.Token, wire.PluginTokenAsk{Board: a.board, Epoch: epoch, Plugin: a.plugin}, &t)
			if err == nil {
				err = writeToken(a.file, t.Token, a.uid)
			}
			switch {
			case err == nil:
				a.url.Store(&t.URL)
				retry.reset()
				left := time.Until(t.ExpiresAt)
				wait = max(left-tokenMargin, left/2, time.Second)
			case wamp.ReasonOf(err) == wamp.NoSuchProcedure:
			default:
				wait = max(retry.wait(), retryAfter(err))
				if ctx.Err() == nil {
					a.log.Warn("ask for a plugin's token", "plugin", a.plugin, "err", err, "retry_in", wait)
				}
			}
			changed = nil // another session does not end a token
		}
		tried()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// writeToken replaces the file in one step; the plugin alone may read it.
func writeToken(file, token string, uid int) error {
	next := file + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(token + "\n")
	if err == nil && uid != 0 {
		err = f.Chown(uid, uid)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(next, file)
	}
	return err
}
