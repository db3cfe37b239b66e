package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	maxWaiting  = 64                          // calls that wait for a plugin that is busy
	maxAnswer   = s4t.MaxCommandResult + 4096 // bytes of a line of the protocol
	maxFailure  = 4096                        // bytes of what a plugin says went wrong
	writeLimit  = 10 * time.Second            // for a plugin to take a line; it is not reading then
	maxRequest  = s4t.MaxCommandParams + 4096 // bytes of a request
	cancelGrace = s4t.CommandGrace            // for a call that is cancelled to end by itself
)

// Call is one run of a command.
type Call struct {
	ID      string // of the run; the plugin sees it
	Command string
	Params  json.RawMessage // an object; nil: {}
}

// request is what a plugin is told, in one line of JSON.
type request struct {
	ID      string          `json:"id"`
	Command string          `json:"command,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Cancel  bool            `json:"cancel,omitempty"`
}

// answer is what it says, in one line of JSON: the result or an error ends the call,
// output does not.
type answer struct {
	ID     string          `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *string         `json:"error"`
	Output json.RawMessage `json:"output"`

	lost error // instead of an answer
}

// talk speaks the protocol of callable plugins with one process: requests in, answers
// out, several at a time where the plugin takes that.
type talk struct {
	log   *ring
	slots chan struct{} // one for each call that runs

	write sync.Mutex // one line at a time; guards w
	w     writer     // nil: it cannot be spoken to now

	mu      sync.Mutex // guards the fields below
	serial  uint64     // makes the ids of calls unique for this process
	waiting int
	calls   map[string]*pending
	ended   chan struct{} // closed when it ended
	why     error         // it ended
}

// writer is where requests go.
type writer interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// errSilent says that there is no connection with the plugin.
var errSilent = errors.New("the plugin does not listen at its socket")

// pending is a call that is not answered yet.
type pending struct {
	done chan answer // 1

	mu     sync.Mutex // guards output, which is not called after the call has returned
	output func(json.RawMessage)
}

// said gives output to who called.
func (p *pending) said(text json.RawMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.output != nil {
		p.output(text)
	}
}

func (p *pending) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = nil
}

func newTalk(w writer, parallel int, log *ring) *talk {
	return &talk{log: log, slots: make(chan struct{}, parallel), w: w, calls: map[string]*pending{}, ended: make(chan struct{})}
}

// call runs a command and waits for its answer. kill is called where the plugin does
// not end a call that was cancelled: it ends the process. The error is the plugin's
// own (Invalid), TooMany, Unavailable where the plugin ended, or the cause of ctx.
func (t *talk) call(ctx context.Context, c Call, output func(json.RawMessage), kill func(why string)) (json.RawMessage, error) {
	op := "run the command " + c.Command
	if err := t.enter(ctx, op); err != nil {
		return nil, err
	}
	defer func() { <-t.slots }()

	p := &pending{output: output, done: make(chan answer, 1)}
	t.mu.Lock()
	id := c.ID
	if t.serial++; id == "" || t.calls[id] != nil {
		id = c.ID + "#" + strconv.FormatUint(t.serial, 10)
	}
	t.calls[id] = p
	t.mu.Unlock()
	defer func() {
		p.hush()
		t.mu.Lock()
		delete(t.calls, id)
		t.mu.Unlock()
	}()

	params := c.Params
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if err := t.say(request{ID: id, Command: c.Command, Params: params}); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			kill("it does not read its requests")
		}
		return nil, s4t.Errorf(s4t.Unavailable, op, "the log of the plugin may say why", "the plugin did not take the request: %w", err)
	}
	var late <-chan time.Time
	stop := ctx.Done()
	for {
		select {
		case a := <-p.done:
			switch {
			case (a.Error != nil || a.lost != nil) && ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case a.lost != nil:
				return nil, s4t.Errorf(s4t.Unavailable, op, "the log of the plugin may say why", "%w", a.lost)
			case a.Error != nil:
				return nil, s4t.Errorf(s4t.Invalid, "", "", "%s", s4t.Line(*a.Error, maxFailure))
			}
			return a.Result, nil // also after it was cancelled: it was done
		case <-t.ended:
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			return nil, s4t.Errorf(s4t.Unavailable, op, "the log of the plugin may say why", "%w", t.why)
		case <-stop:
			stop = nil
			timer := time.NewTimer(cancelGrace)
			defer timer.Stop()
			late = timer.C
			if err := t.say(request{ID: id, Cancel: true}); errors.Is(err, os.ErrDeadlineExceeded) {
				kill("it does not read its requests")
			}
		case <-late:
			kill(fmt.Sprintf("it did not end the command %s when it was told to", c.Command))
			late = nil // the process ends, and this call with it
		}
	}
}

// enter waits for a free slot.
func (t *talk) enter(ctx context.Context, op string) error {
	select {
	case t.slots <- struct{}{}:
		return nil
	default:
	}
	t.mu.Lock()
	full := t.waiting >= maxWaiting
	if !full {
		t.waiting++
	}
	t.mu.Unlock()
	if full {
		return s4t.Errorf(s4t.TooMany, op, "wait for some to end", "%d calls wait for the plugin already", maxWaiting).After(time.Second)
	}
	defer func() {
		t.mu.Lock()
		t.waiting--
		t.mu.Unlock()
	}()
	select {
	case t.slots <- struct{}{}:
		return nil
	case <-t.ended:
		t.mu.Lock()
		defer t.mu.Unlock()
		return s4t.Errorf(s4t.Unavailable, op, "run it again: it had not begun", "%w", t.why)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// say writes one line.
func (t *talk) say(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(line) > maxRequest {
		return fmt.Errorf("it is longer than %d bytes", maxRequest)
	}
	t.write.Lock()
	defer t.write.Unlock()
	if t.w == nil {
		return errSilent
	}
	if err := t.w.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	_, err = t.w.Write(append(line, '\n'))
	return err
}

// listen reads answers until the plugin says no more. What it says besides goes to its log.
func (t *talk) listen(r *paced) {
	capture(r, maxAnswer, t.heard)
}

// heard takes one line.
func (t *talk) heard(line []byte, cut bool) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	a, err := parseAnswer(line)
	if err != nil || cut {
		if cut {
			err = fmt.Errorf("it is longer than %d bytes", maxAnswer)
		}
		t.log.add(streamAgent, []byte("not understood: "+err.Error()))
		t.log.add(streamOut, line)
		return
	}
	t.mu.Lock()
	p := t.calls[a.ID]
	if p != nil && a.Output == nil {
		delete(t.calls, a.ID)
	}
	t.mu.Unlock()
	switch {
	case p == nil:
		t.log.add(streamAgent, []byte("an answer to no call that runs: "+s4t.Line(a.ID, s4t.MaxName)))
	case a.Output == nil:
		p.done <- a
	default:
		p.said(a.Output)
	}
}

// end fails the calls that are not answered: the process ended.
func (t *talk) end(why error) {
	t.mu.Lock()
	if t.why == nil {
		t.why = why
		close(t.ended)
	}
	t.mu.Unlock()
}

// parseAnswer reads a line of a plugin.
func parseAnswer(line []byte) (a answer, err error) {
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, errors.New("it is no JSON object of the protocol")
	}
	n := 0
	for _, has := range []bool{a.Result != nil, a.Error != nil, a.Output != nil} {
		if has {
			n++
		}
	}
	switch {
	case a.ID == "":
		return answer{}, errors.New("it has no id")
	case n != 1:
		return answer{}, errors.New("it has not one of result, error and output")
	case len(a.Result) > s4t.MaxCommandResult || len(a.Output) > s4t.MaxCommandResult:
		return answer{}, fmt.Errorf("a result is at most %d bytes", s4t.MaxCommandResult)
	}
	return a, nil
}
