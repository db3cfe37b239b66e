package wire

import (
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: pins, for the API. They are served on [TopicPins].
const (
	MethodPinAsk   = "pin.ask"   // PinRequest -> PinAnswer: of one board
	MethodPinAll   = "pin.all"   // PinAll -> PinBoards: the cloud's copy, of all boards that the caller sees
	MethodPinWatch = "pin.watch" // PinWatch -> PinAnswer: samples are sent from now on; asked again before its term is over
)

// Methods of the conductor: pins, for the WAMP agent.
const (
	MethodBoardPins   = "session.pins"   // PinReport -> Empty
	MethodBoardRemote = "session.remote" // PinRemote -> PinRemoteAnswer
)

// Methods on [TopicWAMPPins], of a WAMP agent, and on [TopicAPIPins].
const (
	MethodPinsOfBoard = "pins.ask"     // BoardPins -> PinAnswer
	MethodPinsWatch   = "pins.watch"   // BoardPinsWatch -> PinAnswer
	MethodPinsSamples = "pins.samples" // PinSamples -> Empty: to who watches. NotFound: nobody there does (any more)
)

// What is asked of a board's pins.
const (
	PinList    = "list"    // of Pins, none: of all: PinAnswer.Pins
	PinRead    = "read"    // the newest value of each of Pins: PinAnswer.Samples
	PinWrite   = "write"   // Values: PinAnswer.Pins as they are after it
	PinSet     = "set"     // Settings of the one pin: PinAnswer.Pins
	PinClaim   = "claim"   // the one pin, For, Priority: PinAnswer.Pins
	PinRelease = "release" // the one pin: PinAnswer.Pins
	PinHistory = "history" // of Pins, after After or since Since, Limit samples: PinAnswer.Samples, Next
	PinWatched = "watch"   // exactly Pins are watched until Term is over (All: all of the board); answers the newest sample of each
)

// PinAsk is one question to a board, or one order. Every name in it is
// DRIVER/DEVICE/PIN or a label; what comes back has names.
type PinAsk struct {
	Do       string             `json:"do"` // PinList ...
	Pins     []string           `json:"pins,omitempty"`
	Values   map[string]float64 `json:"values,omitempty"` // PinWrite: by pin; all or none is acted on where one is refused
	Settings map[string]string  `json:"settings,omitempty"`
	For      time.Duration      `json:"for,omitempty"`      // PinWrite: then it goes back; PinClaim: its term, 0 is 10 minutes
	Priority int                `json:"priority,omitempty"` // 0 to s4t.MaxPriority
	Fence    int64              `json:"fence,omitempty"`    // PinWrite: under this claim only (Stale); PinClaim: set by the conductor

	Since time.Time         `json:"since,omitzero"`
	After map[string]uint64 `json:"after,omitempty"` // PinHistory, PinWatched: by pin: samples of a greater Seq
	Limit int               `json:"limit,omitempty"` // 1 to MaxSamples
	All   bool              `json:"all,omitempty"`
	Term  time.Duration     `json:"term,omitempty"`

	// Shares are the parts of a watch by whom they are for: a part ends with the lease that allows it.
	// None: all of it is for the board's own project.
	Shares []PinShare `json:"shares,omitempty"`

	// Who asks, set by the conductor: Holder tells holders apart for ever
	// ("user:ID", "board:ID"; on the board itself "local:UID"), HolderName is for people.
	Project    s4t.ProjectID   `json:"project,omitempty"` // for whom it is; empty: the board's own
	Holder     string          `json:"holder,omitempty"`
	HolderName string          `json:"holder_name,omitempty"`
	Operation  s4t.OperationID `json:"operation,omitempty"` // PinWrite with For: told in PinReport.Ended when it is over
}

// PinShare is what is watched for one project.
type PinShare struct {
	Project s4t.ProjectID `json:"project"`
	Pins    []string      `json:"pins,omitempty"` // none: all of the board
}

// MaxSamples is how many samples one message has.
const MaxSamples = 1000

// PinAnswer answers a PinAsk.
type PinAnswer struct {
	Pins      []s4t.Pin      `json:"pins,omitempty"`
	Samples   []s4t.Sample   `json:"samples,omitempty"`
	More      bool           `json:"more,omitempty"`      // PinHistory: ask again, after these
	Operation *s4t.Operation `json:"operation,omitempty"` // from the conductor, where it began one
	Fence     int64          `json:"fence,omitempty"`     // instead of Pins: the board refused a PinClaim, as it knows this number, which is higher

	// Of the cloud's copy, where the board did not answer PinList itself.
	ReportedAt *time.Time `json:"reported_at,omitempty"`
}

// PinRequest is a PinAsk of a user.
type PinRequest struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"` // name or id
	Ask    PinAsk `json:"ask"`
}

// PinAll asks for the cloud's copy of the pins of many boards. Where nothing has
// changed since the event Known the answer says only that.
type PinAll struct {
	Caller Caller   `json:"caller"`
	Boards []string `json:"boards,omitempty"` // names or ids; none: all
	Known  int64    `json:"known,omitempty"`
	Page   Page     `json:"page,omitzero"`
}

// PinBoards answers it.
type PinBoards struct {
	List[PinBoard]
	Unchanged bool `json:"unchanged,omitempty"`
}

// PinBoard is a board with the cloud's copy of its pins.
type PinBoard struct {
	ID         s4t.BoardID       `json:"id"`
	Name       string            `json:"name"`
	Type       string            `json:"type,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Location   *s4t.Location     `json:"location,omitempty"`
	Status     s4t.BoardStatus   `json:"status"`
	Epoch      int64             `json:"epoch"`
	ReportedAt *time.Time        `json:"reported_at"` // of the copy; nil: the board never said
	Pins       []s4t.Pin         `json:"pins"`        // without values
}

// PinWatch asks for samples of a board's pins to be sent to Sink. It ends by
// itself; who watches asks again well before, and after the board was away,
// with After.
type PinWatch struct {
	Caller Caller            `json:"caller"`
	Board  string            `json:"board"`
	Pins   []string          `json:"pins,omitempty"` // none: all of the board
	After  map[string]uint64 `json:"after,omitempty"`
	Sink   Sink              `json:"sink"`
	End    bool              `json:"end,omitempty"` // nobody at Sink watches any of the board's pins any more
}

// PinWatchTerm is how long a watch lasts; it is asked for again after a third of it.
const PinWatchTerm = 60 * time.Second

// Sink is where samples go: a topic with its server name, and at a WAMP agent
// the board that watches.
type Sink struct {
	Topic   string        `json:"topic"`
	Watcher s4t.BoardID   `json:"watcher,omitempty"`
	For     s4t.ProjectID `json:"for,omitempty"` // whose watch it is of those at the topic; told with the samples
}

// BoardPins is what a WAMP agent asks a board.
type BoardPins struct {
	Board s4t.BoardID `json:"board"`
	Ask   PinAsk      `json:"ask"`
}

// BoardPinsWatch has a WAMP agent send samples to a sink. What a sink watches of a board is replaced by the newest.
type BoardPinsWatch struct {
	Board s4t.BoardID       `json:"board"`
	Pins  []string          `json:"pins,omitempty"` // none: all
	After map[string]uint64 `json:"after,omitempty"`
	Sink  Sink              `json:"sink"`
	End   bool              `json:"end,omitempty"`

	Project s4t.ProjectID `json:"project,omitempty"` // for whom it is; empty: the board's own. With End and no Sink all of its sinks end
	Until   time.Time     `json:"until,omitzero"`    // by a lease: it ends then
}

// PinSamples are samples of one board, in order. Nobody on the way looks into
// them.
type PinSamples struct {
	Board   s4t.BoardID     `json:"board"`
	Watcher s4t.BoardID     `json:"watcher,omitempty"` // at a WAMP agent: whom they are for
	For     s4t.ProjectID   `json:"for,omitempty"`     // of the sink
	Samples json.RawMessage `json:"samples"`           // []s4t.Sample, at most MaxSamples
}

// PinReport is what a board says of its pins by itself: at the begin of a
// session, and when something changed.
type PinReport struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
	Pins  *[]s4t.Pin  `json:"pins,omitempty"` // all, without values; nil: as before
	Ended []PinEnded  `json:"ended,omitempty"`
}

// PinEnded says that an actuation or a claim is over. It is told until the cloud
// has heard it.
type PinEnded struct {
	Pin       string          `json:"pin"`
	Operation s4t.OperationID `json:"operation,omitempty"` // of the write with For
	Fence     int64           `json:"fence,omitempty"`     // of the claim
	Outcome   string          `json:"outcome"`             // PinOver ...
	Holder    string          `json:"holder"`              // whose it was, for people
	By        string          `json:"by,omitempty"`        // of PinReaped: who took the pin
	Detail    string          `json:"detail,omitempty"`    // of PinFailed
}

// Outcomes of a PinEnded.
const (
	PinOver     = "over"     // its time was over
	PinReaped   = "reaped"   // a higher priority took the pin
	PinReleased = "released" // by its holder, or by a newer write of the same holder
	PinFailed   = "failed"   // the pin went away, or could not be written
)

// PinRemote is what a board asks of the pins of its project's other boards. One
// of All, Ask, Watch is set.
type PinRemote struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
	All   *PinAll     `json:"all,omitempty"`
	Ask   *PinRequest `json:"ask,omitempty"`
	Watch *PinWatch   `json:"watch,omitempty"` // its Sink is set by the WAMP agent
}

// PinRemoteAnswer answers it.
type PinRemoteAnswer struct {
	All    *PinBoards `json:"all,omitempty"`
	Answer *PinAnswer `json:"answer,omitempty"`
}

// PinNews says that boards or their pins may have changed, up to an event.
type PinNews struct {
	EventID int64 `json:"event_id"`
}
