package cloud

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wamp"
)

const (
	// maxHeader bounds a request's head, in bytes. A token is 47 bytes, a
	// ticket at most 2 KB.
	maxHeader = 32 << 10
	// idleTimeout of a kept connection between two requests.
	idleTimeout = 2 * time.Minute
	// bodyTimeout is how long a request's body may take: 1 MB at 35 KB/s. A
	// shorter one has bodyGrace, and a second more for every bodyRate bytes that
	// came.
	bodyTimeout = 30 * time.Second
	bodyGrace   = 8 * time.Second
	bodyRate    = 16 << 10
	// maxStreams bounds the requests at a time on one connection of HTTP/2, and
	// streamBuffer what one of them may send before it is read, in bytes;
	// together they may send connBuffer.
	maxStreams   = 32
	streamBuffer = 64 << 10
	connBuffer   = 128 << 10
	// answerTimeout is how long a client may take to read an answer; a long
	// poll's wait counts. Event streams set their own at each event.
	answerTimeout = 2 * time.Minute
)

// handlers are behind the one port; nil where the process lacks the role.
type handlers struct {
	api, wamp, rtunnel http.Handler
	pages              http.Handler // what browsers see at all other paths

	ready func(context.Context) error // says why the process is not ready, for load balancers; nil: nobody asks
}

// routes chooses by path.
func (hs handlers) routes() http.Handler {
	mux := http.NewServeMux()
	if hs.api != nil {
		mux.Handle("/v1/", noteStreams(hs.api))
		mux.Handle("/.well-known/wot", hs.api) // where a directory of Thing Descriptions is looked for
	}
	if hs.wamp != nil {
		mux.Handle(wamp.Path, hs.wamp)
	}
	if hs.rtunnel != nil {
		mux.Handle(rtunnel.Path, hs.rtunnel)
	}
	mux.HandleFunc("GET /healthz", healthz)
	if hs.ready != nil {
		mux.HandleFunc("GET /readyz", readyz(hs.ready))
	}
	if hs.pages != nil {
		mux.Handle("/", hs.pages)
		for path, h := range map[string]http.Handler{wamp.Path: hs.wamp, rtunnel.Path: hs.rtunnel} {
			if h == nil { // who dials the wrong process is told so, and gets no page
				mux.HandleFunc(path, http.NotFound)
			}
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			// Not for requests without a body: HTTP/1 takes a deadline that
			// passes while it waits for the next request as the client's end.
			b := &pacedBody{ReadCloser: r.Body, rc: http.NewResponseController(w), began: time.Now()}
			b.rc.SetReadDeadline(b.began.Add(bodyTimeout)) // also where nobody reads it
			r.Body = b
		}
		mux.ServeHTTP(w, r)
	})
}

// pacedBody is a body that has to come at some pace.
type pacedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	began time.Time // of the request
	first time.Time // when it was read first: its room may have been waited for
	n     int64     // bytes that came
}

// Read fails with [os.ErrDeadlineExceeded] where it is too slow. Once the end
// has come, there is no deadline any more.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.first.IsZero() {
		b.first = time.Now()
	}
	late := b.first.Add(bodyGrace + time.Duration(b.n)*time.Second/bodyRate)
	if last := b.began.Add(bodyTimeout); late.After(last) {
		late = last
	}
	b.rc.SetReadDeadline(late)
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err == io.EOF {
		b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// newHTTPServer bounds what a peer may cost before it has said who it is.
func newHTTPServer(h http.Handler, a *admission, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s4t.HandshakeTimeout, // the TLS handshake's bound too
		WriteTimeout:      answerTimeout,        // what is hijacked is free of it
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connBuffer,
		},
		ConnState:   a.state,
		ConnContext: a.context,
		// What strangers do to the listener is no operator's concern.
		ErrorLog: log.New(debugWriter{logger}, "", 0),
	}
}

// serveHTTP serves the one port until ctx ends.
func serveHTTP(ctx context.Context, srv *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Long answers (events) end with the API; what is hijacked belongs to the
	// agents.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	<-failed
	return nil
}

// debugWriter takes what net/http logs.
type debugWriter struct{ log *slog.Logger }

func (d debugWriter) Write(b []byte) (int, error) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug("http", "err", string(b))
	}
	return len(b), nil
}
