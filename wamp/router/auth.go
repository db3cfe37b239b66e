package router

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"

	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// roleBoard is the authrole of every session from outside.
const roleBoard = "board"

// authTimeout bounds what an authenticator asks the conductor.
const authTimeout = 5 * time.Second

// challengeSize is the size of a challenge in bytes (WAMP-Cryptosign).
const challengeSize = 32

// cryptosign proves that a board has its key (WAMP-Cryptosign without channel
// binding). nexus v3.3.0's own accepts any text that the key ever signed; this
// one accepts the challenge of this session, and that once.
type cryptosign struct {
	r   *Router
	ctx context.Context // of Run
}

// AuthMethod names the method.
func (a *cryptosign) AuthMethod() string { return wamp.MethodCryptosign }

// Authenticate is called by nexus once a HELLO has come.
func (a *cryptosign) Authenticate(_ nwamp.ID, details nwamp.Dict, client nwamp.Peer) (*nwamp.Welcome, error) {
	authid, _ := nwamp.AsString(details["authid"])
	board := s4t.BoardID(authid)
	op := "open the control session of a board"
	if !s4t.IsID(authid) {
		return nil, refuse(client, s4t.Errorf(s4t.Invalid, op, "", "authid is not the id of a board"))
	}
	op = "open the control session of board " + authid
	challenge, reply, err := ask(client, a.AuthMethod())
	if err != nil {
		return nil, refuse(client, s4t.Errorf(s4t.Unauthenticated, op, "", "%w", err))
	}
	ctx, cancel := context.WithTimeout(a.ctx, authTimeout)
	defer cancel()
	who, err := a.r.cfg.Identify(ctx, board)
	if s4t.KindOf(err) == s4t.NotFound {
		err = s4t.Errorf(s4t.Unauthenticated, op, "join again with a new code", "the cloud does not know this board (any more)")
	}
	if err == nil && (who.Board != board || !signed(who.PublicKey, challenge, reply.Signature)) {
		err = s4t.Errorf(s4t.Unauthenticated, op, "join again with a new code", "this is not the key of the board")
	}
	if err != nil {
		return nil, refuse(client, err)
	}
	return welcome(board, nil), nil
}

// joiner lets a new board in with a code. The key is proven in the same
// exchange, so that nobody can bind a key that is not his.
type joiner struct {
	r     *Router
	ctx   context.Context // of Run
	check bool            // the code is looked at only: [wamp.MethodCheckCode]
}

// AuthMethod names the method.
func (a *joiner) AuthMethod() string {
	if a.check {
		return wamp.MethodCheckCode
	}
	return wamp.MethodJoin
}

// Authenticate is called by nexus once a HELLO has come.
func (a *joiner) Authenticate(_ nwamp.ID, _ nwamp.Dict, client nwamp.Peer) (*nwamp.Welcome, error) {
	const op = "join with a code"
	var remote string
	if p, ok := client.(*peer); ok {
		remote = p.remote
	}
	if !a.r.guard.allow(remote, time.Now()) {
		return nil, refuse(client, s4t.Errorf(s4t.TooMany, op, "try again in a minute", "too many codes that are not valid came from this address"))
	}
	challenge, reply, err := ask(client, a.AuthMethod())
	if err != nil {
		return nil, refuse(client, s4t.Errorf(s4t.Unauthenticated, op, "", "%w", err))
	}
	code, _ := nwamp.AsString(reply.Extra["code"])
	name, _ := nwamp.AsString(reply.Extra["name"])
	text, _ := nwamp.AsString(reply.Extra["pubkey"])
	key, err := hex.DecodeString(text)
	if err != nil || !signed(key, challenge, reply.Signature) {
		return nil, refuse(client, s4t.Errorf(s4t.Unauthenticated, op, "", "the signature is not that of the key"))
	}
	if code == "" || len(code) > 128 || len(name) > s4t.MaxName {
		return nil, refuse(client, s4t.Errorf(s4t.Invalid, op, "copy the join string whole", "the code or the name is not well formed"))
	}
	ctx, cancel := context.WithTimeout(a.ctx, authTimeout)
	defer cancel()
	var j wire.BoardJoined
	if a.check {
		err = a.r.cfg.Check(ctx, code, key, name)
	} else {
		j, err = a.r.cfg.Join(ctx, code, key, name)
	}
	if err != nil {
		switch s4t.KindOf(err) {
		case s4t.NotFound, s4t.Unauthenticated, s4t.Conflict, s4t.Invalid:
			a.r.guard.failed(remote, time.Now())
		}
		return nil, refuse(client, err)
	}
	if a.check {
		if p, ok := client.(*peer); ok {
			p.codeGood = true
		}
		return nil, errCodeGood
	}
	return welcome(j.Board, nwamp.Dict{"joined": string(wire.Encode(j))}), nil
}

// errCodeGood ends the exchange of a code that is good.
var errCodeGood = errors.New("the code is good")

// refuse keeps err for the ABORT, of which nexus knows the text only.
func refuse(client nwamp.Peer, err error) error {
	if p, ok := client.(*peer); ok {
		p.refusal = wire.FromError(err)
	}
	return err
}

// ask sends a challenge and waits for the answer. The challenge lives in this
// call only: nothing else it signs will ever do.
func ask(client nwamp.Peer, method string) (challenge []byte, reply *nwamp.Authenticate, err error) {
	challenge = make([]byte, challengeSize)
	rand.Read(challenge) // never fails (crypto/rand, Go 1.24)
	client.Send() <- &nwamp.Challenge{AuthMethod: method, Extra: nwamp.Dict{"challenge": hex.EncodeToString(challenge)}}
	m, err := nwamp.RecvTimeout(client, s4t.HandshakeTimeout)
	if err != nil {
		return nil, nil, err
	}
	reply, ok := m.(*nwamp.Authenticate)
	if !ok {
		return nil, nil, s4t.Errorf(s4t.Invalid, "", "", "a message of type %v came in answer to the challenge", m.MessageType())
	}
	return challenge, reply, nil
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

func welcome(board s4t.BoardID, extra nwamp.Dict) *nwamp.Welcome {
	details := nwamp.Dict{"authid": string(board), "authrole": roleBoard, "authprovider": "s4t"}
	if extra != nil {
		details["authextra"] = extra
	}
	return &nwamp.Welcome{Details: details}
}
