package router

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// roleBoard is the authrole of every session.
const roleBoard = "board"

// authTimeout bounds what is asked of the conductor.
const authTimeout = 5 * time.Second

// challengeSize is the size of a challenge in bytes (WAMP-Cryptosign).
const challengeSize = 32

// exchange is an authentication under way: a challenge was sent. It is answered once:
// nothing else that it signs will ever do.
type exchange struct {
	method    string
	board     s4t.BoardID // of cryptosign
	challenge []byte
	joined    [2]list // names of procedures and topics that the session is to have from its begin
}

// methods are those of authentication.
var methods = []string{wamp.MethodCryptosign, wamp.MethodJoin, wamp.MethodCheckCode}

// authenticate takes what a board says before it has a session: a HELLO, then an
// AUTHENTICATE.
func (p *peer) authenticate(m *message) {
	x := p.auth
	switch {
	case x == nil && m.kind == wamp.MsgHello:
		p.hello(m)
		return
	case x == nil:
		p.violates("a session begins with a HELLO")
		return
	}
	p.auth = nil
	if m.kind != wamp.MsgAuthenticate {
		p.refuse(s4t.Errorf(s4t.Unauthenticated, x.op(), "", "a message of type %d came in answer to the challenge", m.kind))
		return
	}
	ctx, cancel := context.WithTimeout(p.run.ctx, authTimeout)
	defer cancel()
	if x.method == wamp.MethodCryptosign {
		p.prove(ctx, x, m)
		return
	}
	p.join(ctx, x, m)
}

// op is what is attempted, for errors.
func (x *exchange) op() string {
	if x.method != wamp.MethodCryptosign {
		return "join with a code"
	}
	return "open the control session of board " + string(x.board)
}

// hello answers a HELLO with a challenge. Of its details only what is used is
// kept.
func (p *peer) hello(m *message) {
	if m.uri != s4t.Realm {
		p.close(abort(errNoSuchRealm, "there is no realm of this name"))
		return
	}
	offered, _ := m.options["authmethods"].(list)
	i := slices.IndexFunc(offered, func(v any) bool { s, _ := v.(string); return slices.Contains(methods, s) })
	if i < 0 {
		p.reject(abort(errAuthentication, "nobody is let in without authentication, and it does not offer any method of ours"), "no method")
		return
	}
	x := &exchange{method: offered[i].(string), challenge: make([]byte, challengeSize)}
	x.joined[0], _ = m.options[wamp.DetailProcedures].(list)
	x.joined[1], _ = m.options[wamp.DetailTopics].(list)
	if x.method == wamp.MethodCryptosign {
		authid, _ := m.options["authid"].(string)
		if !s4t.IsID(authid) {
			p.refuse(s4t.Errorf(s4t.Invalid, "open the control session of a board", "", "authid is not the id of a board"))
			return
		}
		x.board = s4t.BoardID(authid)
	} else if !p.r.guard.allow(p.remote, time.Now()) {
		p.refuse(s4t.Errorf(s4t.TooMany, x.op(), "try again in a minute", "too many codes that are not valid came from this address"))
		return
	}
	roles, _ := m.options["roles"].(dict)
	callee, _ := roles["callee"].(dict)
	features, _ := callee["features"].(dict)
	p.cancels, _ = features[featureCallCanceling].(bool)
	path, _ := m.options[wamp.DetailPath].(string)
	p.steady = straight(path, p.direct) && sockopt.Watch(p.conn.NetConn()) == nil
	rand.Read(x.challenge) // never fails (crypto/rand, Go 1.24)
	p.auth = x
	p.queue(encode(wamp.MsgChallenge, x.method, dict{"challenge": hex.EncodeToString(x.challenge)}))
}

// straight reports whether what the kernel finds out of the path at one end is true
// for all of it: the board says what address it dials from. An address that is the
// same with another port is no NAT: something between ends the connection.
func straight(says, sees string) bool {
	from, err := netip.ParseAddrPort(says)
	to, err2 := netip.ParseAddrPort(sees)
	return err == nil && err2 == nil && (from.Addr().Unmap() != to.Addr().Unmap() || from.Port() == to.Port())
}

// prove lets a board in that has its key (WAMP-Cryptosign without channel binding).
func (p *peer) prove(ctx context.Context, x *exchange, m *message) {
	op := x.op()
	who, err := p.r.cfg.Identify(ctx, x.board)
	if s4t.KindOf(err) == s4t.NotFound {
		err = s4t.Errorf(s4t.Unauthenticated, op, "join again with a new code", "the cloud does not know this board (any more)")
	}
	if err == nil && (who.Board != x.board || !signed(who.PublicKey, x.challenge, m.uri)) {
		err = s4t.Errorf(s4t.Unauthenticated, op, "join again with a new code", "this is not the key of the board")
	}
	if err != nil {
		p.refuse(err)
		return
	}
	p.welcome(x, x.board, nil)
}

// join lets a new board in with a code, or tells whether it would. The key is
// proven in the same exchange, so that nobody can bind a key that is not his.
func (p *peer) join(ctx context.Context, x *exchange, m *message) {
	op := x.op()
	code, _ := m.options["code"].(string)
	name, _ := m.options["name"].(string)
	host, _ := m.options["host"].(string) // an older lightning-rod says none
	text, _ := m.options["pubkey"].(string)
	key, err := hex.DecodeString(text)
	if err != nil || !signed(key, x.challenge, m.uri) {
		p.refuse(s4t.Errorf(s4t.Unauthenticated, op, "", "the signature is not that of the key"))
		return
	}
	if code == "" || len(code) > 128 || len(name) > s4t.MaxName || len(host) > s4t.MaxName {
		p.refuse(s4t.Errorf(s4t.Invalid, op, "copy the join string whole", "the code or the name is not well formed"))
		return
	}
	req := wire.BoardJoin{Code: code, PublicKey: key, Name: name, Host: host}
	var j wire.BoardJoined
	if x.method == wamp.MethodCheckCode {
		err = p.r.cfg.Check(ctx, req)
	} else {
		j, err = p.r.cfg.Join(ctx, req)
	}
	switch {
	case err != nil:
		switch s4t.KindOf(err) {
		case s4t.NotFound, s4t.Unauthenticated, s4t.Conflict, s4t.Invalid:
			p.r.guard.failed(p.remote, time.Now())
		}
		p.refuse(err)
	case x.method == wamp.MethodCheckCode:
		p.close(encode(wamp.MsgAbort, dict{}, wamp.ReasonCodeGood))
	default:
		p.welcome(x, j.Board, dict{"joined": string(wire.Encode(j))})
	}
}

// refuse ends the exchange with err, which the board gets whole.
func (p *peer) refuse(err error) {
	e := wire.FromError(err)
	p.reject(encode(wamp.MsgAbort, dict{detailMessage: e.Err().Error(), wamp.ErrorKey: string(wire.Encode(e))}, wamp.ErrorURI(e.Kind)), err)
}

func (p *peer) reject(abort []byte, why any) {
	p.r.refused.Info(p.log(), "a board could not join", "err", why)
	p.close(abort)
}

// welcome begins the session. The cloud knows of it before the board does, which
// may act at once.
func (p *peer) welcome(x *exchange, board s4t.BoardID, extra dict) {
	p.conn.LimitMessages(s4t.MaxMessage)
	p.limit, p.answers = rate.NewLimiter(messageRate, messageRush), rate.NewLimiter(answerRate, answerRush)
	id, ok := p.r.begin(p, board)
	if !ok {
		return // it was closed meanwhile
	}
	details := dict{
		"realm": s4t.Realm, "authid": string(board), "authrole": roleBoard, "authmethod": x.method, "authprovider": "s4t",
		"roles": dict{
			"broker": dict{"features": dict{}},
			"dealer": dict{"features": dict{featureCallCanceling: true}},
		},
	}
	if p.steady {
		details[wamp.DetailPing] = int(s4t.PresencePing / time.Second)
	}
	if extra != nil {
		details["authextra"] = extra
	}
	registrations, topics, all := p.joins(board, x.joined)
	if all {
		details[wamp.DetailProcedures], details[wamp.DetailTopics] = idsOf(registrations), idsOf(topics)
	}
	// In one step: what is for the board goes behind its welcome, and what it does once
	// it has that finds what it offers.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enqueue(encode(wamp.MsgWelcome, id, details))
	if all {
		p.registrations, p.subscriptions = registrations, topics
	}
}

// signed reports whether signature is hex of key's signature over the
// challenge, followed by the challenge (WAMP-Cryptosign).
func signed(key, challenge []byte, signature string) bool {
	const size = ed25519.SignatureSize
	if len(key) != ed25519.PublicKeySize || len(signature) != 2*(size+challengeSize) {
		return false
	}
	b, err := hex.DecodeString(signature)
	if err != nil {
		return false
	}
	same := subtle.ConstantTimeCompare(b[size:], challenge) == 1
	return ed25519.Verify(key, challenge, b[:size]) && same
}
