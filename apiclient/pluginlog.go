package apiclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// LogMessage is what a stream of a plugin's log says: a line, or, where Notice is
// not nil, that none come now or that they do again.
type LogMessage struct {
	s4t.LogLine
	Notice *PinNotice
}

// LogStream is the log of a plugin, followed. One goroutine reads it; Close may be
// called from any.
type LogStream struct {
	stream
	board, plugin string
	since         time.Time // lines from then on
	last          uint64    // the Seq of the newest line
}

// FollowPluginLog opens the stream: the lines that the board keeps, with since
// only those of that time until now, and then those that come. It goes on while
// the board is away, and begins only when it is there.
func (c *Client) FollowPluginLog(ctx context.Context, board, plugin string, since time.Duration) (*LogStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &LogStream{board: board, plugin: plugin}
	if since > 0 {
		s.since = time.Now().Add(-since)
	}
	s.stream = stream{c: c, what: "follow the log of plugin " + plugin + " on board " + board, ctx: ctx, cancel: cancel, request: s.ask, began: func(http.Header) {}}
	if err := s.connect(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// ask is the request for what is not known yet.
func (s *LogStream) ask() (string, http.Header) {
	since, h := "", http.Header{}
	if !s.since.IsZero() {
		since = s.since.UTC().Format(time.RFC3339)
	}
	if s.last > 0 {
		h.Set("Last-Event-Id", strconv.FormatUint(s.last, 10))
	}
	return query(path("boards", s.board, "plugins", s.plugin, "logs", "stream"), "since", since), h
}

// All yields what comes until the stream ends; see Err for why. It resumes after a
// lost connection, where it was, and a notice tells of it.
func (s *LogStream) All() iter.Seq[LogMessage] {
	return func(yield func(LogMessage) bool) {
		s.messages(func(_, event string, data []byte) (bool, error) {
			if len(data) == 0 {
				return true, nil
			}
			var m LogMessage
			var err error
			if event == EventBoard {
				err = json.Unmarshal(data, &m.Notice)
			} else if err = json.Unmarshal(data, &m.LogLine); err == nil {
				s.last = max(s.last, m.Seq)
			}
			if err != nil {
				return true, s4t.Errorf(s4t.Internal, s.what, "", "a line is not understood: %w", err)
			}
			return yield(m), nil
		}, func(error) bool {
			return yield(LogMessage{Notice: &PinNotice{Board: s.board, Detail: "the connection to " + s.c.URL() + " was lost", At: time.Now()}})
		})
	}
}
