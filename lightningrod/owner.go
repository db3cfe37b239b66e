package lightningrod

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/stack4things/s4t/wire"
)

// A board that has another owner forgets what the one before left on it: plugins with their data, the
// journals of commands and pins, what projects used, and the last desired state. Which owner it is the
// cloud says by a number that grows with each (wire.BoardDesired.Tenure), so the board sees it also
// when it was away meanwhile, or when the owner before has it again. Its identity stays, and so does what
// the one who stands beside it has said (profile.toml): the board is not un-enrolled.
//
// The engine ends, and with it all that runs and holds what is to go; then the files go; then an engine
// begins anew. What was begun is on disk, so that a death between goes on there.

// errNewOwner ends an engine whose board has another owner.
var errNewOwner = errors.New("the board has another owner")

// ownerState is owner.json.
type ownerState struct {
	Tenure int64 `json:"tenure"` // of the owner that the state is of
	Wiping bool  `json:"wiping"` // what the owner before left is to go first
}

// owner reads it. A board that was never transferred has none.
func (d stateDir) owner() (o ownerState, err error) {
	b, err := d.read(ownerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ownerState{}, nil
	}
	if err != nil {
		return o, d.failed("read", ownerFile, err)
	}
	if json.Unmarshal(b, &o) != nil || o.Tenure < 0 {
		return ownerState{Wiping: true}, nil // damaged: nobody knows whose the rest is
	}
	return o, nil
}

// changesOwner reports whether what the cloud wants is of another owner than the state, which is noted
// then: the engine is to end.
func (e *Engine) changesOwner(d wire.BoardDesired) bool {
	was, err := e.dir.owner()
	if err == nil && (d.Tenure == was.Tenure || d.Tenure < was.Tenure) { // less: a backup of the cloud was restored
		return false
	}
	if err == nil {
		err = e.dir.write(ownerFile, wire.Encode(ownerState{Tenure: d.Tenure, Wiping: true}))
	}
	if err != nil { // it goes on with what there is, and tries again with the next desired state
		e.cfg.Log.Error("what the owner before left on the board stays", "err", err)
		return false
	}
	return true
}

// wipeOwner removes what the owner before left, where that is to be done. The lock is held, and
// nothing runs.
func (e *Engine) wipeOwner() error {
	o, err := e.dir.owner()
	if err != nil || !o.Wiping {
		return err
	}
	endGuests(e.id.Board, e.dir, e.cfg.Log)
	if err := e.dir.wipe(e.cfg.Log); err != nil {
		return err
	}
	o.Wiping = false
	return e.dir.write(ownerFile, wire.Encode(o))
}

// wipe removes what belongs to the board's owner in the cloud.
func (d stateDir) wipe(log *slog.Logger) error {
	d.removeHalves()
	d.clearTree(log)
	for _, name := range []string{desiredFile, pinsFile, runsFile, usageFile} {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.failed("remove", name, err)
		}
	}
	if err := os.RemoveAll(d.path(pluginsDir)); err != nil {
		return d.failed("remove", pluginsDir, err)
	}
	return nil
}
