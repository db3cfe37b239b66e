package router

import (
	"fmt"
	"strings"

	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
)

// authorizer lets a board touch the URIs under its own prefix: call what the
// cloud serves there, register and subscribe to the rest, publish. No pattern,
// no shared registration, no meta procedure, nothing of another board. It is
// asked for every message of every board; the cloud's own session is trusted.
type authorizer struct{}

// maxRegistrations is how many times a session may register or subscribe.
const maxRegistrations = 1024

// registrations is the detail of a session that counts them.
const registrations = "s4t_registrations"

// Authorize is called by nexus with the session locked. Options that a board
// has no use for are taken out of the message.
func (authorizer) Authorize(s *nwamp.Session, m nwamp.Message) (bool, error) {
	authid, _ := nwamp.AsString(s.Details["authid"])
	role, _ := nwamp.AsString(s.Details["authrole"])
	if role != roleBoard {
		return false, nil
	}
	board := s4t.BoardID(authid)
	switch m := m.(type) {
	case *nwamp.Call:
		m.Options = nwamp.Dict{}
		return own(board, m.Procedure, true), nil
	case *nwamp.Register:
		ok := exact(m.Options) && own(board, m.Procedure, false) && mayRegister(s)
		_, name, _ := wamp.ParseBoardURI(string(m.Procedure))
		m.Options, m.Procedure = nwamp.Dict{}, sessionURI(s.ID, name)
		return ok, nil
	case *nwamp.Subscribe:
		ok := exact(m.Options) && own(board, m.Topic, false) && mayRegister(s)
		m.Options = nwamp.Dict{}
		return ok, nil
	case *nwamp.Publish:
		ack, _ := m.Options[nwamp.OptAcknowledge].(bool)
		m.Options = nwamp.Dict{nwamp.OptAcknowledge: ack}
		return own(board, m.Topic, false), nil
	case *nwamp.Yield:
		m.Options = nwamp.Dict{}
		return true, nil // nexus checks whose invocation it is
	case *nwamp.Cancel:
		m.Options = nwamp.Dict{nwamp.OptMode: nwamp.CancelModeKillNoWait}
		return true, nil // and whose call
	case *nwamp.Error:
		m.Details = nwamp.Dict{}
		return true, nil
	case *nwamp.Unregister, *nwamp.Unsubscribe, *nwamp.Goodbye:
		return true, nil
	}
	return true, nil // not for a router to receive: nexus ends the session
}

// sessionURI is what a board's procedure is registered as in truth. A new
// session of a board registers while the one before it is not known to be dead
// yet, and the cloud means the one or the other when it calls.
func sessionURI(session nwamp.ID, name string) nwamp.URI {
	return nwamp.URI(fmt.Sprintf("s4t.session.%d.%s", session, name))
}

// own reports whether uri is under the board's prefix, on the cloud's side of
// it or on the board's.
func own(board s4t.BoardID, uri nwamp.URI, cloud bool) bool {
	id, name, ok := wamp.ParseBoardURI(string(uri))
	return ok && id == board && strings.HasPrefix(name+".", wamp.CloudPrefix) == cloud
}

// exact reports whether the options ask for exact matching by one callee.
func exact(options nwamp.Dict) bool {
	for key, want := range map[string]string{nwamp.OptMatch: nwamp.MatchExact, nwamp.OptInvoke: nwamp.InvokeSingle} {
		v, there := options[key]
		if s, _ := nwamp.AsString(v); there && s != want {
			return false
		}
	}
	return true
}

// mayRegister counts a registration or subscription.
func mayRegister(s *nwamp.Session) bool {
	n, _ := s.Details[registrations].(int)
	s.Details[registrations] = n + 1
	return n < maxRegistrations
}
