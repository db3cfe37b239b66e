package lightningrod

import (
	"context"
	"log/slog"

	"github.com/stack4things/s4t"
)

// GuestsConfig is what the owner of a board says of code that others run on it.
type GuestsConfig struct {
	Stub         []string // required: the command that becomes a guest: lightning-rod's own "plugin-exec"
	Keys         [][]byte // optional: Ed25519 keys of those whose plugins are taken; default any
	AllowNetwork bool     // optional: plugins that ask for the network get it
	Commands     string   // optional: the folder of the owner's own commands (commands.d); default none
}

// guests is the code that others run on the board: plugins, the commands of them and
// of the board's owner, and how much of the board they get.
type guests struct {
	cfg    GuestsConfig
	board  s4t.BoardID
	online func() (c cloud, epoch int64, changed <-chan struct{})
	log    *slog.Logger
}

// openGuests makes what runs guests. Nothing of it runs yet. The lock of the state is
// held, and the identity read.
func (e *Engine) openGuests() error {
	if e.cfg.Guests == nil {
		return nil
	}
	if len(e.cfg.Guests.Stub) == 0 {
		return s4t.Errorf(s4t.Invalid, "run plugins", "", "Guests.Stub is required")
	}
	e.guests = &guests{cfg: *e.cfg.Guests, board: e.id.Board, online: e.online, log: e.cfg.Log}
	return nil
}

// run works the guests until ctx ends; none is left when it returns.
func (g *guests) run(ctx context.Context) {
	<-ctx.Done()
}
