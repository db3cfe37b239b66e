package router

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

func TestJoinWithCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	s, welcome, err := wamp.Join(t.Context(), w.dial(w.addr), wamp.JoinConfig{Code: "GOOD", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if welcome.Joined == nil || welcome.Joined.Name != "new" || string(welcome.Joined.TicketKey) != "k" || welcome.Board != welcome.Joined.Board {
		t.Errorf("welcome %+v", welcome)
	}
	s.Close()

	_, _, err = wamp.Join(t.Context(), w.dial(w.addr), wamp.JoinConfig{Code: "USED", Key: key})
	if s4t.KindOf(err) != s4t.Conflict || err.Error() != "join: the code was used; ask for a new one" {
		t.Errorf("a used code gave %v (%s)", err, s4t.KindOf(err))
	}
	if err := wamp.CheckCode(t.Context(), w.dial(w.addr), wamp.JoinConfig{Code: "GOOD", Key: key}); err != nil {
		t.Errorf("the check of a good code gave %v", err)
	}
	if err := wamp.CheckCode(t.Context(), w.dial(w.addr), wamp.JoinConfig{Code: "USED", Key: key}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("the check of a used code gave %v", err)
	}
	for range guardFailures {
		_, _, err = wamp.Join(t.Context(), w.dial(w.addr), wamp.JoinConfig{Code: "GUESS", Key: key})
	}
	if s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("guessing gave %v", err)
	}
}

// TestAuthenticationIsRefused tells a board why, too.
func TestAuthenticationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	cryptosign := func(id s4t.BoardID) *nwamp.Hello {
		return hello(nwamp.Dict{"authid": string(id), "authmethods": nwamp.List{"cryptosign"}})
	}
	// A signature that once was good.
	recorded := func() string {
		p := w.raw()
		p.Send() <- cryptosign(w.boards[0])
		signature := sign(w.keys[0], recv(t, p).(*nwamp.Challenge))
		p.Send() <- &nwamp.Authenticate{Signature: signature, Extra: nwamp.Dict{}}
		if m := recv(t, p); m.MessageType() != nwamp.WELCOME {
			t.Fatalf("got %v", m)
		}
		return signature
	}()
	tests := []struct {
		name   string
		hello  *nwamp.Hello
		answer func(*nwamp.Challenge) nwamp.Message // nil: no challenge is expected
		reason string
		says   string
	}{
		{"nobody is anonymous", hello(nwamp.Dict{}), nil, "wamp.error.authentication_failed", "any method"},
		{"anonymous by name", hello(nwamp.Dict{"authmethods": nwamp.List{"anonymous"}}), nil, "wamp.error.authentication_failed", "any method"},
		{"a ticket", hello(nwamp.Dict{"authid": string(w.boards[0]), "authmethods": nwamp.List{"ticket"}}), nil, "wamp.error.authentication_failed", "any method"},
		{"an id that is none", cryptosign("kitchen"), nil, "s4t.error.invalid", "not the id"},
		{"another realm", &nwamp.Hello{Realm: "realm1", Details: cryptosign(w.boards[0]).Details}, nil, "wamp.error.no_such_realm", ""},
		{"a replayed signature", cryptosign(w.boards[0]), func(*nwamp.Challenge) nwamp.Message {
			return &nwamp.Authenticate{Signature: recorded, Extra: nwamp.Dict{}}
		}, "s4t.error.unauthenticated", "not the key"},
		{"the key of another board", cryptosign(w.boards[0]), func(c *nwamp.Challenge) nwamp.Message {
			return &nwamp.Authenticate{Signature: sign(w.keys[1], c), Extra: nwamp.Dict{}}
		}, "s4t.error.unauthenticated", "not the key"},
		{"a board that is not known", cryptosign(s4t.BoardID(s4t.NewID())), func(c *nwamp.Challenge) nwamp.Message {
			return &nwamp.Authenticate{Signature: sign(stranger, c), Extra: nwamp.Dict{}}
		}, "s4t.error.unauthenticated", "does not know this board"},
		{"the signature without its text", cryptosign(w.boards[0]), func(c *nwamp.Challenge) nwamp.Message {
			return &nwamp.Authenticate{Signature: sign(w.keys[0], c)[:128], Extra: nwamp.Dict{}}
		}, "s4t.error.unauthenticated", "not the key"},
		{"no signature", cryptosign(w.boards[0]), func(*nwamp.Challenge) nwamp.Message {
			return &nwamp.Authenticate{Extra: nwamp.Dict{}}
		}, "s4t.error.unauthenticated", "not the key"},
		{"something else than an answer", cryptosign(w.boards[0]), func(*nwamp.Challenge) nwamp.Message {
			return &nwamp.Call{Request: 1, Options: nwamp.Dict{}, Procedure: "wamp.session.count"}
		}, "s4t.error.unauthenticated", "in answer to the challenge"},
		{"a join with the key of somebody else", hello(nwamp.Dict{"authmethods": nwamp.List{wamp.MethodJoin}}), func(c *nwamp.Challenge) nwamp.Message {
			public := hex.EncodeToString(w.keys[0].Public().(ed25519.PublicKey))
			return &nwamp.Authenticate{Signature: sign(stranger, c), Extra: nwamp.Dict{"code": "GOOD", "pubkey": public}}
		}, "s4t.error.unauthenticated", "not that of the key"},
		{"a join without a code", hello(nwamp.Dict{"authmethods": nwamp.List{wamp.MethodJoin}}), func(c *nwamp.Challenge) nwamp.Message {
			public := hex.EncodeToString(stranger.Public().(ed25519.PublicKey))
			return &nwamp.Authenticate{Signature: sign(stranger, c), Extra: nwamp.Dict{"pubkey": public}}
		}, "s4t.error.invalid", "not well formed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := w.raw()
			p.Send() <- tt.hello
			m := recv(t, p)
			if tt.answer != nil {
				p.Send() <- tt.answer(m.(*nwamp.Challenge))
				m = recv(t, p)
			}
			abort, ok := m.(*nwamp.Abort)
			if !ok {
				t.Fatalf("got %v %+v, want an abort", m.MessageType(), m)
			}
			says, _ := nwamp.AsString(abort.Details["message"])
			if string(abort.Reason) != tt.reason || !strings.Contains(says, tt.says) {
				t.Errorf("abort %s %q, want %s with %q", abort.Reason, says, tt.reason, tt.says)
			}
			if _, err := nwamp.RecvTimeout(p, 5*time.Second); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := func(name string) nwamp.URI { return nwamp.URI(wamp.BoardURI(w.boards[0], name)) }
	other := func(name string) nwamp.URI { return nwamp.URI(wamp.BoardURI(w.boards[1], name)) }
	call := func(uri nwamp.URI) nwamp.Message { return &nwamp.Call{Options: nwamp.Dict{}, Procedure: uri} }
	register := func(uri nwamp.URI, options nwamp.Dict) nwamp.Message {
		return &nwamp.Register{Options: options, Procedure: uri}
	}
	subscribe := func(uri nwamp.URI, options nwamp.Dict) nwamp.Message {
		return &nwamp.Subscribe{Options: options, Topic: uri}
	}
	publish := func(uri nwamp.URI) nwamp.Message {
		return &nwamp.Publish{Options: nwamp.Dict{"acknowledge": true}, Topic: uri, Arguments: nwamp.List{"1"}}
	}
	none := nwamp.Dict{}
	prefix, wildcard := nwamp.Dict{"match": "prefix"}, nwamp.Dict{"match": "wildcard"}
	tests := []struct {
		name string
		m    nwamp.Message
		want nwamp.MessageType // ERROR: refused
	}{
		{"calls what the cloud serves for it", call(own(wamp.Desired)), nwamp.RESULT},
		{"calls for another board", call(other(wamp.Desired)), nwamp.ERROR},
		{"calls another board", call(other(wamp.Ping)), nwamp.ERROR},
		{"calls itself", call(own(wamp.Ping)), nwamp.ERROR},
		{"calls by pattern", call("s4t.board..cloud.desired"), nwamp.ERROR},
		{"calls with a tail", call(own(wamp.Desired) + ".."), nwamp.ERROR},
		{"calls in upper case", call(own("cloud.Desired")), nwamp.ERROR},
		{"counts sessions", call("wamp.session.count"), nwamp.ERROR},
		{"lists sessions", call("wamp.session.list"), nwamp.ERROR},
		{"kills a session", call("wamp.session.kill"), nwamp.ERROR},
		{"kills all sessions", call("wamp.session.kill_all"), nwamp.ERROR},
		{"changes its details", call("wamp.session.modify_details"), nwamp.ERROR},
		{"leaves a testament", call("wamp.session.add_testament"), nwamp.ERROR},
		{"lists registrations", call("wamp.registration.list"), nwamp.ERROR},
		{"lists subscriptions", call("wamp.subscription.list"), nwamp.ERROR},
		{"calls a session by number", call("s4t.session.1.ping"), nwamp.ERROR},
		{"registers its own", register(own(wamp.Ping), none), nwamp.REGISTERED},
		{"registers with exact match", register(own(wamp.Doctor), nwamp.Dict{"match": "exact", "invoke": "single"}), nwamp.REGISTERED},
		{"registers for another board", register(other(wamp.Ping), none), nwamp.ERROR},
		{"registers in the cloud's place", register(own(wamp.Desired), none), nwamp.ERROR},
		{"registers the cloud itself", register(own("cloud"), none), nwamp.ERROR},
		{"registers by prefix", register(own("x"), prefix), nwamp.ERROR},
		{"registers every board by prefix", register("s4t.board.", prefix), nwamp.ERROR},
		{"registers by wildcard", register("s4t.board..ping", wildcard), nwamp.ERROR},
		{"shares a registration", register(own("x"), nwamp.Dict{"invoke": "roundrobin"}), nwamp.ERROR},
		{"registers a meta procedure", register("wamp.session.count", none), nwamp.ERROR},
		{"registers elsewhere", register("com.example.x", none), nwamp.ERROR},
		{"subscribes to its own", subscribe(own(wamp.Wake), none), nwamp.SUBSCRIBED},
		{"subscribes to another board", subscribe(other(wamp.Wake), none), nwamp.ERROR},
		{"subscribes by prefix", subscribe(own(""), prefix), nwamp.ERROR},
		{"subscribes to everything", subscribe("", prefix), nwamp.ERROR},
		{"subscribes by wildcard", subscribe("s4t.board..wake", wildcard), nwamp.ERROR},
		{"subscribes to joins", subscribe("wamp.session.on_join", none), nwamp.ERROR},
		{"publishes to its own", publish(own("pin")), nwamp.PUBLISHED},
		{"wakes another board", publish(other(wamp.Wake)), nwamp.ERROR},
		{"publishes a meta event", publish("wamp.session.on_leave"), nwamp.ERROR},
	}
	p := w.rawBoard(0)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := nwamp.ID(i + 1)
			switch m := tt.m.(type) {
			case *nwamp.Call:
				m.Request = id
			case *nwamp.Register:
				m.Request = id
			case *nwamp.Subscribe:
				m.Request = id
			case *nwamp.Publish:
				m.Request = id
			}
			p.Send() <- tt.m
			got := recv(t, p)
			if got.MessageType() != tt.want {
				t.Fatalf("got %v %+v, want %v", got.MessageType(), got, tt.want)
			}
			if e, ok := got.(*nwamp.Error); ok && (e.Error != nwamp.ErrNotAuthorized || e.Request != id) {
				t.Errorf("refused with %+v", e)
			}
		})
	}
}

// TestProtocolViolations end the session and say why.
func TestProtocolViolations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	uri := nwamp.URI(wamp.BoardURI(w.boards[0], wamp.Desired))
	tests := []struct {
		name string
		send []nwamp.Message
	}{
		{"a request id comes twice", []nwamp.Message{
			&nwamp.Call{Request: 1, Options: nwamp.Dict{}, Procedure: uri},
			&nwamp.Call{Request: 1, Options: nwamp.Dict{}, Procedure: uri},
		}},
		{"a message for boards", []nwamp.Message{&nwamp.Welcome{ID: 1, Details: nwamp.Dict{}}}},
		{"a second HELLO", []nwamp.Message{hello(nwamp.Dict{})}},
		{"an error for a call", []nwamp.Message{&nwamp.Error{Type: nwamp.CALL, Request: 1, Details: nwamp.Dict{}, Error: "x.y"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := w.rawBoard(0)
			for _, m := range tt.send {
				p.Send() <- m
			}
			for {
				m := recv(t, p)
				if a, ok := m.(*nwamp.Abort); ok {
					if a.Reason != nwamp.ErrProtocolViolation {
						t.Errorf("abort %s", a.Reason)
					}
					return
				}
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x93, 1, 0xa3, 's', '4', 't', 0x80})
	f.Add([]byte{0x94, 48, 1, 0x80, 0xa1, 'x'})
	f.Add([]byte{0x95, 0x40, 0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc0, 0xc0, 0xc0})
	f.Add([]byte{0x92, 0x01, 0xd4, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		p := &peer{session: Session{ID: 1, Board: "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11"}}
		if _, ok := p.own(m.uri, true); ok && m.isRequest() {
			if _, ok := p.own(m.uri, false); ok {
				t.Errorf("%q is on both sides", m.uri)
			}
		}
		exact(m.options)
		m.isAnswer()
		m.arg()
	})
}

func TestGuard(t *testing.T) {
	now := time.Unix(0, 0)
	var g guard
	for range guardFailures {
		if !g.allow("a", now) {
			t.Fatal("held too early")
		}
		g.failed("a", now)
	}
	if g.allow("a", now) || !g.allow("b", now) {
		t.Error("the wrong address is held")
	}
	if !g.allow("a", now.Add(guardWindow)) {
		t.Error("still held after the window")
	}
	for i := range guardEntries + 64 {
		g.failed(hex.EncodeToString([]byte{byte(i >> 8), byte(i)}), now.Add(time.Duration(i)))
	}
	if len(g.seen) > guardEntries {
		t.Errorf("%d addresses are remembered", len(g.seen))
	}
}
