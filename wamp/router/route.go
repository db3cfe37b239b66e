package router

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"unique"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// maxOffers is how many times a session may register or subscribe.
const maxOffers = 1024

// maxID bounds the ids of WAMP (section 5.1.2).
const maxID = 1 << 53

// own reports whether uri is under the board's prefix, on the cloud's side of
// it or on the board's, and returns what is behind the prefix.
func (p *peer) own(uri string, cloud bool) (name string, ok bool) {
	id, name, ok := wamp.ParseBoardURI(uri)
	return name, ok && id == p.session.Board && strings.HasPrefix(name+".", wamp.CloudPrefix) == cloud
}

// exact reports whether the options ask for exact matching by one callee: no
// pattern, no shared registration.
func exact(options dict) bool {
	for key, want := range map[string]string{optionMatch: "exact", optionInvoke: "single"} {
		if v, there := options[key]; there && v != want {
			return false
		}
	}
	return true
}

// route acts on a message of a board that has a session. Options that a board has
// no use for are not heeded.
func (p *peer) route(m *message) {
	switch m.kind {
	case wamp.MsgCall:
		p.called(m)
	case wamp.MsgCancel:
		p.gaveUp(m)
	case wamp.MsgRegister:
		p.register(m)
	case wamp.MsgSubscribe:
		p.subscribe(m)
	case wamp.MsgUnregister:
		p.withdraw(m, &p.registrations, wamp.MsgUnregistered, errNoRegistration)
	case wamp.MsgUnsubscribe:
		p.withdraw(m, &p.subscriptions, wamp.MsgUnsubscribed, errNoSubscription)
	case wamp.MsgPublish:
		p.publish(m)
	case wamp.MsgYield:
		p.answered(m.request, answer{arg: m.arg()})
	case wamp.MsgError:
		if m.of != wamp.MsgInvocation {
			p.violates("an ERROR that answers no INVOCATION")
			return
		}
		text, _ := m.kwargs[wamp.ErrorKey].(string)
		p.answered(m.request, answer{uri: m.uri, text: text, arg: m.arg()})
	case wamp.MsgGoodbye:
		p.close(goodbye(wamp.ReasonAck, ""))
	case wamp.MsgAbort:
		p.close(nil)
	default:
		p.violates("a message that was not expected")
	}
}

// called serves a call of the board. Whose it is comes from the session, not from
// what the board says.
func (p *peer) called(m *message) {
	name, ok := p.own(m.uri, true)
	switch {
	case !ok:
		p.queue(refusal(m, errNotAuthorized))
		return
	case !slices.Contains(p.r.cfg.Procedures, name):
		p.queue(refusal(m, wamp.NoSuchProcedure))
		return
	case name == wamp.Connected:
		p.r.said(p)
	}
	var before, own chan struct{}
	p.mu.Lock()
	n := len(p.serving)
	if n < maxServing {
		if p.serving == nil {
			p.serving = map[uint64]bool{}
		}
		p.serving[m.request] = false
		if slices.Contains(p.r.cfg.InOrder, name) {
			before, own = p.newest, make(chan struct{})
			p.newest = own
		}
	}
	p.mu.Unlock()
	if n >= maxServing {
		p.queue(failure(wamp.MsgCall, m.request, s4t.Errorf(s4t.TooMany, "call the cloud", "try again in a moment", "%d calls of this board are being served already", n)))
		return
	}
	request, arg := m.request, m.arg()
	p.r.serving.Go(func() {
		if before != nil {
			<-before
		}
		result, err := p.r.cfg.Serve(p.run.ctx, p.session, name, arg)
		if own != nil {
			close(own)
		}
		if given := p.served(request, own); given {
			return
		}
		if err != nil {
			p.queue(failure(wamp.MsgCall, request, err))
			return
		}
		p.queue(encode(wamp.MsgResult, request, dict{}, list{result}))
	})
}

// served takes a call off those under way, and reports whether the board gave it up.
// own is its place in those that are served in order.
func (p *peer) served(request uint64, own chan struct{}) (given bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if own != nil && p.newest == own {
		p.newest = nil
	}
	given = p.serving[request]
	if delete(p.serving, request); len(p.serving) == 0 {
		p.serving = nil
	}
	return given
}

// gaveUp answers a CANCEL. What is served goes on to its end.
func (p *peer) gaveUp(m *message) {
	p.mu.Lock()
	given, under := p.serving[m.request]
	if under {
		p.serving[m.request] = true
	}
	p.mu.Unlock()
	if under && !given {
		p.queue(encode(wamp.MsgError, wamp.MsgCall, m.request, dict{}, errCanceled))
	}
}

// mayOffer reports whether the board may register or subscribe to the URI.
func (p *peer) mayOffer(m *message) (name string, ok bool) {
	name, ok = p.own(m.uri, false)
	if !ok || !exact(m.options) {
		p.queue(refusal(m, errNotAuthorized))
		return "", false
	}
	p.mu.Lock()
	p.offered++
	ok = p.offered <= maxOffers
	p.mu.Unlock()
	if !ok {
		p.queue(refusal(m, errNotAuthorized))
	}
	return unique.Make(name).Value(), ok // the same few at all boards
}

func (p *peer) register(m *message) {
	name, ok := p.mayOffer(m)
	if !ok {
		return
	}
	// In one step: a call goes behind the answer, with which the board knows its id.
	p.mu.Lock()
	defer p.mu.Unlock()
	if find(p.registrations, name) != 0 {
		p.enqueue(refusal(m, errExists))
		return
	}
	p.registrations = append(p.registrations, offer{name, p.offered})
	p.enqueue(encode(wamp.MsgRegistered, m.request, p.offered))
}

func (p *peer) subscribe(m *message) {
	name, ok := p.mayOffer(m)
	if !ok {
		return
	}
	p.mu.Lock() // in one step, as in register
	defer p.mu.Unlock()
	id := find(p.subscriptions, name)
	if id == 0 {
		id = p.offered
		p.subscriptions = append(p.subscriptions, offer{name, id})
	}
	p.enqueue(encode(wamp.MsgSubscribed, m.request, id))
}

// joins are the registrations and subscriptions that a session has from its begin.
// Where one of them cannot be there are none: the board asks for each then, and is
// told.
func (p *peer) joins(board s4t.BoardID, names [2]list) (registrations, topics []offer, all bool) {
	var made [2][]offer
	for i, of := range names {
		if len(of) > wamp.MaxJoined {
			return nil, nil, false
		}
		for _, v := range of {
			text, _ := v.(string)
			_, name, ok := wamp.ParseBoardURI(wamp.BoardURI(board, text))
			if !ok || strings.HasPrefix(name+".", wamp.CloudPrefix) || find(made[i], name) != 0 {
				return nil, nil, false
			}
			p.offered++
			made[i] = append(made[i], offer{unique.Make(name).Value(), p.offered})
		}
	}
	return made[0], made[1], len(made[0])+len(made[1]) > 0
}

// idsOf lists the ids, for a WELCOME.
func idsOf(offers []offer) list {
	ids := make(list, len(offers))
	for i, o := range offers {
		ids[i] = o.id
	}
	return ids
}

// find returns the id of what is offered under a name, 0 if nothing is.
func find(offers []offer, name string) uint64 {
	for _, o := range offers {
		if o.name == name {
			return o.id
		}
	}
	return 0
}

// withdraw takes back what was registered or subscribed to.
func (p *peer) withdraw(m *message, from *[]offer, done int, unknown string) {
	p.mu.Lock()
	had := len(*from)
	*from = slices.DeleteFunc(*from, func(o offer) bool { return o.id == m.id })
	ok := len(*from) < had
	p.mu.Unlock()
	if !ok {
		p.queue(refusal(m, unknown))
		return
	}
	p.queue(encode(done, m.request))
}

// publish passes what a board publishes on to its other sessions.
func (p *peer) publish(m *message) {
	acknowledge, _ := m.options[optionAcknowledge].(bool)
	name, ok := p.own(m.uri, false)
	if !ok {
		if acknowledge {
			p.queue(refusal(m, errNotAuthorized))
		}
		return
	}
	id := p.r.event(p.session.Board, name, p, m.args, m.kwargs)
	if acknowledge {
		p.queue(encode(wamp.MsgPublished, m.request, id))
	}
}

// event tells the sessions of a board that subscribed to a topic, but not from, and
// returns the id of the publication.
func (r *Router) event(board s4t.BoardID, name string, from *peer, args list, kwargs dict) uint64 {
	id := 1 + rand.Uint64N(maxID)
	r.mu.Lock()
	own := slices.Clone(r.byBoard[board])
	r.mu.Unlock()
	for _, p := range own {
		if p == from {
			continue
		}
		p.mu.Lock()
		subscription := find(p.subscriptions, name)
		p.mu.Unlock()
		switch {
		case subscription == 0:
		case len(kwargs) > 0:
			p.queue(encode(wamp.MsgEvent, subscription, id, dict{}, args, kwargs))
		default:
			p.queue(encode(wamp.MsgEvent, subscription, id, dict{}, args))
		}
	}
	return id
}

// answer is what a board answers to a call; uri is that of an error, or "".
type answer struct {
	arg, uri, text string
}

// answered hands an answer to who waits. Nobody may, after a timeout.
func (p *peer) answered(request uint64, a answer) {
	if wait := p.forget(request); wait != nil {
		wait <- a // of capacity 1
	}
}

// forget takes a call to the board off those under way.
func (p *peer) forget(request uint64) chan answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.asking[request]
	if delete(p.asking, request); len(p.asking) == 0 {
		p.asking = nil
	}
	return wait
}

// ask calls what the board registered under a name. there says that it did, and
// that the session goes on.
func (p *peer) ask(ctx context.Context, name, arg string) (a answer, there bool, err error) {
	wait := make(chan answer, 1)
	p.mu.Lock()
	registration := find(p.registrations, name)
	if registration == 0 || p.ending {
		p.mu.Unlock()
		return a, false, nil
	}
	p.asked++
	id := p.asked
	there = p.enqueue(encode(wamp.MsgInvocation, id, registration, dict{}, list{arg}))
	if there {
		if p.asking == nil {
			p.asking = map[uint64]chan answer{}
		}
		p.asking[id] = wait
	}
	p.mu.Unlock()
	if !there {
		return a, false, nil
	}
	select {
	case a, there = <-wait:
		return a, there, nil
	case <-ctx.Done():
		if p.forget(id) == nil { // it was answered, or the session ended, in the same moment
			a, there = <-wait
			return a, there, nil
		}
		if p.cancels {
			p.queue(encode(wamp.MsgInterrupt, id, dict{detailMode: modeKillNoWait}))
		}
		return a, true, context.Cause(ctx)
	}
}
