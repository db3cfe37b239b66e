package lightningrod

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

// What a plugin gets besides its folder and its parameters is in a folder that it cannot
// change: the socket to the API, a token for it, and the pins that it asked for.

// Names in that folder.
const (
	apiSocket = "api.sock"
	tokenFile = "token"
	pinsMount = "io"
)

// firstToken is how long the start of a plugin waits for its token: a script reads it
// at once.
const firstToken = 3 * time.Second

// prepare puts what one start of a plugin gets into dir, until release is called.
func (g *guests) prepare(id string, m bundle.Manifest, dir string, uid int) (env, read, write []string, release func(), err error) {
	if m.API == "" && len(m.Pins) == 0 {
		g.note(id, "")
		return nil, nil, nil, func() {}, nil
	}
	g.clear(id, dir)
	ends := []func(){func() { g.clear(id, dir) }}
	release = sync.OnceFunc(func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	})
	problem := ""
	if len(m.Pins) > 0 {
		end, err := g.givePins(filepath.Join(dir, pinsMount), m, uid)
		if err == nil {
			ends, write = append(ends, end), []string{filepath.Join(dir, pinsMount)}
			env = append(env, "S4T_IO="+filepath.Join(dir, pinsMount))
		} else {
			problem = "it has no pins as files: " + err.Error()
		}
	}
	if m.API != "" {
		end, err := g.giveAPI(id, dir, uid)
		if err != nil {
			release()
			return nil, nil, nil, nil, err
		}
		ends = append(ends, end)
		env = append(env, "S4T_API="+g.apiPath(id, dir), "S4T_TOKEN_FILE="+filepath.Join(dir, tokenFile))
	}
	g.note(id, problem)
	return env, []string{dir}, write, release, nil
}

// givePins mounts the pins that a plugin asked for.
func (g *guests) givePins(dir string, m bundle.Manifest, uid int) (end func(), err error) {
	if g.pins == nil {
		return nil, errors.New("the board has no pins")
	}
	return showPluginPins(dir, &pluginPins{hal: g.pins.hal, name: m.Name, globs: m.Pins, uid: uint32(uid)}, g.log)
}

// giveAPI opens the socket to the API, and waits a moment for the first token.
func (g *guests) giveAPI(id, dir string, uid int) (end func(), err error) {
	path := g.apiPath(id, dir)
	failed := func(err error) error {
		return s4t.Errorf(s4t.Internal, "give a plugin a way to the API", "", "%w", err)
	}
	l, err := net.Listen("unix", path)
	if err == nil {
		l.(*net.UnixListener).SetUnlinkOnClose(false) // clear does it
		err = errors.Join(os.Chmod(path, 0o600), os.Chown(path, uid, -1))
	}
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, failed(err)
	}
	a := &pluginAPI{
		plugin: id, listener: l, reach: g.reachAPI, slots: make(chan struct{}, maxPluginConns), online: g.online, board: g.board,
		file: filepath.Join(dir, tokenFile), uid: uid, tried: make(chan struct{}), log: g.log,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.serve(ctx) }()
	patience := time.NewTimer(firstToken)
	defer patience.Stop()
	select {
	case <-a.tried:
	case <-patience.C:
	}
	return func() { cancel(); <-done }, nil
}

// apiPath is where the socket to the API is of the plugin that has the folder dir.
func (g *guests) apiPath(id, dir string) string {
	if g.sockets != "" {
		return filepath.Join(g.sockets, id+".api")
	}
	return filepath.Join(dir, apiSocket)
}

// reachAPI connects to the API at a URL; without one, as an older cloud names none, to the
// cloud wherever it is.
func (g *guests) reachAPI(ctx context.Context, url string) (conn net.Conn, err error) {
	urls := g.urls()
	if url != "" { // where it cannot be reached from here, where the board's sessions go may be the same
		urls = append([]string{url}, urls...)
	}
	for _, url := range urls {
		if conn, err = g.dialTLS(ctx, url); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// clear removes from the folder of a plugin what it was given. It removes what is known
// to be there, name by name: never what is in a mount.
func (g *guests) clear(id, dir string) {
	unmountPins(filepath.Join(dir, pinsMount))
	for _, path := range []string{filepath.Join(dir, pinsMount), g.apiPath(id, dir), filepath.Join(dir, tokenFile), filepath.Join(dir, tokenFile+".new")} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			g.log.Warn("what a plugin was given stays", "err", err)
		}
	}
}

// unmountPins unmounts what is mounted at dir: dead mounts, one over the other.
func unmountPins(dir string) {
	for range 64 {
		if syscall.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) != nil {
			return
		}
	}
}

// sweepPins unmounts the pins of plugins of a lightning-rod that was killed: before
// anybody looks into their folders.
func (d stateDir) sweepPins() {
	mounts, _ := filepath.Glob(d.path(filepath.Join(pluginsDir, "*", "*", pinsMount))) // fails for a malformed pattern only
	for _, m := range mounts {
		unmountPins(m)
	}
}

// note keeps what is to be told of a plugin that runs; empty: nothing.
func (g *guests) note(id, problem string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if problem == "" {
		delete(g.notes, id)
		return
	}
	g.notes[id] = problem
}

func (g *guests) noteOf(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.notes[id]
}
