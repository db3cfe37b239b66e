package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// sse writes server-sent events (HTML, section 9.2) to one client. What is in buf
// leaves with flush.
type sse struct {
	w   io.Writer
	rc  *http.ResponseController
	buf bytes.Buffer
}

// beginSSE answers with the head of a stream. What else is to be in it is set before.
func beginSSE(w http.ResponseWriter) *sse {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx, in front
	w.WriteHeader(http.StatusOK)
	return &sse{w: w, rc: http.NewResponseController(w)}
}

// event appends one, with its data as JSON; id and name may be empty. Data that is no
// JSON is left out.
func (s *sse) event(id, name string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		return
	}
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	if name != "" {
		s.buf.WriteString("event: " + name + "\n")
	}
	s.buf.WriteString("data: ")
	s.buf.Write(b)
	s.buf.WriteString("\n\n")
}

// boardIs appends that a board is offline, or online again; detail says why nothing comes.
func (s *sse) boardIs(name string, status s4t.BoardStatus, detail string) {
	s.event("", apiclient.EventBoard, apiclient.PinNotice{Board: name, Status: status, Detail: detail, At: time.Now().UTC()})
}

// beat appends what keeps the connection open.
func (s *sse) beat() { s.buf.WriteString(":\n\n") }

// flush writes what there is, at once.
func (s *sse) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	err := s.write(s.buf.Bytes())
	s.buf.Reset()
	if s.buf.Cap() > 1<<20 {
		s.buf = bytes.Buffer{}
	}
	return err
}

// write writes at once, or fails where the client does not read.
func (s *sse) write(text []byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	// HTTP/2 resets a stream whose deadline passes, also when nothing waits to
	// be written.
	return s.rc.SetWriteDeadline(time.Time{})
}
