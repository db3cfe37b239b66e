package cloud

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	// maxGuests is how many connections may be neither a board's nor a
	// stream's at a time: in a TLS handshake, sending a request, being
	// answered, or kept idle. One more ends the one of its source that has been
	// quiet for longest. Each costs some 20 KB, most of it the TLS handshake's.
	maxGuests = 4096
	// maxOfSource is how many of them one source may have that have spoken: one more
	// ends the one that was quiet for longest. Boards of a site behind one address
	// are none soon after their first word.
	maxOfSource = 512
	// silenceTimeout ends a connection on which no byte of HTTP has come: the TLS
	// handshake counts too.
	silenceTimeout = s4t.HandshakeTimeout
	// sampled is how many sources are compared, chosen at random, to find one
	// that has many connections: a flood from as many is no single source's.
	sampled = 64
)

// admission keeps strangers from taking what others need: file descriptors and
// memory. Connections that were handed over, with a ticket or to the WAMP
// router, are not its concern any more, nor are those with a stream of events,
// as long as it goes on: both are for those who have said who they are, and have
// bounds of their own.
type admission struct {
	max  int // guests at a time
	gate *gate

	mu      sync.Mutex // guards the fields below
	conns   map[net.Conn]*guest
	sources map[netip.Prefix]*list.List // of *guest, the longest quiet first
	streams map[net.Conn]int            // streams of events on connections that have some
}

// guest is a connection that net/http serves.
type guest struct {
	conn   net.Conn
	source netip.Prefix
	listed *list.Element // in the list of its source
	clock  *time.Timer   // ends a connection that says nothing; nil once it spoke
}

func newAdmission(g *gate) *admission {
	return &admission{max: maxGuests, gate: g, conns: map[net.Conn]*guest{}, sources: map[netip.Prefix]*list.List{}, streams: map[net.Conn]int{}}
}

// sourceOf is who a peer counts as; see [s4t.SourceOf].
func sourceOf(a net.Addr) netip.Prefix {
	ap, _ := netip.ParseAddrPort(a.String())
	return s4t.SourceOf(ap.Addr())
}

// state follows a connection, as [http.Server.ConnState].
func (a *admission) state(c net.Conn, st http.ConnState) {
	if st != http.StateNew {
		a.gate.leave(c)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.conns[c]
	switch {
	case st == http.StateHijacked || st == http.StateClosed:
		delete(a.streams, c)
		if g != nil {
			a.forget(g)
		}
	case st == http.StateNew:
		g := a.add(c)
		g.clock = time.AfterFunc(silenceTimeout, func() { c.Close() })
	case g != nil:
		g.spoke()
		l := a.sources[g.source]
		l.MoveToBack(g.listed)
		if first := l.Front().Value.(*guest); l.Len() > maxOfSource && first.clock == nil {
			a.end(first)
		}
	}
}

// add notes a connection, the last to be ended. mu is held.
func (a *admission) add(c net.Conn) *guest {
	if len(a.conns) >= a.max {
		a.makeRoom()
	}
	g := &guest{conn: c}
	a.conns[c] = g
	a.list(g, sourceOf(c.RemoteAddr()))
	return g
}

// list puts a guest at the end of the list of a source. mu is held.
func (a *admission) list(g *guest, source netip.Prefix) {
	l := a.sources[source]
	if l == nil {
		l = list.New()
		a.sources[source] = l
	}
	g.source, g.listed = source, l.PushBack(g)
}

// unlist takes it off. mu is held.
func (a *admission) unlist(g *guest) {
	l := a.sources[g.source]
	if l.Remove(g.listed); l.Len() == 0 {
		delete(a.sources, g.source)
	}
}

// comesFrom notes whose request a proxy sends on a connection.
func (a *admission) comesFrom(c net.Conn, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g := a.conns[c]; g != nil {
		a.unlist(g)
		a.list(g, s4t.SourceOf(ip))
	}
}

// spoke stops the clock.
func (g *guest) spoke() {
	if g.clock != nil {
		g.clock.Stop()
		g.clock = nil
	}
}

// forget takes a connection off the lists. mu is held.
func (a *admission) forget(g *guest) {
	g.spoke()
	delete(a.conns, g.conn)
	a.unlist(g)
}

// makeRoom ends the connection that has been quiet for longest, of the source
// that has the most. mu is held.
func (a *admission) makeRoom() {
	var most *list.List
	seen := 0
	for _, l := range a.sources { // in random order
		if most == nil || l.Len() > most.Len() {
			most = l
		}
		if seen++; seen == sampled {
			break
		}
	}
	a.end(most.Front().Value.(*guest))
}

// end ends a connection. mu is held.
func (a *admission) end(g *guest) {
	a.forget(g)
	go g.conn.Close() // TLS may take its time to say goodbye
}

// connKey is the context key of a request's [connection].
type connKey struct{}

// connection is what a request came on.
type connection struct {
	admission *admission
	conn      net.Conn
}

// context is [http.Server.ConnContext].
func (a *admission) context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, connection{a, c})
}

// streamBegins takes a connection off the guests.
func (a *admission) streamBegins(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g := a.conns[c]; g != nil {
		a.forget(g)
	} else if a.streams[c] == 0 {
		return // it was ended a moment ago
	}
	a.streams[c]++
}

// streamEnds makes a connection a guest again after its last stream.
func (a *admission) streamEnds(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.streams[c] {
	case 0: // the connection has gone
	case 1:
		delete(a.streams, c)
		a.add(c)
	default:
		a.streams[c]--
	}
}

// noteStreams tells the admission of streams of events. The API begins one only
// for a caller with a token.
func noteStreams(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(connection)
		if !ok {
			h.ServeHTTP(w, r)
			return
		}
		sw := &streamWriter{ResponseWriter: w, connection: c}
		defer sw.end()
		h.ServeHTTP(sw, r)
	})
}

// streamWriter notices when an answer becomes a stream of events.
type streamWriter struct {
	http.ResponseWriter
	connection
	streams bool
}

// WriteHeader looks at what the answer is.
func (w *streamWriter) WriteHeader(status int) {
	w.noteStatus(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write does so where no status was given.
func (w *streamWriter) Write(b []byte) (int, error) {
	w.noteStatus(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

func (w *streamWriter) noteStatus(status int) {
	if !w.streams && status == http.StatusOK && w.Header().Get("Content-Type") == "text/event-stream" {
		w.streams = true
		w.admission.streamBegins(w.conn)
	}
}

// Unwrap is for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *streamWriter) end() {
	if w.streams {
		w.admission.streamEnds(w.conn)
	}
}
