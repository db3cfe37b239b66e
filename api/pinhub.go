package api

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/samples"
	"github.com/stack4things/s4t/wire"
)

const (
	// maxWaiting is how many samples wait for a client that reads more slowly
	// than they come; beyond that they are merged.
	maxWaiting = 8192
	// pinWorkers take samples off the queue; those of one board come one
	// message after the other, whatever their number.
	pinWorkers = 4
)

// pinHub has the samples of the boards that clients of this process watch: each
// board is watched once for each project that may, whatever the number of clients.
type pinHub struct {
	api    *API
	server string // of the sink: made anew by every start

	mu     sync.Mutex // guards what follows; taken before a feed's
	feeds  map[feedKey]*pinFeed
	closed bool
	done   sync.WaitGroup // of the feeds
}

func newPinHub(a *API) *pinHub {
	return &pinHub{api: a, server: s4t.NewID(), feeds: map[feedKey]*pinFeed{}}
}

// feedKey names the watch of a board for a project: its own, or one that has it by a lease, which ends
// with that.
type feedKey struct {
	board   s4t.BoardID
	project s4t.ProjectID
}

// keyOf is the watch of a board that a caller has a part in.
func keyOf(board s4t.Board, caller wire.Caller) feedKey {
	if caller.Sees(board.Project) {
		return feedKey{board.ID, board.Project}
	}
	return feedKey{board.ID, caller.Project}
}

// sink is where samples for this process go, of the watch for a project.
func (h *pinHub) sink(project s4t.ProjectID) wire.Sink {
	return wire.Sink{Topic: wire.TopicAPIPins + "." + h.server, For: project}
}

// run takes samples off the queue until ctx ends.
func (h *pinHub) run(ctx context.Context) error {
	return h.api.queue.Serve(ctx, wire.TopicAPIPins, h.server, pinWorkers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		if method != wire.MethodPinsSamples {
			return nil, s4t.Errorf(s4t.NotFound, method, "", "no such method")
		}
		var req wire.PinSamples
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, s4t.Errorf(s4t.Invalid, method, "", "%w", err)
		}
		return []byte("{}"), h.samples(req)
	})
}

// samples hands samples of a board to those who watch.
func (h *pinHub) samples(req wire.PinSamples) error {
	var to []*pinFeed
	h.mu.Lock()
	for key, f := range h.feeds {
		if key.board == req.Board && (key.project == req.For || req.For == "") { // an older WAMP agent does not say
			to = append(to, f)
		}
	}
	h.mu.Unlock()
	if len(to) == 0 {
		return s4t.Errorf(s4t.NotFound, "watch pins", "", "nobody here watches board %s", req.Board)
	}
	var list []s4t.Sample
	if err := json.Unmarshal(req.Samples, &list); err != nil {
		return s4t.Errorf(s4t.Invalid, "watch pins", "", "samples of board %s are not understood: %w", req.Board, err)
	}
	for _, f := range to {
		f.take(list)
	}
	return nil
}

// heard takes what happened to boards; nil: events may have been missed.
func (h *pinHub) heard(events []s4t.Event) {
	h.mu.Lock()
	feeds := maps.Clone(h.feeds)
	h.mu.Unlock()
	if len(feeds) == 0 {
		return
	}
	if events == nil {
		for _, f := range feeds {
			f.back()
		}
	}
	for _, e := range events {
		for key, f := range feeds {
			if key.board == s4t.BoardID(e.Object) {
				f.heard(e.Kind)
			}
		}
	}
}

// join has a client get samples, beginning with the newest of each of its pins,
// until leave.
func (h *pinHub) join(board s4t.Board, c *pinClient) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return s4t.Errorf(s4t.Unavailable, "watch pins", "try again", "the API is stopping")
	}
	key := keyOf(board, c.caller)
	f := h.feeds[key]
	if f == nil {
		f = &pinFeed{hub: h, feedKey: key, owner: board.Project, name: board.Name, clients: map[*pinClient]bool{}, newest: map[string]*toldSample{}, changed: make(chan struct{}, 1)}
		h.feeds[key] = f
		h.done.Go(f.run)
	}
	c.feed = f
	f.add(c)
	return nil
}

// close ends the feeds; those who watch end because the API does.
func (h *pinHub) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.done.Wait() // they end as the API is stopping
}

// toldSample is a sample as it is sent to those who watch, encoded once.
type toldSample struct {
	s4t.Sample
	text []byte
}

// waiting is a toldSample in the queue of a client; merged counts the client's
// own, too.
type waiting struct {
	*toldSample
	merged uint64
}

func tell(s s4t.Sample) *toldSample { return &toldSample{s, sampleText(s)} }

// sampleText is a sample in the event stream format, without a name: browsers'
// onmessage and node-wot heed no other.
func sampleText(s s4t.Sample) []byte {
	b, err := json.Marshal(s)
	if err != nil { // it was JSON a moment ago
		return nil
	}
	text := make([]byte, 0, len(b)+40)
	text = append(text, "id: "...)
	text = strconv.AppendUint(text, s.Seq, 10)
	text = append(text, "\ndata: "...)
	text = append(text, b...)
	return append(text, "\n\n"...)
}

// write appends the sample as this client gets it.
func (w waiting) write(b *bytes.Buffer) {
	if w.merged == w.Merged {
		b.Write(w.text)
		return
	}
	s := w.Sample
	s.Merged = w.merged
	b.Write(sampleText(s))
}

// pinClient is one who watches.
type pinClient struct {
	feed  *pinFeed
	pins  map[string]bool // by name; nil: all of the board
	queue *samples.Of[waiting]
	news  chan struct{} // cap 1: of the board, or that it has to end

	// Guarded by the feed's mu.
	caller wire.Caller
	err    error // why it has to end
}

func newPinClient(caller wire.Caller, pins []string) *pinClient {
	c := &pinClient{caller: caller, news: make(chan struct{}, 1)}
	c.queue = samples.NewOf(maxWaiting, func(w *waiting) string { return w.Pin }, func(w *waiting) *uint64 { return &w.merged })
	for _, p := range pins {
		if c.pins == nil {
			c.pins = map[string]bool{}
		}
		c.pins[p] = true
	}
	return c
}

func (c *pinClient) watches(pin string) bool { return c.pins == nil || c.pins[pin] }

// wake has a client look at its board and at itself.
func (c *pinClient) wake() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// state is how the board is, and why the client has to end.
func (c *pinClient) state() (away, end error) {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	return c.feed.away, c.err
}

// confirm notes that the caller was verified again, and reports whether it still
// sees the board.
func (c *pinClient) confirm(caller wire.Caller) bool {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	c.caller = caller
	return keyOf(s4t.Board{ID: c.feed.board, Project: c.feed.owner}, caller) == c.feed.feedKey
}

// leave ends what join began.
func (c *pinClient) leave() {
	f := c.feed
	f.mu.Lock()
	delete(f.clients, c)
	f.mu.Unlock()
	f.wake()
}

// sortedPins are the pins of a union; none: all of the board.
func sortedPins(all bool, union map[string]bool) []string {
	if all {
		return nil
	}
	return slices.Sorted(maps.Keys(union))
}

const (
	// retryWatch is when a watch that was not taken is asked for again.
	retryWatch = 2 * time.Second
	// offlineWatch is the same where the board is away; that it is back is
	// told by an event, mostly.
	offlineWatch = 10 * time.Second
)
