package router

import (
	"context"
	"fmt"
	"sync"

	nexus "github.com/gammazero/nexus/v3/router"
	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// cloudQueue is how many messages may wait for the cloud's own session: all
// boards may call at once.
const cloudQueue = maxSessions

// cloud is the cloud's own session: a client inside the process. The nexus
// client is not used for it: a request under way when its router stops blocks
// or panics.
type cloud struct {
	ctx    context.Context
	in     chan nwamp.Message // to the router
	out    chan nwamp.Message // from the router
	closed chan struct{}      // the router let go of the session
	once   sync.Once
	serve  func(context.Context, *nwamp.Invocation) (string, error)
	order  func(*nwamp.Invocation) bool // it is served after those before it of the same caller
	done   sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	next    nwamp.ID
	pending map[nwamp.ID]chan nwamp.Message
	serving map[nwamp.ID]int           // calls under way, by caller
	newest  map[nwamp.ID]chan struct{} // of those that are served in order: closed when the newest of the caller has been
}

// newCloud attaches the session. Each invocation is served in a goroutine.
func newCloud(ctx context.Context, nx nexus.Router, serve func(context.Context, *nwamp.Invocation) (string, error), order func(*nwamp.Invocation) bool) (*cloud, error) {
	c := &cloud{
		ctx:     ctx,
		in:      make(chan nwamp.Message),
		out:     make(chan nwamp.Message, cloudQueue),
		closed:  make(chan struct{}),
		serve:   serve,
		order:   order,
		pending: make(map[nwamp.ID]chan nwamp.Message),
		serving: make(map[nwamp.ID]int),
		newest:  make(map[nwamp.ID]chan struct{}),
	}
	attached := make(chan error, 1)
	c.done.Go(func() { attached <- nx.Attach(c) })
	c.in <- &nwamp.Hello{Realm: s4t.Realm, Details: nwamp.Dict{"authid": "cloud", "roles": nwamp.Dict{
		nwamp.RoleCaller:    nwamp.Dict{},
		nwamp.RoleCallee:    nwamp.Dict{"features": nwamp.Dict{nwamp.FeaturePatternBasedReg: true, nwamp.FeatureCallerIdent: true}},
		nwamp.RolePublisher: nwamp.Dict{},
	}}}
	if err := <-attached; err != nil {
		return nil, err
	}
	if m := <-c.out; m.MessageType() != nwamp.WELCOME {
		return nil, fmt.Errorf("the router answered %v", m.MessageType())
	}
	c.done.Go(c.read)
	return c, nil
}

// The methods of nexus' Peer, for the router. In-process sessions are trusted.
func (c *cloud) Recv() <-chan nwamp.Message { return c.in }
func (c *cloud) Send() chan<- nwamp.Message { return c.out }
func (c *cloud) IsLocal() bool              { return true }
func (c *cloud) Close()                     { c.once.Do(func() { close(c.closed) }) }

// wait returns when everything has ended, after the router stopped.
func (c *cloud) wait() { c.done.Wait() }

// read dispatches until the router lets go.
func (c *cloud) read() {
	for {
		select {
		case <-c.closed:
			return
		case m := <-c.out:
			switch m := m.(type) {
			case *nwamp.Invocation:
				c.invoke(m)
			case *nwamp.Result:
				c.answer(m.Request, m)
			case *nwamp.Registered:
				c.answer(m.Request, m)
			case *nwamp.Published:
				c.answer(m.Request, m)
			case *nwamp.Error:
				c.answer(m.Request, m)
			}
		}
	}
}

func (c *cloud) answer(id nwamp.ID, m nwamp.Message) {
	c.mu.Lock()
	wait := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if wait != nil {
		wait <- m // of capacity 1
	}
}

// send gives a message to the router.
func (c *cloud) send(ctx context.Context, op string, m nwamp.Message) error {
	select {
	case c.in <- m:
		return nil
	case <-c.closed:
		return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP router has stopped")
	case <-ctx.Done():
		return s4t.Errorf(s4t.Timeout, op, "", "not done in the time given: %w", context.Cause(ctx))
	}
}

// ask sends a request and waits for its answer.
func (c *cloud) ask(ctx context.Context, op string, build func(nwamp.ID) nwamp.Message) (nwamp.Message, error) {
	wait := make(chan nwamp.Message, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.pending[id] = wait
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
	}()
	m := build(id)
	if err := c.send(ctx, op, m); err != nil {
		return nil, err
	}
	select {
	case answer := <-wait:
		if e, ok := answer.(*nwamp.Error); ok {
			text, _ := nwamp.AsString(e.ArgumentsKw[wamp.ErrorKey])
			return nil, wamp.DecodeError(op, string(e.Error), text, argument(e.Arguments))
		}
		return answer, nil
	case <-c.closed:
		return nil, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP router has stopped")
	case <-ctx.Done():
		if m.MessageType() == nwamp.CALL {
			// Nobody waits for the answer to the cancelling.
			_ = c.send(c.ctx, op, &nwamp.Cancel{Request: id, Options: nwamp.Dict{nwamp.OptMode: nwamp.CancelModeKillNoWait}})
		}
		return nil, s4t.Errorf(s4t.Timeout, op, "", "no answer in the time given: %w", context.Cause(ctx))
	}
}

// call calls a procedure.
func (c *cloud) call(ctx context.Context, op, uri string, args nwamp.List, kwargs nwamp.Dict) (string, error) {
	m, err := c.ask(ctx, op, func(id nwamp.ID) nwamp.Message {
		return &nwamp.Call{Request: id, Options: nwamp.Dict{}, Procedure: nwamp.URI(uri), Arguments: args, ArgumentsKw: kwargs}
	})
	if err != nil {
		return "", err
	}
	result, ok := m.(*nwamp.Result)
	if !ok {
		return "", s4t.Errorf(s4t.Internal, op, "", "the router answered %v", m.MessageType())
	}
	return argument(result.Arguments), nil
}

// register serves every procedure that matches the wildcard pattern.
func (c *cloud) register(ctx context.Context, pattern string) error {
	options := nwamp.Dict{nwamp.OptMatch: nwamp.MatchWildcard, nwamp.OptDiscloseCaller: true}
	_, err := c.ask(ctx, "register "+pattern, func(id nwamp.ID) nwamp.Message {
		return &nwamp.Register{Request: id, Options: options, Procedure: nwamp.URI(pattern)}
	})
	return err
}

// invoke serves a board's call.
func (c *cloud) invoke(inv *nwamp.Invocation) {
	caller, _ := nwamp.AsID(inv.Details["caller"])
	c.mu.Lock()
	n := c.serving[caller]
	c.serving[caller]++
	var before, own chan struct{}
	if n < maxServing && c.order(inv) {
		before, own = c.newest[caller], make(chan struct{})
		c.newest[caller] = own
	}
	c.mu.Unlock()
	c.done.Go(func() {
		var result string
		err := error(s4t.Errorf(s4t.TooMany, "call the cloud", "try again in a moment", "%d calls of this board are being served already", n))
		if before != nil {
			<-before
		}
		if n < maxServing {
			result, err = c.serve(c.ctx, inv)
		}
		c.mu.Lock()
		if own != nil {
			close(own)
			if c.newest[caller] == own {
				delete(c.newest, caller)
			}
		}
		if c.serving[caller]--; c.serving[caller] == 0 {
			delete(c.serving, caller)
		}
		c.mu.Unlock()
		var m nwamp.Message = &nwamp.Yield{Request: inv.Request, Options: nwamp.Dict{}, Arguments: nwamp.List{result}}
		if err != nil {
			uri, text := wamp.EncodeError(err)
			m = &nwamp.Error{Type: nwamp.INVOCATION, Request: inv.Request, Details: nwamp.Dict{},
				Error: nwamp.URI(uri), Arguments: nwamp.List{}, ArgumentsKw: nwamp.Dict{wamp.ErrorKey: text}}
		}
		_ = c.send(context.Background(), "answer a board", m) // a router that stopped needs no answer
	})
}
