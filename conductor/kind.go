package conductor

import (
	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// kind is what the conductor has to know of a kind of resource, besides who
// wants it (see [change.want]). Each is optional.
type kind struct {
	// changed tells that an object stands otherwise than before. halves is what
	// all who hold it say now.
	changed func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error
	// told tells that a holder says something else of an object than before.
	told func(ch *change, id string, was, now store.Realization) error
	// late says, for people, that a holder has not done its part.
	late func(a store.Await) string
	// fails says why a holder that has the newest desired state will not do its
	// part, and what kind of failure that is; empty: it may still.
	fails func(a store.Await) (s4t.Kind, string)
	// retry makes another choice for an object that fails, where an operation may
	// have retries left.
	retry func(ch *change, id string) error
	// left says, for people, what an operation leaves that fails with an object of
	// a holder, and how to be rid of it.
	left func(op store.Operation, a store.Await) string
	// withdraw removes an object that could not be made, when its operation fails.
	withdraw func(ch *change, op store.Operation, id string) error
}

// kinds are all that there are; each is in the file of its noun.
var kinds = map[wire.Kind]kind{
	wire.KindPort:    portKind,
	wire.KindService: serviceKind,
	wire.KindPlugin:  pluginKind,
	wire.KindGRE:     greKind,
	wire.KindUplink:  uplinkKind,
	wire.KindPeer:    peerKind,
}

// holder is who has a part of an object: a board or a tunnel agent.
type holder struct {
	id      string
	onBoard bool
}

func boardOf(id s4t.BoardID) holder { return holder{string(id), true} }
func agentOf(id s4t.AgentID) holder { return holder{string(id), false} }

// problemOf returns the problem of the halves of an object: a board's first.
func problemOf(halves []store.Realization) string {
	text := ""
	for _, h := range halves {
		if h.Problem != "" && (text == "" || h.OnBoard) {
			text = h.Problem
		}
	}
	return text
}
