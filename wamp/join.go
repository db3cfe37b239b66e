package wamp

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// JoinConfig says who joins. With a Code it is the first time
// ([MethodJoin]); without, Board and Key are what the first time gave
// ([MethodCryptosign]).
type JoinConfig struct {
	Board s4t.BoardID        // required without Code
	Key   ed25519.PrivateKey // required: made on the board, never leaves it
	Code  string             // one-time registration code
	Name  string             // optional with Code: the name the board should have (fleet codes)
	Host  string             // optional with Code: the name of its host, for a board that nobody names
	Realm string             // optional: [s4t.Realm]
	Path  string             // optional: the address dialled from, where the kernel watches the path (sockopt.Watch)

	// Procedures and Topics of the board, by their names under its prefix, that the
	// session has from its begin where [Welcome.Offered] says so: with one answer in
	// the place of one each. They are used as those of [Session.Register] and
	// [Session.Subscribe] are. Optional: at most [MaxJoined] each.
	Procedures map[string]Handler
	Topics     map[string]func(arg string)

	check bool // [CheckCode]
}

// Welcome is what the cloud answered.
type Welcome struct {
	Session uint64            // WAMP session id
	Board   s4t.BoardID       // who the cloud says we are
	Joined  *wire.BoardJoined // with Code: the identity to keep for ever after
	Offered bool              // the session has JoinConfig's Procedures and Topics; an older cloud gives none
	Ping    time.Duration     // how often the board is to ping, which the cloud does not then; 0: both ping every s4t.PresenceInterval
}

// joinTimeout bounds Join where its context does not: the cloud itself gives
// up on a silent peer after s4t.HandshakeTimeout, and asks its conductor.
const joinTimeout = 2 * s4t.HandshakeTimeout

// challengeSize is the size of a challenge in bytes (WAMP-Cryptosign).
const challengeSize = 32

// Join opens a session over t and takes t over: it is closed when Join fails,
// and when the session ends. A session opened with a code is a session of the
// board like any other.
//
// Kinds of errors: [s4t.Unauthenticated] when the cloud does not know board or
// key (any more), [s4t.NotFound] or [s4t.Conflict] for a code that does not
// exist or was used, [s4t.Forbidden] for one that has expired, [s4t.Unavailable] and [s4t.Timeout] when trying again
// helps.
func Join(ctx context.Context, t Messages, cfg JoinConfig) (*Session, *Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { t.Close(); close(closed) })
	offers := offersOf(cfg)
	w, err := cfg.handshake(t, offers)
	if !stop() {
		<-closed
		if err == nil || ctx.Err() != nil {
			err = s4t.Errorf(s4t.Timeout, cfg.op(), "", "the cloud did not answer in time: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		t.Close()
		return nil, nil, err
	}
	s := newSession(t, w.Session)
	if w.Offered {
		offers.give(s, cfg)
	}
	if w.Ping > 0 {
		s.maxIdle = 2*w.Ping + s4t.PresenceTimeout
	}
	return s, w, nil
}

// CheckCode asks whether a join with cfg.Code would succeed, and uses nothing
// up; a key made for the occasion will do. It takes t over and closes it. The
// errors are those of [Join]: [s4t.Unauthenticated] for a code that does not
// exist, [s4t.Conflict] for one that was used, [s4t.Forbidden] for one that has
// expired.
func CheckCode(ctx context.Context, t Messages, cfg JoinConfig) error {
	cfg.check = true
	s, _, err := Join(ctx, t, cfg)
	if err == nil {
		s.Close()
		return s4t.Errorf(s4t.Invalid, cfg.op(), "", "the cloud began a session")
	}
	if ReasonOf(err) == ReasonCodeGood {
		return nil
	}
	return err
}

// op is what is attempted, for errors. A code is never in it.
func (c JoinConfig) op() string {
	if c.check {
		return "check the code"
	}
	if c.Code != "" {
		return "join with a code"
	}
	return "open the control session of board " + string(c.Board)
}

func (c JoinConfig) handshake(t Messages, offers *offers) (*Welcome, error) {
	if len(c.Key) != ed25519.PrivateKeySize || c.Code == "" && c.Board == "" {
		return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "a key and a board or a code are required")
	}
	public := hex.EncodeToString(c.Key.Public().(ed25519.PublicKey))
	realm := c.Realm
	if realm == "" {
		realm = s4t.Realm
	}
	hello := dict{
		"agent":       "lightning-rod",
		"authmethods": list{MethodCryptosign},
		"roles": dict{
			"caller":     dict{"features": dict{"call_canceling": true}},
			"callee":     dict{"features": dict{"call_canceling": true}},
			"subscriber": dict{},
		},
	}
	if c.Path != "" {
		hello[DetailPath] = c.Path
	}
	offers.say(hello)
	extra := dict{}
	if c.Code != "" {
		hello["authmethods"] = list{MethodJoin}
		if c.check {
			hello["authmethods"] = list{MethodCheckCode}
		}
		extra = dict{"code": c.Code, "pubkey": public, "name": c.Name, "host": c.Host}
	} else {
		hello["authid"] = string(c.Board)
		hello["authextra"] = dict{"pubkey": public}
	}
	if err := t.Write(Append(nil, list{MsgHello, realm, hello})); err != nil {
		return nil, c.lost(err)
	}
	m, err := c.read(t)
	if err != nil {
		return nil, err
	}
	if m.kind != MsgChallenge {
		return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud answered with a message of type %d, not with a challenge", m.kind)
	}
	text, _ := m.details["challenge"].(string)
	challenge, err := hex.DecodeString(text)
	if err != nil || len(challenge) != challengeSize {
		return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud's challenge is not %d bytes in hex", challengeSize)
	}
	signed := append(ed25519.Sign(c.Key, challenge), challenge...)
	if err := t.Write(Append(nil, list{MsgAuthenticate, hex.EncodeToString(signed), extra})); err != nil {
		return nil, c.lost(err)
	}
	if m, err = c.read(t); err != nil {
		return nil, err
	}
	if m.kind != MsgWelcome {
		return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud answered with a message of type %d, not with a welcome", m.kind)
	}
	w, err := c.welcome(m)
	if err == nil {
		w.Offered = offers.heard(m.details)
	}
	return w, err
}

// read returns the next message; an ABORT is an error.
func (c JoinConfig) read(t Messages) (message, error) {
	b, err := t.Read()
	if err != nil {
		return message{}, c.lost(err)
	}
	m, err := parse(b)
	if err != nil {
		return message{}, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud's answer is not understood: %w", err)
	}
	if m.kind == MsgAbort || m.kind == MsgGoodbye {
		return message{}, ended(c.op(), m)
	}
	return m, nil
}

func (c JoinConfig) lost(err error) error {
	return s4t.Errorf(s4t.Unavailable, c.op(), "", "the connection was lost: %w", err)
}

func (c JoinConfig) welcome(m message) (*Welcome, error) {
	authid, _ := m.details["authid"].(string)
	w := &Welcome{Session: m.request, Board: s4t.BoardID(authid)}
	if ping, _ := m.details[DetailPing].(int64); ping > 0 {
		w.Ping = time.Duration(min(ping, int64(time.Minute/time.Second))) * time.Second
	}
	if c.Code != "" {
		extra, _ := m.details["authextra"].(dict)
		text, _ := extra["joined"].(string)
		w.Joined = new(wire.BoardJoined)
		if err := json.Unmarshal([]byte(text), w.Joined); err != nil || w.Joined.Board != w.Board {
			return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud's welcome has no identity for this board")
		}
	}
	if !s4t.IsID(authid) || c.Code == "" && w.Board != c.Board {
		return nil, s4t.Errorf(s4t.Invalid, c.op(), "", "the cloud takes this board for %q", authid)
	}
	return w, nil
}

// ended is the error of an ABORT or a GOODBYE.
func ended(op string, m message) *s4t.Error {
	text, _ := m.details[ErrorKey].(string)
	say, _ := m.details["message"].(string)
	return DecodeError(op, m.uri, text, say)
}
