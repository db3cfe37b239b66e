package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/stack4things/s4t"
)

// maxEvent bounds one line of a stream, in bytes.
const maxEvent = s4t.MaxMessage

// silenceTimeout ends a connection that says nothing: the API sends a heartbeat
// every 15 s.
const silenceTimeout = 40 * time.Second

// stream is an open stream of server-sent events, over one connection after the
// other. One goroutine reads it; Close may be called from any.
type stream struct {
	c       *Client
	what    string          // is attempted, for errors
	ctx     context.Context // of the stream, as net/http wants it for a body
	cancel  context.CancelFunc
	once    bool // end when the connection ends, rather than resume
	request func() (path string, header http.Header)
	began   func(http.Header) // of the answer

	body   io.ReadCloser      // of the present connection
	hangUp context.CancelFunc // ends the present connection
	err    error
}

// connect opens a connection. The context of a request is also that of its
// body, so a watchdog ends the wait for the head of the answer.
func (s *stream) connect() error {
	path, header := s.request()
	header.Set("Accept", "text/event-stream")
	ctx, hangUp := context.WithCancel(s.ctx)
	dog := time.AfterFunc(s.c.timeout, hangUp)
	res, err := s.c.open(ctx, s.what, "GET", path, nil, header)
	if !dog.Stop() && s.ctx.Err() == nil {
		err = s4t.Errorf(s4t.Timeout, s.what, "try again", "no answer of %s in time", s.c.URL())
	}
	if err != nil {
		hangUp()
		return err
	}
	s.began(res.Header)
	s.body, s.hangUp = res.Body, hangUp
	return nil
}

// messages has each message handled until the stream ends; see Err for why.
// message returns false when no more are wanted, and an error where the
// connection is of no use. lost is told of a connection that ended, before the
// next one is opened.
func (s *stream) messages(message func(id, event string, data []byte) (more bool, err error), lost func(error) (more bool)) {
	for {
		more, err := s.read(message)
		s.body.Close()
		s.hangUp()
		if !more || s.once || s.ctx.Err() != nil {
			s.err = err
			return
		}
		if !lost(err) {
			return
		}
		for {
			if !pause(s.ctx, time.Second) {
				return
			}
			err := s.connect()
			if err == nil {
				break
			}
			if k := s4t.KindOf(err); k != s4t.Unavailable && k != s4t.Timeout && k != s4t.TooMany {
				s.err = err
				return
			}
		}
	}
}

// Err returns why the stream ended: nil after Close, the end of the context or
// of the loop over All.
func (s *stream) Err() error { return s.err }

// Close ends the stream.
func (s *stream) Close() { s.cancel() }

// read parses one connection (the event stream format of the HTML standard,
// section 9.2.6) until it ends. It returns false when no more is wanted. The id
// of a message is the last one that was said; a heartbeat has no data.
func (s *stream) read(message func(id, event string, data []byte) (bool, error)) (bool, error) {
	dog := time.AfterFunc(silenceTimeout, s.hangUp)
	defer dog.Stop()
	lines := bufio.NewScanner(s.body)
	lines.Buffer(make([]byte, 4096), maxEvent)
	var data []byte
	var id, event string
	for lines.Scan() {
		dog.Reset(silenceTimeout)
		line := lines.Bytes()
		if len(line) > 0 {
			field, value, _ := bytes.Cut(line, []byte(":"))
			value = bytes.TrimPrefix(value, []byte(" "))
			switch string(field) {
			case "id":
				id = string(value)
			case "event":
				event = string(value)
			case "data":
				if len(data) > maxEvent {
					return true, errors.New("an event is too long")
				}
				if len(data) > 0 {
					data = append(data, '\n')
				}
				data = append(data, value...)
			}
			continue
		}
		more, err := message(id, event, data)
		if !more || err != nil {
			return more, err
		}
		data, event = data[:0], ""
	}
	if s.ctx.Err() != nil {
		return true, nil
	}
	return true, lines.Err()
}
