package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: boards, for the API.
const (
	MethodBoardCreate = "board.create" // BoardCreate -> s4t.Board (with Code and Join)
	MethodBoardList   = "board.list"   // BoardList -> List[s4t.Board]
	MethodBoardGet    = "board.get"    // RefRequest -> s4t.Board
	MethodBoardUpdate = "board.update" // BoardUpdate -> s4t.Board
	MethodBoardDelete = "board.delete" // RefRequest -> Empty
	MethodBoardDoctor = "board.doctor" // RefRequest -> DoctorReport
)

// BoardCreate registers a board and makes its code.
type BoardCreate struct {
	Caller   Caller            `json:"caller"`
	Name     string            `json:"name"`
	Type     string            `json:"type,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Location *s4t.Location     `json:"location,omitempty"`
}

// BoardList asks for boards; empty fields do not filter. A page has fewer than its limit, or
// none, where few of many that were looked at are found, or they are large.
type BoardList struct {
	Caller Caller            `json:"caller"`
	Labels map[string]string `json:"labels,omitempty"`
	Fleet  string            `json:"fleet,omitempty"` // name or id
	Status s4t.BoardStatus   `json:"status,omitempty"`
	Leased bool              `json:"leased,omitempty"` // those that are leased to the caller's project now
	Page   Page              `json:"page,omitzero"`
	Query  string            `json:"query,omitempty"`  // of [s4t.ParseBoardQuery]
	Fields string            `json:"fields,omitempty"` // the answer has only these, see [ProjectionOf]; empty: all
}

// BoardUpdate changes what is not nil.
type BoardUpdate struct {
	Caller   Caller            `json:"caller"`
	Ref      string            `json:"ref"`
	Name     *string           `json:"name,omitempty"`
	Type     *string           `json:"type,omitempty"`
	Labels   map[string]string `json:"labels,omitzero"` // the new set, whole
	Location *s4t.Location     `json:"location,omitempty"`
	NewCode  bool              `json:"new_code,omitempty"` // make a new code for a board that is not enrolled; the answer has Code and Join
	Replace  bool              `json:"replace,omitempty"`  // with NewCode, of an enrolled board too: its key ends when the code is used
}

// DoctorReport lists what was checked on a board, worst first.
type DoctorReport struct {
	Board    string          `json:"board"`
	Findings []Finding       `json:"findings"`
	Status   s4t.BoardStatus `json:"status"`
}

// Levels of a finding.
const (
	LevelOK      = "ok"
	LevelWarning = "warning"
	LevelError   = "error"
)

// Finding of a doctor. Certain is false where the cause is only likely.
type Finding struct {
	ID      string `json:"id,omitempty"` // of the [Diagnosis]; empty where all is well
	Check   string `json:"check"`        // "clock", "proxy", "mtu", ...
	Level   string `json:"level"`        // LevelOK, LevelWarning, LevelError
	Cause   string `json:"cause"`        // one line
	Cure    string `json:"cure,omitempty"`
	Certain bool   `json:"certain"`
}

// Methods of the conductor: boards, for the WAMP agent.
const (
	MethodBoardAuthenticate = "session.authenticate" // BoardAuthenticate -> BoardIdentity: the key to check a signature with
	MethodBoardJoin         = "session.join"         // BoardJoin -> BoardJoined: a code becomes a key of a board
	MethodBoardJoinCheck    = "session.join-check"   // BoardJoin -> Empty: would MethodBoardJoin do it; changes nothing
	MethodBoardConnected    = "session.connected"    // BoardConnected -> BoardWelcome: a session begins
	MethodBoardDisconnected = "session.disconnected" // BoardDisconnected (cast): a session ended
	MethodBoardDesired      = "session.desired"      // BoardAsk -> BoardDesired
	MethodBoardReport       = "session.report"       // BoardReport -> Empty
	MethodBoardTicket       = "session.ticket"       // BoardTicket -> BoardTickets
	MethodBoardLeave        = "session.leave"        // BoardAsk -> Empty: the contributor un-enrols the board
	MethodBoardWoken        = "session.woken"        // BoardWake (cast): the board was told (step 5)
)

// BoardAuthenticate asks for the key of a board.
type BoardAuthenticate struct {
	Board s4t.BoardID `json:"board"`
}

// BoardIdentity is what the authenticator needs.
type BoardIdentity struct {
	Board     s4t.BoardID `json:"board"`
	Name      string      `json:"name"`
	PublicKey []byte      `json:"public_key"` // Ed25519, 32 bytes
}

// BoardJoin binds a key to the board of a code. Sent again with the same code
// and key it answers the same, so that a lost answer does not strand a board.
type BoardJoin struct {
	Code      string `json:"code"`
	PublicKey []byte `json:"public_key"`     // Ed25519, 32 bytes
	Name      string `json:"name,omitempty"` // that the board is to have, or no board is made
	Host      string `json:"host,omitempty"` // its host's name: the board's name where nothing else says one, with something behind it where that is taken
}

// BoardJoined is what a board keeps for ever after: its identity.
type BoardJoined struct {
	Board     s4t.BoardID `json:"board"`
	Name      string      `json:"name"`
	TicketKey []byte      `json:"ticket_key"` // Ed25519 public key that signs tickets, 32 bytes
}

// BoardConnected says that a session of a board begins. Instance is made anew
// by every start of lightning-rod: another instance with the same key while
// the first still answers is a clone.
type BoardConnected struct {
	Board       s4t.BoardID   `json:"board"`
	Agent       s4t.AgentID   `json:"agent"`
	Incarnation string        `json:"incarnation"` // of the agent, see AgentHello
	Session     uint64        `json:"session"`     // WAMP session id
	Instance    string        `json:"instance"`
	Info        s4t.BoardInfo `json:"info"`

	// Address is where the agent sees the session come from, see [s4t.BoardInfo.PublicAddress]; it
	// says so, not the board.
	Address string `json:"address,omitempty"`

	// Moved is set where the board still has another session, which it ends itself in
	// a moment: it was told to move.
	Moved bool `json:"moved,omitempty"`

	// Uptime is how long the board runs: that tells why it was away, also where its clock
	// is wrong. 0: it does not say.
	Uptime time.Duration `json:"uptime,omitempty"`

	// Report is what a board has that has nothing: its first report of the session,
	// which begins with it. Board and Epoch in it are not heeded, nor is it where it
	// speaks of resources. Optional.
	Report *BoardReport `json:"report,omitempty"`
}

// BoardWelcome answers it: the epoch of the session and the state to have.
//
// ReturnWithin is how long boards that lose their sessions at one moment spread
// their return over: each waits a random part of it. 0: as ever.
//
// Refresh is how often a board asks for its desired state though nobody woke it: the
// longer, the more boards there are. 0: as ever.
type BoardWelcome struct {
	Epoch        int64         `json:"epoch"`
	Desired      BoardDesired  `json:"desired"`
	ReturnWithin time.Duration `json:"return_within,omitempty"`
	Refresh      time.Duration `json:"refresh,omitempty"`

	// Heard says that the report of [BoardConnected] was taken. A cloud that does not
	// know of it is told by a report of its own.
	Heard bool `json:"heard,omitempty"`

	// Move is where the board should rather be: see [BoardMove]. Empty: it is right
	// where it is.
	Move string `json:"move,omitempty"`
}

// BoardMove tells a board to open its session at another WAMP agent, and to end
// this one when it has that.
type BoardMove struct {
	URL string `json:"url"`
}

// BoardDisconnected ends the session of that epoch, and no other.
type BoardDisconnected struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
}

// BoardAsk is a request of a board in a session.
type BoardAsk struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
	Told  time.Time   `json:"told,omitzero"` // when the WAMP agent last woke the board (step 5 of Fig. 3)
}

// BoardDesired is the whole state a board should have (decision 1). A board
// keeps the last one on disk and applies it at boot.
type BoardDesired struct {
	Board      s4t.BoardID   `json:"board"`
	Name       string        `json:"name"`
	Project    s4t.ProjectID `json:"project,omitempty"`
	Tenure     int64         `json:"tenure,omitempty"` // counts the board's owners: with a new number the board forgets what the one before left on it
	Generation int64         `json:"generation"`
	Time       time.Time     `json:"time"` // the cloud's clock; the board's may say 1970
	URLs       []string      `json:"urls"` // of the cloud, in order of preference
	TicketKey  []byte        `json:"ticket_key"`
	Told       time.Time     `json:"told,omitzero"`     // BoardAsk.Told
	Resources  []Resource    `json:"resources"`         // all that are wanted, by key
	Notices    []string      `json:"notices,omitempty"` // what the board's owner should read: another board uses this board's key
	Trust      Trust         `json:"trust,omitzero"`
	Book       string        `json:"book,omitempty"` // a signed [Book]; empty from a cloud that has none
}

// Trust is what a board should trust as the cloud's TLS certificate from now
// on; nothing: what it trusts already. A board keeps it beside its identity,
// which is never rewritten.
type Trust struct {
	CAs         []string `json:"cas,omitempty"`          // PEM of CA certificates, at most 4
	SystemRoots bool     `json:"system_roots,omitempty"` // what the board's system trusts, too
}

// Sum tells one Trust from another; empty of nothing.
func (t Trust) Sum() string {
	if len(t.CAs) == 0 && !t.SystemRoots {
		return ""
	}
	sum := sha256.Sum256(Encode(t))
	return hex.EncodeToString(sum[:8])
}

// DesiredPort is the board's half of a port.
type DesiredPort struct {
	Network       s4t.NetworkID     `json:"network"`
	Layer         int               `json:"layer"`
	Encapsulation s4t.Encapsulation `json:"encapsulation"`
	Interface     string            `json:"interface"`
	MAC           string            `json:"mac,omitempty"`
	Addresses     []string          `json:"addresses"`
	MTU           int               `json:"mtu"`
	Guards        s4t.PortGuards    `json:"guards"`
	GRE           *s4t.PortGRE      `json:"gre,omitempty"`
	URL           string            `json:"url"` // of the tunnel agent: https://host:port
	Leased
}

// DesiredService is a service that the board lets streams reach.
type DesiredService struct {
	Target  string `json:"target"` // host
	TCPPort int    `json:"port"`
	Leased
}

// Leased says by which lease a board has something that is wanted of it: it has it while the lease is.
// Empty: it is of the board's own project.
type Leased struct {
	For   s4t.ProjectID `json:"for,omitempty"` // who has the lease
	Lease s4t.LeaseID   `json:"lease,omitempty"`
}

// DesiredStreams asks for idle data rtunnels, so that a stream costs no
// handshake.
type DesiredStreams struct {
	URL  string `json:"url"`  // of the tunnel agent
	Warm int    `json:"warm"` // how many
}

// BoardReport is the state a board has: of every resource that it was told to
// have. Seq grows within a session with each report that differs from the last
// one that was answered: one that arrives late is dropped.
type BoardReport struct {
	Board      s4t.BoardID     `json:"board"`
	Epoch      int64           `json:"epoch"`
	Seq        int64           `json:"seq"`
	Generation int64           `json:"generation"` // applied
	Resources  []ResourceState `json:"resources"`
	Problems   []string        `json:"problems,omitempty"`  // at most 16 lines of at most 255 bytes
	Info       *s4t.BoardInfo  `json:"info,omitempty"`      // where it has changed since the session began
	Recovered  string          `json:"recovered,omitempty"` // once, when damaged state was found: what was lost and fetched again
	Told       time.Time       `json:"told,omitzero"`       // of the applied BoardDesired: when the board was told of it (step 5)
	Received   time.Time       `json:"received,omitzero"`   // its Time: when it was given it (step 6)
}

// BoardTicket asks for tickets.
type BoardTicket struct {
	Board   s4t.BoardID `json:"board"`
	Epoch   int64       `json:"epoch"`
	Purpose string      `json:"purpose"`          // PurposePort, PurposeStreams or PurposeBundle
	Port    s4t.PortID  `json:"port,omitempty"`   // with PurposePort
	Plugin  string      `json:"plugin,omitempty"` // with PurposeBundle: ResourceKey.ID of its DesiredPlugin
	Count   int         `json:"count"`            // 1 to 16
}

// BoardTickets answers it.
type BoardTickets struct {
	Tickets []string `json:"tickets"`
}

// Methods of the WAMP agent.
const (
	MethodBoardWake = "board.wake" // BoardWake (cast): tell the board of its new generation
	MethodBoardKick = "board.kick" // BoardKick (cast): end its session
	MethodBoardPing = "board.ping" // BoardPing -> Empty: the board itself must answer
	MethodBoardCall = "board.call" // BoardCall -> json.RawMessage: call a procedure of the board
)

// BoardWake is only a wake-up: losing one costs a delay, never the truth.
type BoardWake struct {
	Board      s4t.BoardID `json:"board"`
	Generation int64       `json:"generation"`
}

// BoardKick ends the board's session of at most that epoch.
type BoardKick struct {
	Board  s4t.BoardID `json:"board"`
	Epoch  int64       `json:"epoch"`
	Reason string      `json:"reason"` // KickReplaced, KickLeft

	Message string `json:"message,omitempty"` // for people: why, where the reason does not say it all
}

// Reasons of a [BoardKick], as the board is told them.
const (
	KickReplaced = "s4t.error.replaced" // a newer session of the same board took over
	KickLeft     = "s4t.error.left"     // the board was un-enrolled or deleted
)

// BoardPing asks whether the session of that epoch still answers.
type BoardPing struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
}

// BoardCall calls a procedure of a board.
type BoardCall struct {
	Board     s4t.BoardID `json:"board"`
	Procedure string      `json:"procedure"`      // last part of the URI: "doctor"
	Args      []byte      `json:"args,omitempty"` // JSON
}
