package plugin

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialFirst = 10 * time.Millisecond // nothing tells when a process listens:
	dialLast  = time.Second           // it is tried, less and less often
)

// dial speaks with a callable that listens at path as user uid, until over is closed:
// again where it closes the connection. spoken is closed at the first time.
func (t *talk) dial(path string, uid int, spoken chan<- struct{}, over <-chan struct{}) {
	first := true
	in := newPaced(nil) // of all connections together
	for wait := dialFirst; ; wait = min(2*wait, dialLast) {
		if conn, err := connect(path, uid); err == nil {
			wait = dialFirst
			t.use(conn)
			if first {
				first = false
				close(spoken)
			}
			gone := make(chan struct{})
			go func() {
				defer conn.Close()
				select {
				case <-gone:
				case <-over:
				}
			}()
			in.r = conn
			t.listen(in)
			close(gone)
			t.lose(errors.New("the plugin closed the connection"))
		}
		timer := time.NewTimer(wait)
		select {
		case <-over:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// use makes a connection the one on which requests go.
func (t *talk) use(w writer) {
	t.write.Lock()
	defer t.write.Unlock()
	t.w = w
}

// lose fails the calls that were said on a connection that has ended.
func (t *talk) lose(why error) {
	t.use(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.calls {
		delete(t.calls, id)
		p.done <- answer{ID: id, lost: why}
	}
}

// connect connects to a socket, and looks whose it is: the plugin may have put a link
// there to somebody else's.
func connect(path string, uid int) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	var peer *unix.Ucred
	if err == nil {
		cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
		err = errors.Join(err, cerr)
	}
	if err == nil && uid != 0 && int(peer.Uid) != uid {
		err = fmt.Errorf("the socket is of user %d, not of the plugin", peer.Uid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
