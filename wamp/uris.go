package wamp

import (
	"strings"

	"github.com/stack4things/s4t"
)

// Where and as what WAMP is spoken.
const (
	Path        = "/wamp"          // of the cloud's HTTPS port
	Subprotocol = "wamp.2.msgpack" // of the WebSocket
)

// Names under a board's prefix, see [BoardURI]. What starts with [CloudPrefix]
// is served by the cloud and called by the board; the rest is the other way
// round.
const (
	CloudPrefix = "cloud."

	Connected = "cloud.connected" // wire.BoardConnected -> wire.BoardWelcome; of the argument only Instance and Info are heeded
	Desired   = "cloud.desired"   // wire.Empty -> wire.BoardDesired
	Report    = "cloud.report"    // wire.BoardReport -> wire.Empty
	Ticket    = "cloud.ticket"    // wire.BoardTicket -> wire.BoardTickets
	Leave     = "cloud.leave"     // wire.Empty -> wire.Empty
	Pins      = "cloud.pins"      // wire.PinReport -> wire.Empty
	Samples   = "cloud.samples"   // wire.PinSamples -> wire.Empty; answered when those who watch have them
	Remote    = "cloud.remote"    // wire.PinRemote -> wire.PinRemoteAnswer: the pins of the project's other boards
	Code      = "cloud.code"      // wire.CodeReport -> wire.Empty: what code the board can run, its commands, its owner's profile
	Runs      = "cloud.runs"      // wire.RunReport -> wire.RunsHeard: what became of commands
	Lines     = "cloud.lines"     // wire.FeedLines -> wire.Empty; answered when who follows has them
	Token     = "cloud.token"     // wire.PluginTokenAsk -> wire.PluginToken
	Health    = "cloud.health"    // wire.HealthReport -> wire.HealthHeard
	Recording = "cloud.recording" // wire.RecordingPart -> wire.Empty: what a shell wrote; errors are about the recording

	Wake     = "wake"     // topic: wire.BoardWake
	Move     = "move"     // topic: wire.BoardMove
	Ping     = "ping"     // wire.Empty -> wire.Empty
	Doctor   = "doctor"   // wire.Empty -> wire.DoctorReport
	HostKeys = "hostkeys" // wire.HostKeysAsk -> wire.HostKeys

	CodeAsk = "code" // wire.CodeAsk -> wire.CodeAnswer: commands, plugins, logs

	PinsAsk     = "pins"     // wire.PinAsk -> wire.PinAnswer
	PinsSamples = "samples"  // wire.PinSamples -> wire.Empty: of another board's pins, which this one watches
	PinsNews    = "pinsnews" // topic: wire.PinNews: other boards or their pins may have changed
)

// Authentication methods.
const (
	MethodCryptosign = "cryptosign" // a board proves its key (WAMP-Cryptosign, without channel binding)
	MethodJoin       = "s4t-join"   // a code and a new key in one exchange
	MethodCheckCode  = "s4t-check"  // the same exchange; the code is looked at and not used, and the answer is an ABORT
)

// Details of ours. With [DetailPath] in its HELLO, the address that it dials from, a
// board says that its kernel watches the path; a cloud whose kernel does too answers
// with [DetailPing] in its WELCOME, in seconds: so often the board pings, and the
// cloud does not. Without either both ping every s4t.PresenceInterval.
//
// With [DetailProcedures] and [DetailTopics] in its HELLO, lists of names under its
// prefix, a board registers and subscribes as it joins; a cloud that has done so
// answers with the same keys in its WELCOME, lists of the ids in the same order.
// Without them the board does it by messages, a pair for each.
const (
	DetailPath       = "s4t_path"
	DetailPing       = "s4t_ping"
	DetailProcedures = "s4t_procedures"
	DetailTopics     = "s4t_topics"
)

// MaxJoined is how many names [DetailProcedures] and [DetailTopics] may have.
const MaxJoined = 32

// Reasons for which the cloud ends a session, besides WAMP's own. See
// [ReasonOf].
const (
	ReasonReplaced = "s4t.error.replaced"         // a newer session of the same board took over
	ReasonCloned   = "s4t.error.cloned"           // another board with the same key is there and answers
	ReasonLeft     = "s4t.error.left"             // the board was un-enrolled or deleted
	ReasonStale    = "s4t.error.stale"            // the cloud no longer knows this session: open a new one
	ReasonCodeGood = "s4t.error.code_good"        // answer of MethodCheckCode: a join would succeed
	ReasonShutdown = "wamp.close.system_shutdown" // the cloud stops
	ReasonClosed   = "wamp.close.normal"
	ReasonAck      = "wamp.close.goodbye_and_out" // answer to a GOODBYE
)

// NoSuchProcedure is the error of a call that the cloud does not serve: it is older
// than the board.
const NoSuchProcedure = "wamp.error.no_such_procedure"

const (
	boardPrefix = "s4t.board."
	errorPrefix = "s4t.error."
)

// BoardURI returns the URI of a name under a board's prefix:
// "s4t.board.3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11.wake".
func BoardURI(id s4t.BoardID, name string) string { return boardPrefix + string(id) + "." + name }

// ParseBoardURI splits what [BoardURI] made. The name consists of components
// of a-z, 0-9 and _, as WAMP's strict URIs do; only the board's id has dashes.
func ParseBoardURI(uri string) (id s4t.BoardID, name string, ok bool) {
	rest, ok := strings.CutPrefix(uri, boardPrefix)
	if !ok || len(uri) > 255 {
		return "", "", false
	}
	board, name, ok := strings.Cut(rest, ".")
	if !ok || !s4t.IsID(board) || !validName(name) {
		return "", "", false
	}
	return s4t.BoardID(board), name, true
}

func validName(name string) bool {
	last := byte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
		case c == '.' && last != '.':
		default:
			return false
		}
		last = c
	}
	return last != '.'
}
