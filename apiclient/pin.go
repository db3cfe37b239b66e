package apiclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Pins are the pins of a board. Reported is when the board told of them, where it
// is away and they are the cloud's copy, without values; else it is zero.
type Pins struct {
	Pins     []s4t.Pin
	Reported time.Time
}

// Pins lists the pins of a board, by name; with names or labels only these, and
// they are read now where they are not sampled.
func (c *Client) Pins(ctx context.Context, board string, pins ...string) (out Pins, err error) {
	what := "list pins of board " + board
	if len(pins) > 0 {
		what = "read " + pinText(pins) + " of board " + board
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.open(ctx, what, "GET", pinQuery(path("boards", board, "pins"), pins, ""), nil, nil)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	out.Reported, _ = time.Parse(time.RFC3339Nano, res.Header.Get("X-Reported-At"))
	return out, c.decode(ctx, what, res, &out.Pins)
}

// pinText names pins, for errors.
func pinText(pins []string) string {
	if len(pins) == 1 {
		return "pin " + pins[0]
	}
	return strconv.Itoa(len(pins)) + " pins"
}

// pinQuery appends pins and since to a path.
func pinQuery(path string, pins []string, since string) string {
	q := url.Values{}
	for _, p := range pins {
		q.Add("pin", p)
	}
	if since != "" {
		q.Set("since", since)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// ReadPin reads a pin.
func (c *Client) ReadPin(ctx context.Context, board, pin string) (s s4t.Sample, err error) {
	return s, c.do(ctx, "read pin "+pin+" of board "+board, "GET", path("boards", board, "pins", pin, "sample"), nil, &s)
}

// WritePin writes a pin, and returns it as it is after it. A value that is
// written for a time has an operation, which ends when the value goes back; then
// the pin is nil.
func (c *Client) WritePin(ctx context.Context, board, pin string, w PinWrite) (*s4t.Pin, *s4t.Operation, error) {
	var p s4t.Pin
	op, err := c.write(ctx, "write pin "+pin+" of board "+board, path("boards", board, "pins", pin), w, &p)
	if op != nil || err != nil {
		return nil, op, err
	}
	return &p, nil, nil
}

// WritePins writes several pins of a board, all or none, and returns them.
func (c *Client) WritePins(ctx context.Context, board string, w PinsWrite) (l []s4t.Pin, err error) {
	_, err = c.write(ctx, "write pins of board "+board, path("boards", board, "pins"), w, &l)
	return l, err
}

// write sends an order, and decodes pins or the operation. It is not sent again
// by itself: a value that is written later is another order.
func (c *Client) write(ctx context.Context, what, path string, body, pins any) (*s4t.Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := c.openOnce(ctx, what, "PUT", path, body, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		return nil, c.decode(ctx, what, res, pins)
	}
	var op s4t.Operation
	if err := c.decode(ctx, what, res, &op); err != nil {
		return nil, err
	}
	return &op, nil
}

// SetPin changes settings of a pin, by key.
func (c *Client) SetPin(ctx context.Context, board, pin string, settings map[string]string) (p s4t.Pin, err error) {
	return p, c.do(ctx, "set pin "+pin+" of board "+board, "PATCH", path("boards", board, "pins", pin), settings, &p)
}

// ClaimPin claims a pin, or extends a claim. The lease of the pin has the fence.
func (c *Client) ClaimPin(ctx context.Context, board, pin string, hold PinHold) (p s4t.Pin, err error) {
	return p, c.do(ctx, "claim pin "+pin+" of board "+board, "POST", path("boards", board, "pins", pin, "claim"), hold, &p)
}

// ReleasePin ends a claim: the caller's, or another's of a lower priority.
func (c *Client) ReleasePin(ctx context.Context, board, pin string, priority int) (p s4t.Pin, err error) {
	text := ""
	if priority > 0 {
		text = strconv.Itoa(priority)
	}
	return p, c.do(ctx, "release pin "+pin+" of board "+board, "DELETE", query(path("boards", board, "pins", pin, "claim"), "priority", text), nil, &p)
}

// PinHistory is what a board kept of a pin since then, oldest first; with 0, all.
func (c *Client) PinHistory(board, pin string, since time.Duration) List[s4t.Sample] {
	text := ""
	if since > 0 {
		text = since.String()
	}
	return List[s4t.Sample]{c, "list the history of pin " + pin + " of board " + board, query(path("boards", board, "pins", pin, "history"), "since", text)}
}

// AllPins are the cloud's copy of the pins of boards.
type AllPins struct {
	Boards    []wire.PinBoard
	EventID   int64 // what changed later is told by events after it
	Unchanged bool  // since the event that was known; nothing else is said then
}

// AllPins lists the pins of boards, names or ids, or of all, without values.
// Where nothing has changed since the event known, it says only that; 0 is none.
func (c *Client) AllPins(ctx context.Context, boards []string, known int64) (out AllPins, err error) {
	const what = "list pins of all boards"
	q := url.Values{"board": boards}
	next := path("pins")
	if len(q["board"]) > 0 {
		next += "?" + q.Encode()
	}
	header := http.Header{}
	if known > 0 {
		header.Set("If-None-Match", `W/"`+strconv.FormatInt(known, 10)+`"`)
	}
	for first := true; next != ""; first = false {
		page, err := func() (page []wire.PinBoard, err error) {
			ctx, cancel := context.WithTimeout(ctx, c.timeout)
			defer cancel()
			res, err := c.open(ctx, what, "GET", next, nil, header)
			if err != nil {
				return nil, err
			}
			defer res.Body.Close()
			next = c.nextPage(res.Header)
			if first {
				out.EventID, _ = strconv.ParseInt(res.Header.Get("X-Event-Id"), 10, 64)
			}
			if res.StatusCode == http.StatusNotModified {
				out.Unchanged = true
				return nil, nil
			}
			return page, c.decode(ctx, what, res, &page)
		}()
		if err != nil || out.Unchanged {
			return out, err
		}
		out.Boards = append(out.Boards, page...)
		header = http.Header{}
	}
	return out, nil
}

// PinsOptions of a stream of samples.
type PinsOptions struct {
	Pins  []string      // names or labels; none: all of the board
	Since time.Duration // begin with the history since then; 0: with the newest sample of each pin
	Once  bool          // end when the connection ends, rather than resume
}

// PinMessage is what a stream of samples says: a sample, or, where Notice is not
// nil, that none come now or that they do again.
type PinMessage struct {
	s4t.Sample
	Notice *PinNotice
}

// PinStream is an open stream of samples. One goroutine reads it; Close may be
// called from any.
type PinStream struct {
	stream
	board string
	o     PinsOptions
	last  map[string]s4t.Sample // by pin
	at    time.Time             // of the newest sample
	cut   bool                  // the connection was lost: what comes next is told
}

// resumeSlack is how far before the newest sample a stream resumes: samples of
// several pins do not come in the order of their times.
const resumeSlack = 5 * time.Second

// WatchPins opens the stream. Each sample comes once; the newest of each pin
// comes first. The stream goes on while the board is away.
func (c *Client) WatchPins(ctx context.Context, board string, o PinsOptions) (*PinStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &PinStream{board: board, o: o, last: map[string]s4t.Sample{}}
	what := "watch pins of board " + board
	if len(o.Pins) == 1 {
		what = "watch pin " + o.Pins[0] + " of board " + board
	}
	s.stream = stream{c: c, what: what, ctx: ctx, cancel: cancel, once: o.Once, request: s.ask, began: func(http.Header) {}}
	if err := s.connect(); err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// ask is the request for what is not known yet.
func (s *PinStream) ask() (string, http.Header) {
	since := ""
	switch {
	case !s.at.IsZero():
		since = s.at.Add(-resumeSlack).UTC().Format(time.RFC3339Nano)
	case s.o.Since > 0:
		since = s.o.Since.String()
	}
	return pinQuery(path("boards", s.board, "pins", "stream"), s.o.Pins, since), http.Header{}
}

// All yields what comes until the stream ends; see Err for why. Unless Once is
// set it resumes after a lost connection, where it was, and a notice tells of it.
func (s *PinStream) All() iter.Seq[PinMessage] {
	return func(yield func(PinMessage) bool) {
		s.messages(func(_, event string, data []byte) (bool, error) {
			if s.cut {
				s.cut = false
				if !yield(PinMessage{Notice: &PinNotice{Board: s.board, Status: s4t.BoardOnline, At: time.Now()}}) {
					return false, nil
				}
			}
			if len(data) == 0 {
				return true, nil
			}
			var m PinMessage
			var err error
			if event == EventBoard {
				m.Notice = &PinNotice{}
				err = json.Unmarshal(data, m.Notice)
			} else {
				err = json.Unmarshal(data, &m.Sample)
			}
			switch {
			case err != nil:
				return true, s4t.Errorf(s4t.Internal, s.what, "", "a sample is not understood: %w", err)
			case m.Notice != nil:
				return yield(m), nil
			}
			if last, ok := s.last[m.Pin]; ok && m.Seq <= last.Seq && !m.At.After(last.At) {
				return true, nil // it came before
			}
			if s.last[m.Pin] = m.Sample; m.At.After(s.at) {
				s.at = m.At
			}
			return yield(m), nil
		}, func(err error) bool {
			s.cut = true
			n := &PinNotice{Board: s.board, Detail: "the connection to " + s.c.URL() + " was lost", At: time.Now()}
			return yield(PinMessage{Notice: n})
		})
	}
}
