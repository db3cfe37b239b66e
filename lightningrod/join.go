package lightningrod

import (
	"context"
	"encoding/pem"
	"log/slog"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// joinTimeout bounds one try of a join: TLS over a path with a small MTU takes
// a few seconds.
const joinTimeout = 20 * time.Second

// JoinConfig says how to enrol a board.
type JoinConfig struct {
	State string // optional: the state directory; default DefaultState
	Join  string // required: the join string
	Name  string // optional: the board's name, where the code belongs to no named board; default the host's name, with something behind it where that is taken
	Proxy string // optional: HTTP proxy URL, kept in the identity

	// ExtraCA is trusted in addition to the cloud's CA, and kept: PEM of the CA
	// of a proxy that re-signs TLS. Who holds its key can read and change what
	// the board and the cloud say to each other. Optional.
	ExtraCA []byte

	Log *slog.Logger // optional: default discards
}

// Join enrols this board: it makes a key, binds it to the code, and keeps the
// identity. A join whose answer was lost may be repeated with the same join
// string. It does not need a right clock.
func Join(ctx context.Context, cfg JoinConfig) (Identity, error) {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	join, err := s4t.ParseJoin(cfg.Join)
	if err != nil {
		return Identity{}, err
	}
	name, err := joinName(join, cfg.Name)
	if err != nil {
		return Identity{}, err
	}
	dir := stateDir(cfg.State)
	lock, err := dir.lock()
	if err != nil {
		return Identity{}, err
	}
	defer lock.Close()
	if dir.joined() {
		return Identity{}, s4t.Errorf(s4t.Conflict, "join with state "+cfg.State, "run `lightning-rod leave` first to move the board to another cloud, or `lightning-rod run` to go on", "this board has joined already")
	}
	key, err := dir.pendingKey(join.Code)
	if err != nil {
		return Identity{}, err
	}
	dialer, err := dial.New(dial.Config{Fingerprint: join.Fingerprint, ExtraCA: cfg.ExtraCA, Proxy: cfg.Proxy, Log: cfg.Log})
	if err != nil {
		return Identity{}, err
	}
	var failed error
	for i, url := range join.URLs {
		joined, ca, err := joinAt(ctx, dialer, url, wamp.JoinConfig{Code: join.Code, Name: name, Host: hostName(), Key: key})
		if err != nil {
			if i+1 < len(join.URLs) {
				cfg.Log.Warn("join; trying the next URL", "peer", url, "err", err)
			}
			failed = err
			continue
		}
		id := Identity{
			Board: joined.Board, Name: joined.Name, Key: key.Seed(), URLs: join.URLs, CA: ca,
			TicketKey: joined.TicketKey, ExtraCA: string(cfg.ExtraCA), Proxy: cfg.Proxy, JoinedAt: time.Now().UTC().Truncate(time.Second),
		}
		if ca == "" {
			id.Fingerprint = join.Fingerprint
		}
		if err := id.check(); err != nil {
			return Identity{}, s4t.Errorf(s4t.Internal, "join at "+url, "the cloud's version may be too old", "its answer is not complete: %w", err)
		}
		return id, dir.saveIdentity(id)
	}
	return Identity{}, failed
}

// joinName settles the board's name between the join string and --name.
func joinName(join s4t.JoinString, name string) (string, error) {
	if name == "" {
		return join.Name, nil
	}
	if err := s4t.ValidName("board", name); err != nil {
		return "", err
	}
	if join.Name != "" && join.Name != name {
		return "", s4t.Errorf(s4t.Invalid, "join as "+name, "leave --name out, or create another board", "the code belongs to the board %q", join.Name)
	}
	return name, nil
}

// joinAt tries one URL. ca is the PEM of the CA to trust from now on.
func joinAt(ctx context.Context, dialer *dial.Dialer, url string, cfg wamp.JoinConfig) (joined wire.BoardJoined, ca string, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	conn, err := dialer.Dial(ctx, url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		return joined, "", err
	}
	session, welcome, err := wamp.Join(ctx, wamp.Over(conn), cfg)
	if err != nil {
		return joined, "", err
	}
	session.Close()
	if cert := dialer.CA(); cert != nil {
		ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	if welcome.Joined == nil {
		return joined, "", s4t.Errorf(s4t.Internal, "join at "+url, "the cloud's version may be too old", "the cloud answered without an identity")
	}
	return *welcome.Joined, ca, nil
}
