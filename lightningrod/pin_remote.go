package lightningrod

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// What `lightning-rod mount` and the lightning-rod that runs say to each other: the
// line askMount, then one [mountFrame] a line, both ways, until one of them closes.

const (
	askMount = "mount"

	maxMountFrame = s4t.MaxMessage + 64<<10 // bytes of a line
	maxMounts     = 8                       // at once
	maxMountAsks  = 32                      // of one mount, at once
	mountPatience = 1500 * time.Millisecond // of the board, for a mount that does not read; less than the cloud's for the board
)

// mountFrame is one message. From a mount: ID and one of All, Ask, Watch. To it: ID
// with Answer or Error; or, without ID, one of Samples and News.
type mountFrame struct {
	ID    uint64           `json:"id,omitempty"`
	All   *wire.PinAll     `json:"all,omitempty"`
	Ask   *wire.PinRequest `json:"ask,omitempty"`
	Watch *wire.PinWatch   `json:"watch,omitempty"` // its Board is an ID

	Answer  *wire.PinRemoteAnswer `json:"answer,omitempty"`
	Error   *wire.Error           `json:"error,omitempty"`
	Samples *wire.PinSamples      `json:"samples,omitempty"`
	News    *mountNews            `json:"news,omitempty"`
}

// mountNews says that boards, their pins, or the way to them may have changed.
type mountNews struct {
	Online  bool  `json:"online"` // the board has a session with the cloud
	Session int64 `json:"session"`
}

// remotePins is the running lightning-rod's side of the mounts of other boards' pins.
type remotePins struct {
	board  s4t.BoardID
	online func() (c cloud, epoch int64, changed <-chan struct{})
	log    *slog.Logger

	mu      sync.Mutex // guards what follows
	mounts  map[*mountConn]bool
	offered cloud // the session in which samples and news come
	boards  map[s4t.BoardID]*remoteWatch
}

// remoteWatch is what the mounts watch of one board.
type remoteWatch struct {
	calling sync.Mutex // held while the cloud is told; taken before the mu of remotePins
	by      map[*mountConn]wire.PinWatch
}

// mountConn is the connection of one mount.
type mountConn struct {
	conn    net.Conn
	news    chan struct{} // cap 1
	writing sync.Mutex
}

func newRemotePins(board s4t.BoardID, online func() (cloud, int64, <-chan struct{}), log *slog.Logger) *remotePins {
	return &remotePins{board: board, online: online, log: log, mounts: map[*mountConn]bool{}, boards: map[s4t.BoardID]*remoteWatch{}}
}

// serve serves one mount until it goes or ctx ends.
func (r *remotePins) serve(ctx context.Context, conn net.Conn, in *bufio.Reader) {
	m := &mountConn{conn: conn, news: make(chan struct{}, 1)}
	r.mu.Lock()
	full := len(r.mounts) >= maxMounts
	if !full {
		r.mounts[m] = true
	}
	r.mu.Unlock()
	if full {
		m.write(mountFrame{Error: wire.FromError(s4t.Errorf(s4t.TooMany, "mount other boards' pins", "unmount one", "%d trees are mounted already", maxMounts))})
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer func() {
		cancel()
		conn.Close()
		working.Wait()
		r.forget(m)
	}()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	working.Go(func() { defer cancel(); r.tell(ctx, m) })
	slots := make(chan struct{}, maxMountAsks)
	err := readMountFrames(in, func(f mountFrame) {
		slots <- struct{}{} // each is answered within a time
		working.Go(func() {
			defer func() { <-slots }()
			answer, err := r.do(ctx, m, f)
			out := mountFrame{ID: f.ID, Answer: &answer, Error: wire.FromError(err)}
			if err != nil {
				out.Answer = nil
			}
			m.write(out)
		})
	})
	if err != nil && ctx.Err() == nil {
		r.log.Debug("a mount of other boards' pins is closed", "err", err)
	}
}

// write writes a frame. A mount that does not read is closed: it comes again and asks
// for what it missed.
func (m *mountConn) write(f mountFrame) bool {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.conn.SetWriteDeadline(time.Now().Add(mountPatience))
	if _, err := m.conn.Write(append(wire.Encode(f), '\n')); err != nil {
		m.conn.Close()
		return false
	}
	return true
}

// tell tells a mount of the session and of news.
func (r *remotePins) tell(ctx context.Context, m *mountConn) {
	for {
		c, epoch, changed := r.online()
		if c != nil {
			if err := r.offer(ctx, c); err != nil {
				r.log.Debug("samples of other boards", "err", err)
			}
		}
		if !m.write(mountFrame{News: &mountNews{Online: c != nil, Session: epoch}}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-m.news:
		}
	}
}

// offer has samples and news come in a session, once.
func (r *remotePins) offer(ctx context.Context, c cloud) error {
	r.mu.Lock()
	done := r.offered == c
	r.offered = c
	r.mu.Unlock()
	if done {
		return nil
	}
	err := c.Serve(ctx, wamp.PinsSamples, r.samples)
	if err == nil {
		err = c.Follow(ctx, wamp.PinsNews, func(string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for m := range r.mounts {
				notify(m.news)
			}
		})
	}
	return err
}

// do asks the cloud what a mount asks.
func (r *remotePins) do(ctx context.Context, m *mountConn, f mountFrame) (a wire.PinRemoteAnswer, err error) {
	if f.Watch != nil {
		return r.watch(ctx, m, *f.Watch)
	}
	return r.call(ctx, wire.PinRemote{All: f.All, Ask: f.Ask})
}

// call asks the cloud.
func (r *remotePins) call(ctx context.Context, ask wire.PinRemote) (a wire.PinRemoteAnswer, err error) {
	c, epoch, _ := r.online()
	if c == nil {
		return a, s4t.Errorf(s4t.Offline, "reach other boards' pins", "`lightning-rod status` says why", "%w", errNoSession)
	}
	ask.Board, ask.Epoch = r.board, epoch
	err = c.Call(ctx, wamp.Remote, ask, &a)
	if wamp.ReasonOf(err) == wamp.NoSuchProcedure {
		err = s4t.Errorf(s4t.Unavailable, "reach other boards' pins", "update the cloud", "the cloud is older than this lightning-rod and knows no pins")
	}
	return a, err
}

// watch replaces what a mount watches of a board, and tells the cloud what all mounts
// do.
func (r *remotePins) watch(ctx context.Context, m *mountConn, w wire.PinWatch) (a wire.PinRemoteAnswer, err error) {
	if !s4t.IsID(w.Board) {
		return a, s4t.Errorf(s4t.Invalid, "watch pins", "name the board by its id", "%q is no id", s4t.Line(w.Board, s4t.MaxName))
	}
	id := s4t.BoardID(w.Board)
	r.mu.Lock()
	of := r.boards[id]
	if of == nil {
		of = &remoteWatch{by: map[*mountConn]wire.PinWatch{}}
		r.boards[id] = of
	}
	if w.End {
		delete(of.by, m)
	} else {
		of.by[m] = w
	}
	r.mu.Unlock()
	return r.renew(ctx, id, of)
}

// renew tells the cloud what the mounts watch of a board.
func (r *remotePins) renew(ctx context.Context, id s4t.BoardID, of *remoteWatch) (wire.PinRemoteAnswer, error) {
	of.calling.Lock()
	defer of.calling.Unlock()
	r.mu.Lock()
	all := unionOf(id, of.by)
	if all.End && r.boards[id] == of {
		delete(r.boards, id)
	}
	r.mu.Unlock()
	if len(all.Pins) > s4t.MaxPinWatch {
		all.Pins = nil // all of the board
	}
	return r.call(ctx, wire.PinRemote{Watch: &all})
}

// unionOf is what several mounts watch of a board.
func unionOf(id s4t.BoardID, by map[*mountConn]wire.PinWatch) wire.PinWatch {
	all := wire.PinWatch{Board: string(id), After: map[string]uint64{}, End: len(by) == 0}
	every := false
	for _, w := range by {
		every = every || len(w.Pins) == 0
		all.Pins = append(all.Pins, w.Pins...)
		for pin, seq := range w.After {
			if have, ok := all.After[pin]; !ok || seq < have {
				all.After[pin] = seq
			}
		}
	}
	slices.Sort(all.Pins)
	if all.Pins = slices.Compact(all.Pins); every {
		all.Pins = nil
	}
	return all
}

// forget ends what a mount watched. What the cloud cannot be told of in time ends
// with its term.
func (r *remotePins) forget(m *mountConn) {
	ended := map[s4t.BoardID]*remoteWatch{}
	r.mu.Lock()
	delete(r.mounts, m)
	for id, of := range r.boards {
		if _, ok := of.by[m]; ok {
			delete(of.by, m)
			ended[id] = of
		}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), mountPatience)
	defer cancel()
	for id, of := range ended {
		if _, err := r.renew(ctx, id, of); err != nil {
			r.log.Debug("end a watch of another board", "board", string(id), "err", err)
		}
	}
}

// samples passes on samples of another board. It answers when the mounts that watch it
// have them.
func (r *remotePins) samples(_ context.Context, arg string) (string, error) {
	var s wire.PinSamples
	if err := json.Unmarshal([]byte(arg), &s); err != nil {
		return "", s4t.Errorf(s4t.Invalid, "take samples", "", "they are not understood: %w", err)
	}
	var to []*mountConn
	r.mu.Lock()
	if of := r.boards[s.Board]; of != nil {
		for m := range of.by {
			to = append(to, m)
		}
	}
	r.mu.Unlock()
	if len(to) == 0 {
		return "", s4t.Errorf(s4t.NotFound, "take samples", "", "nobody here watches that board")
	}
	for _, m := range to {
		m.write(mountFrame{Samples: &s})
	}
	return "{}", nil
}

// readMountFrames calls got with each frame until the stream ends.
func readMountFrames(in io.Reader, got func(mountFrame)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxMountFrame)
	for lines.Scan() {
		var f mountFrame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return err
		}
		got(f)
	}
	return lines.Err()
}
