// Package pagelab is a cloud for the dashboard's pages alone: it has the bundle, as many boards as
// are wanted, and a stream of events as fast as a page reads. What pages cost is measured with it.
package pagelab

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/dashboard"
)

// Server is such a cloud, on a port of this machine. Close it.
type Server struct {
	*httptest.Server
	boards []board
	begin  time.Time

	mu      sync.Mutex
	last    int64       // id of the newest event
	streams []*stream   // of pages
	done    []string    // ids of the operations that were told of
	joined  *sync.Cond  // told of a stream more
	one     s4t.Session // who everybody is
}

// board is what the dashboard asks of boards in lists.
type board struct {
	ID          s4t.BoardID       `json:"id"`
	Name        string            `json:"name"`
	Project     s4t.ProjectID     `json:"project"`
	Type        string            `json:"type"`
	Labels      map[string]string `json:"labels"`
	Status      s4t.BoardStatus   `json:"status"`
	LastSeen    time.Time         `json:"last_seen"`
	CreatedAt   time.Time         `json:"created_at"`
	WAMPAgent   string            `json:"wamp_agent"`
	TunnelAgent string            `json:"tunnel_agent"`
	Info        info              `json:"info"`
}

type info struct {
	Version string `json:"version"`
	Arch    string `json:"arch"`
	OS      string `json:"os"`
}

// stream is what one page hears; what it does not read yet holds up who tells it.
type stream struct {
	told chan []byte
	gone <-chan struct{}
}

const project = s4t.ProjectID("3f0e8a52-4f0a-4b1e-9d0c-0d4a6b1f7c55")

// Start serves a cloud of n boards, over TLS and HTTP/2 as the real one.
func Start(n int) (*Server, error) {
	s := &Server{begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), last: 1}
	s.joined = sync.NewCond(&s.mu)
	expires := time.Now().Add(s4t.SessionLifetime)
	s.one = s4t.Session{User: "admin", Role: s4t.RoleAdmin, Project: project, ProjectName: "default", Token: "5b2d8f39-0c44-4bb1-8a79-7a9d1f6f1a01", ExpiresAt: &expires, Browser: true}
	for i := range n {
		s.boards = append(s.boards, s.board(i))
	}
	s.Server = httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	pages, err := dashboard.New(dashboard.Config{URL: "https://" + s.Listener.Addr().String()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/session", func(w http.ResponseWriter, r *http.Request) {
		one := s.one
		if r.Method == http.MethodPost {
			one.Half = "half"
		}
		answer(w, r, one)
	})
	mux.HandleFunc("GET /v1/boards", s.list)
	mux.HandleFunc("GET /v1/boards/{ref}", s.show)
	mux.HandleFunc("GET /v1/operations/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, operation(r.PathValue("id"), s.begin))
	})
	mux.HandleFunc("GET /v1/operations", s.operations)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Event-Id", "1")
		answer(w, r, []struct{}{})
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { // what a browser takes by itself
		io.WriteString(w, "<!doctype html><title>empty</title><main><h1>empty</h1></main>")
	})
	mux.Handle("/", pages)
	s.Config.Handler = mux
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers ask about its certificate by hanging up
	s.StartTLS()
	return s, nil
}

// Link logs a browser in.
func (s *Server) Link() string { return s.URL + "/#login=link" }

var types = []string{"raspberry-pi-4", "arduino-yun", "beaglebone", "gateway-x86", "openwrt-router"}

// board is the i-th; one of forty is away.
func (s *Server) board(i int) board {
	b := board{
		ID: s4t.BoardID(fmt.Sprintf("%08x-1111-4111-8111-%012x", i, i)), Name: fmt.Sprintf("board-%05d", i), Project: project, Type: types[i%len(types)],
		Labels: map[string]string{"site": fmt.Sprintf("site-%03d", i%180), "floor": strconv.Itoa(i % 7)}, Status: s4t.BoardOnline,
		LastSeen: s.begin.Add(time.Duration(i) * time.Second), CreatedAt: s.begin, WAMPAgent: "wamp-agent-1", TunnelAgent: "tunnel-agent-1",
		Info: info{"1.4.0", "arm64", "linux"},
	}
	if i%40 == 7 {
		b.Status = s4t.BoardOffline
	}
	return b
}

// list answers page by page, as the API does.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if limit < 1 {
		limit = 500
	}
	after, _ := strconv.Atoi(r.URL.Query().Get("after"))
	from := min(max(after, 0), len(s.boards))
	to := min(from+min(limit, 2000), len(s.boards))
	if to < len(s.boards) {
		q := r.URL.Query()
		q.Set("after", strconv.Itoa(to))
		w.Header().Set("Link", `</v1/boards?`+q.Encode()+`>; rel="next"`)
	}
	w.Header().Set("X-Event-Id", "1")
	answer(w, r, s.boards[from:to])
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	ref := r.PathValue("ref")
	for _, b := range s.boards {
		if b.Name == ref || string(b.ID) == ref {
			answer(w, r, b)
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
}

// operations lists those that were told of, as the API does.
func (s *Server) operations(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	ids := s.done
	s.mu.Unlock()
	list := make([]s4t.Operation, len(ids))
	for i, id := range ids {
		list[i] = operation(id, s.begin)
	}
	w.Header().Set("X-Event-Id", "1")
	answer(w, r, list)
}

// answer is JSON, compressed as the API compresses.
func answer(w http.ResponseWriter, r *http.Request, v any) {
	w.Header().Set("Content-Type", "application/json")
	var out io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one
		defer z.Close()
		out = z
	}
	json.NewEncoder(out).Encode(v) // who has gone does not read it
}

// events is the stream of one page.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	st := &stream{told: make(chan []byte, 16), gone: r.Context().Done()}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	s.mu.Lock()
	h.Set("X-Event-Id", strconv.FormatInt(s.last, 10))
	s.streams = append(s.streams, st)
	s.joined.Broadcast()
	s.mu.Unlock()
	w.Write([]byte(": ready\n\n"))
	flush := http.NewResponseController(w)
	flush.Flush()
	for {
		select {
		case b := <-st.told:
			if _, err := w.Write(b); err != nil {
				return
			}
			if len(st.told) == 0 {
				flush.Flush()
			}
		case <-st.gone:
			return
		}
	}
}

// Await waits until a page follows the events.
func (s *Server) Await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.followed() {
		s.joined.Wait()
	}
}

func (s *Server) followed() bool {
	for _, st := range s.streams {
		select {
		case <-st.gone:
		default:
			return true
		}
	}
	return false
}

// Tell tells an event to the pages that follow, and returns when it was written.
func (s *Server) Tell(e s4t.Event) {
	s.tell([]s4t.Event{e})
}

func (s *Server) tell(list []s4t.Event) {
	var text []byte
	s.mu.Lock()
	for i := range list {
		s.last++
		list[i].ID, list[i].Project = s.last, project
		data, err := json.Marshal(list[i])
		if err != nil {
			panic(err) // of this package's own values
		}
		text = fmt.Appendf(text, "id: %d\nevent: %s\ndata: %s\n\n", s.last, list[i].Kind, data)
	}
	streams := s.streams
	s.mu.Unlock()
	for _, st := range streams {
		select {
		case st.told <- text:
		case <-st.gone:
		}
	}
}

// Replay tells n events of a busy hour as fast as pages read: boards that go and come, and of each
// hundred events three of an operation. It ends with an event of the name last.
func (s *Server) Replay(n int, last string) {
	const together = 50
	batch := make([]s4t.Event, 0, together)
	for i := range n - 1 {
		at := s.begin.Add(time.Duration(i) * 10 * time.Millisecond)
		var e s4t.Event
		switch i % 100 {
		case 97, 98, 99:
			kind := []string{"operation.started", "operation.step", "operation.succeeded"}[i%100-97]
			id := fmt.Sprintf("%08x-2222-7222-8222-%012x", i/100, i/100)
			if kind == "operation.started" {
				s.mu.Lock()
				s.done = append(s.done, id)
				s.mu.Unlock()
			}
			e = s4t.Event{At: at, Kind: kind, Object: id, Name: "lab", Data: operation(id, at)}
		default:
			b := s.boards[i%len(s.boards)]
			b.Status = []s4t.BoardStatus{s4t.BoardOffline, s4t.BoardOnline}[i/len(s.boards)%2]
			b.LastSeen = at
			e = s4t.Event{At: at, Kind: "board." + string(b.Status), Object: string(b.ID), Name: b.Name, Board: b.Name, Data: map[string]any{"id": b.ID, "name": b.Name, "status": b.Status, "last_seen": at}}
		}
		if batch = append(batch, e); len(batch) == together {
			s.tell(batch)
			batch = batch[:0]
		}
	}
	s.tell(append(batch, s4t.Event{At: s.begin, Kind: "board.updated", Object: string(s.boards[0].ID), Name: last, Board: last}))
}

// operation is one that made a bridge.
func operation(id string, at time.Time) s4t.Operation {
	end := at.Add(90 * time.Millisecond)
	o := s4t.Operation{ID: s4t.OperationID(id), Kind: "bridge.create", Project: project, Status: s4t.OperationSucceeded, CreatedAt: at, EndedAt: &end}
	for n := 1; n <= 10; n++ {
		o.Steps = append(o.Steps, s4t.Step{Number: n, Name: s4t.StepName[n], At: at.Add(time.Duration(n) * 8 * time.Millisecond)})
	}
	return o
}
