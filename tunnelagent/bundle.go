package tunnelagent

import (
	"container/list"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// Bundles of plugins go through here to boards. The conductor has them, in parts;
// those that were sent lately are kept, for many boards want the same at one time.

const (
	bundleAhead    = 4                // parts of a bundle that are asked for before they are sent
	bundleGets     = 16               // parts that are asked for at once
	bundleCache    = 64 << 20         // bytes of parts that are kept
	bundleKeep     = time.Minute      // a part that nobody wanted for so long is not
	bundleMessage  = 128 << 10        // bytes of one message to a board
	bundleSilence  = 30 * time.Second // a board that is not heard of for so long has gone
	maxBundles     = 256              // on their way at a time
	maxBundlesOf   = 64               // of them those of one project
	maxBundlesFrom = 8                // and of one board
)

// bundles sends bundles to boards.
type bundles struct {
	agent *Agent
	gets  chan struct{} // a slot for each part that is asked for

	mu       sync.Mutex                // guards the fields below
	parts    map[partKey]*list.Element // of *bundlePart
	recent   *list.List                // of all parts, the last used first
	bytes    int64                     // of those that are here
	all      int                       // on their way
	boards   map[s4t.BoardID]int
	projects map[s4t.ProjectID]int
}

type partKey struct {
	digest string
	offset int64
}

// bundlePart is a part of a bundle, or on its way here.
type bundlePart struct {
	key  partKey
	used time.Time     // guarded by bundles.mu
	here chan struct{} // closed when what follows is set
	part wire.BundlePart
	err  error
}

func newBundles(a *Agent) *bundles {
	return &bundles{
		agent: a, gets: make(chan struct{}, bundleGets), parts: map[partKey]*list.Element{}, recent: list.New(),
		boards: map[s4t.BoardID]int{}, projects: map[s4t.ProjectID]int{},
	}
}

// serve sends the bundle that a ticket is for.
func (b *bundles) serve(ctx context.Context, t wire.Ticket, conn *rtunnel.Conn) {
	err := b.transfer(ctx, t, conn)
	if err != nil {
		b.agent.cfg.Log.Info("a bundle was not sent to its end", "board", t.Board, "bundle", t.Bundle, "err", err)
	}
}

// transfer reads from where the board wants the bundle, and sends it.
func (b *bundles) transfer(ctx context.Context, t wire.Ticket, conn *rtunnel.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(callTimeout, func() { conn.Close() })
	op, text, err := conn.ReadMessage()
	if err != nil {
		return err
	}
	patience.Stop()
	var from wire.BundleFrom
	if op != rtunnel.OpText || json.Unmarshal(text, &from) != nil || from.Offset < 0 {
		return b.refuse(conn, s4t.Errorf(s4t.Invalid, "send a bundle", "", "it is not said from where"))
	}
	leave, err := b.enter(t)
	if err != nil {
		return b.refuse(conn, err)
	}
	defer leave()

	var running sync.WaitGroup
	defer running.Wait()
	defer conn.Close()
	defer cancel()
	running.Go(func() { conn.Keepalive(ctx, userPing, bundleSilence) })
	ended := make(chan struct{})
	running.Go(func() { // pongs, and its end
		defer close(ended)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				cancel()
				return
			}
		}
	})
	err = b.send(ctx, t.Bundle, from.Offset, conn)
	if err == nil && conn.SayClose(rtunnel.StatusNormal, "") == nil {
		// The board closes when it has all. Who closed before, with a pong unread, would
		// reset the connection, and what is on its way would be lost.
		<-ended
	}
	return err
}

// refuse tells the board why no (more) bytes come.
func (b *bundles) refuse(conn *rtunnel.Conn, err error) error {
	conn.WriteMessage(rtunnel.OpText, wire.Encode(wire.BundleHead{Error: wire.FromError(err)}))
	conn.CloseWithStatus(rtunnel.StatusNormal, "")
	return err
}

// send sends a bundle from an offset on.
func (b *bundles) send(ctx context.Context, digest string, from int64, conn *rtunnel.Conn) error {
	size := int64(-1) // not known yet
	for at := from; size < 0 || at < size; {
		start := at - at%wire.MaxBundlePart
		part, err := b.part(ctx, digest, start)
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			return b.refuse(conn, err)
		case size < 0 && from > part.Size:
			return b.refuse(conn, s4t.Errorf(s4t.Invalid, "send a bundle", "fetch it from its begin", "it has %d bytes, not %d", part.Size, from))
		case size < 0:
			size = part.Size
			if err := conn.WriteMessage(rtunnel.OpText, wire.Encode(wire.BundleHead{Size: size})); err != nil {
				return err
			}
			if at == size {
				return nil
			}
		}
		if want := min(wire.MaxBundlePart, size-start); int64(len(part.Data)) != want {
			return b.refuse(conn, s4t.Errorf(s4t.Internal, "send a bundle", "", "the part at %d has %d bytes, not %d", start, len(part.Data), want))
		}
		for ahead := start + wire.MaxBundlePart; ahead < min(size, start+(bundleAhead+1)*wire.MaxBundlePart); ahead += wire.MaxBundlePart {
			b.ask(digest, ahead)
		}
		for rest := part.Data[at-start:]; len(rest) > 0; {
			n := min(len(rest), bundleMessage)
			if err := conn.WriteMessage(rtunnel.OpBinary, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		at = start + int64(len(part.Data))
	}
	return nil
}

// enter counts a transfer; leave counts it out again.
func (b *bundles) enter(t wire.Ticket) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= maxBundles || b.projects[t.Project] >= maxBundlesOf || b.boards[t.Board] >= maxBundlesFrom {
		return nil, s4t.Errorf(s4t.TooMany, "send a bundle", "it is tried again by itself", "%d bundles are on their way, %d of them of project %q", b.all, b.projects[t.Project], t.Project).After(tryAgain)
	}
	b.all++
	b.projects[t.Project]++
	b.boards[t.Board]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.all--
		if b.projects[t.Project]--; b.projects[t.Project] == 0 {
			delete(b.projects, t.Project)
		}
		if b.boards[t.Board]--; b.boards[t.Board] == 0 {
			delete(b.boards, t.Board)
		}
	}, nil
}

// part returns the part of a bundle at an offset, from here or from the conductor.
func (b *bundles) part(ctx context.Context, digest string, offset int64) (wire.BundlePart, error) {
	p := b.ask(digest, offset)
	select {
	case <-p.here:
		return p.part, p.err
	case <-ctx.Done():
		return wire.BundlePart{}, ctx.Err()
	}
}

// ask asks the conductor for a part, unless it is here or on its way. The caller is a
// handler that Run waits for.
func (b *bundles) ask(digest string, offset int64) *bundlePart {
	key := partKey{digest, offset}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.parts[key]; e != nil {
		b.recent.MoveToFront(e)
		p := e.Value.(*bundlePart)
		p.used = time.Now()
		return p
	}
	p := &bundlePart{key: key, used: time.Now(), here: make(chan struct{})}
	b.parts[key] = b.recent.PushFront(p)
	b.agent.handlers.Add(1)
	go func() {
		defer b.agent.handlers.Done()
		p.err = b.get(key, &p.part)
		b.got(p)
	}()
	return p
}

// get gets a part from the conductor, within the agent's lease.
func (b *bundles) get(key partKey, part *wire.BundlePart) error {
	lease := b.agent.held()
	if lease == nil {
		return s4t.Errorf(s4t.Unavailable, "send a bundle", "try again in a moment", "the tunnel agent is starting or stopping")
	}
	select {
	case b.gets <- struct{}{}:
		defer func() { <-b.gets }()
	case <-lease.Done():
		return lease.Err()
	}
	return b.agent.call(lease, wire.MethodBundleGet, wire.BundleGet{Digest: key.digest, Offset: key.offset}, part)
}

// got tells that a part has come, and keeps it in the place of those that were used the
// longest ago.
func (b *bundles) got(p *bundlePart) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(p.here)
	if p.err != nil {
		b.drop(b.parts[p.key])
		return
	}
	b.bytes += int64(len(p.part.Data))
	for e := b.recent.Back(); e != nil && b.bytes > bundleCache; {
		before := e.Prev()
		if e.Value.(*bundlePart).isHere() {
			b.drop(e)
		}
		e = before
	}
}

// sweep forgets what nobody wanted for long.
func (b *bundles) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for e := b.recent.Back(); e != nil; {
		before := e.Prev()
		p := e.Value.(*bundlePart)
		if now.Sub(p.used) < bundleKeep {
			return
		}
		if p.isHere() {
			b.drop(e)
		}
		e = before
	}
}

// drop forgets a part. mu is held.
func (b *bundles) drop(e *list.Element) {
	p := b.recent.Remove(e).(*bundlePart)
	delete(b.parts, p.key)
	b.bytes -= int64(len(p.part.Data))
}

// isHere reports whether a part has come.
func (p *bundlePart) isHere() bool {
	select {
	case <-p.here:
		return true
	default:
		return false
	}
}
