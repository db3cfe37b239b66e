package wire

import (
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: commands, for the API. They are served on
// [TopicCommands].
const (
	MethodCommandRun    = "command.run"     // CommandRun -> s4t.Operation: it may have ended
	MethodCommandFleet  = "command.fleet"   // CommandFleet -> CommandResults
	MethodCommandList   = "command.list"    // CommandList -> List[s4t.Command]
	MethodCommandGet    = "command.get"     // CommandGet -> s4t.Command
	MethodCommandCancel = "command.cancel"  // RefRequest -> s4t.Operation
	MethodFeedFollow    = "feed.follow"     // FeedFollow -> Empty
	MethodBoardAsk      = "command.board"   // BoardQuestion -> CodeAnswer: plugins' logs
	MethodBoardProfile  = "command.profile" // RefRequest -> s4t.BoardProfile
)

// Methods of the conductor: code on boards, for the WAMP agent.
const (
	MethodBoardCode        = "session.code"         // CodeReport -> Empty
	MethodBoardRuns        = "session.runs"         // RunReport -> RunsHeard
	MethodBoardPluginToken = "session.plugin-token" // PluginTokenAsk -> PluginToken
)

// Methods on [TopicWAMPCommands], of a WAMP agent, and on [TopicAPIFeeds].
const (
	MethodCodeAsk   = "code.ask"   // BoardCodeAsk -> CodeAnswer
	MethodFeedLines = "feed.lines" // FeedLines -> Empty: to who follows. NotFound: nobody there does (any more)
)

// CommandRun has a board run a command. The answer comes when the run has ended,
// or after RunWait, whatever is first; Async: when the board has it, or, with Queue,
// when it is queued.
type CommandRun struct {
	Caller   Caller          `json:"caller"`
	Board    string          `json:"board"` // name or id
	Command  string          `json:"command"`
	Params   json.RawMessage `json:"params,omitempty"`   // an object
	Deadline time.Duration   `json:"deadline,omitempty"` // of the run; 0, or more than the command's timeout: that
	Queue    time.Duration   `json:"queue,omitempty"`    // a board that is away has this long to come; 0: Offline at once
	Key      string          `json:"key,omitempty"`      // idempotency: of the board's runs those of one caller with one key are one
	Async    bool            `json:"async,omitempty"`
	Feed     *Feed           `json:"feed,omitempty"` // what it says meanwhile goes there
}

// RunWait is how long a request waits for a run that does not end at once.
const RunWait = time.Second

// CommandFleet has all boards of a fleet, or those named, run a command.
type CommandFleet struct {
	CommandRun          // without Board
	Fleet      string   `json:"fleet,omitempty"`
	Boards     []string `json:"boards,omitempty"`
}

// CommandResults answers it: an operation for each board, in the order of their
// names. Where none could begin its status is failed, and it has no id.
type CommandResults struct {
	Items []s4t.Operation `json:"items"`
}

// CommandList asks for the commands of a board, of several, or of all. Of several
// those that do not exist are left out, and Next is the first that did not fit.
type CommandList struct {
	Caller Caller        `json:"caller"`
	Board  string        `json:"board,omitempty"`
	Boards []s4t.BoardID `json:"boards,omitempty"` // at most MaxPage
	Page   Page          `json:"page,omitzero"`
}

// CommandGet asks for one.
type CommandGet struct {
	Caller  Caller `json:"caller"`
	Board   string `json:"board"`
	Command string `json:"command"`
}

// Feed names lines that are sent while they come: what a run says, or a
// plugin's log. The name is its follower's, not to be guessed.
type Feed struct {
	Topic string `json:"topic"` // of TopicAPIFeeds, with the server name
	ID    string `json:"id"`    // s4t.NewID
}

// FeedTerm is how long a feed of a log lasts; it is asked for again after a third of it.
const FeedTerm = 60 * time.Second

// FeedFollow has the log of a plugin sent to a feed.
type FeedFollow struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"`
	Plugin string `json:"plugin"`
	After  uint64 `json:"after,omitempty"` // lines of a greater Seq
	Feed   Feed   `json:"feed"`
	End    bool   `json:"end,omitempty"`
}

// FeedLines are lines of a feed, in order. The board answers for their order, and
// sends the next when these are taken.
type FeedLines struct {
	Feed  Feed          `json:"feed"`
	Board s4t.BoardID   `json:"board"` // set by the WAMP agent
	Lines []s4t.LogLine `json:"lines"` // at most MaxFeedLines; those of a run have the Stream "output" and JSON as text
	End   bool          `json:"end,omitempty"`
}

// MaxFeedLines is how many lines go in one message, MaxFeedLine bytes of each at
// most.
const (
	MaxFeedLines = 256
	MaxFeedLine  = 2048
)

// BoardQuestion is a CodeAsk of a user: CodeLogs only.
type BoardQuestion struct {
	Caller Caller  `json:"caller"`
	Board  string  `json:"board"`
	Ask    CodeAsk `json:"ask"`
}

// What is asked of a board's code.
const (
	CodeRun     = "run"     // Run: CodeAnswer.Runs has it, when it has ended, or as it is after Wait
	CodeCancel  = "cancel"  // the run IDs[0]: as CodeRun
	CodeState   = "state"   // the runs IDs: CodeAnswer.Runs, Unknown
	CodePlugins = "plugins" // CodeAnswer.Plugins
	CodeLogs    = "logs"    // of Plugin, after After or since Since, Limit lines: CodeAnswer.Lines, More
	CodeFollow  = "follow"  // the log of Plugin goes to Feed until Term is over; End: not any more
)

// CodeAsk is one question to a board, or one order, about the code on it.
type CodeAsk struct {
	Do   string            `json:"do"`
	Run  *Run              `json:"run,omitempty"`
	Wait time.Duration     `json:"wait,omitempty"` // at most RunWait
	IDs  []s4t.OperationID `json:"ids,omitempty"`

	Plugin string        `json:"plugin,omitempty"`
	After  uint64        `json:"after,omitempty"`
	Since  time.Time     `json:"since,omitzero"`
	Limit  int           `json:"limit,omitempty"` // 1 to 1000
	Feed   *Feed         `json:"feed,omitempty"`
	Term   time.Duration `json:"term,omitempty"`
	End    bool          `json:"end,omitempty"`
}

// Run is a command to be run. A board runs an ID, and a Key, once: asked again it
// answers with what became of it.
type Run struct {
	ID      s4t.OperationID `json:"id"`
	Key     string          `json:"key"` // unique for its caller; the ID where the caller gave none
	Command string          `json:"command"`
	Project s4t.ProjectID   `json:"project"`
	By      string          `json:"by"` // who asked, for people
	Params  json.RawMessage `json:"params"`
	Timeout time.Duration   `json:"timeout"`
	Before  time.Time       `json:"before"` // it begins before it, by the cloud's clock, or never
	Feed    *Feed           `json:"feed,omitempty"`
}

// RunState is how a run is. One that has ended is told until the cloud has heard
// it.
type RunState struct {
	ID         s4t.OperationID     `json:"id"`
	Status     s4t.OperationStatus `json:"status"`      // accepted, started, succeeded, failed, expired, cancelled
	AcceptedAt time.Time           `json:"accepted_at"` // the cloud's clock, as the board knows it
	StartedAt  time.Time           `json:"started_at,omitzero"`
	EndedAt    time.Time           `json:"ended_at,omitzero"`
	Result     json.RawMessage     `json:"result,omitempty"`
	Error      string              `json:"error,omitempty"` // of failed: one line, at most MaxProblem bytes
	ErrorKind  s4t.Kind            `json:"error_kind,omitempty"`
}

// CodeAnswer answers a CodeAsk.
type CodeAnswer struct {
	Runs    []RunState                 `json:"runs,omitempty"`
	Unknown []s4t.OperationID          `json:"unknown,omitempty"` // CodeState: the board has never begun them, and will not
	Plugins map[string]s4t.PluginState `json:"plugins,omitempty"` // by the ID of the DesiredPlugin
	Lines   []s4t.LogLine              `json:"lines,omitempty"`
	More    bool                       `json:"more,omitempty"`
}

// BoardCodeAsk is what a WAMP agent asks a board.
type BoardCodeAsk struct {
	Board s4t.BoardID `json:"board"`
	Ask   CodeAsk     `json:"ask"`
}

// RunReport tells what became of runs: ended ones that the cloud has not confirmed.
// First only their IDs and Status are told, since most were answered before; of
// those that the cloud asks for, all.
type RunReport struct {
	Board s4t.BoardID `json:"board"`
	Epoch int64       `json:"epoch"`
	Runs  []RunState  `json:"runs"`           // at most 500, and s4t.MaxMessage/2 bytes
	Full  bool        `json:"full,omitempty"` // Runs have results
}

// RunsHeard answers it: Want are to be told in full. All others are heard.
type RunsHeard struct {
	Want []s4t.OperationID `json:"want,omitempty"`
}

// CodeReport is what a board says by itself of the code it can run: at the begin
// of a session, and when something changed.
type CodeReport struct {
	Board    s4t.BoardID       `json:"board"`
	Epoch    int64             `json:"epoch"`
	Runtimes map[string]string `json:"runtimes"` // exec, python, wasi: its version, or "no: " and why not
	Commands []s4t.Command     `json:"commands"` // by name; without Board
	Profile  s4t.BoardProfile  `json:"profile"`
}
