package s4t

import (
	"encoding/json"
	"time"
)

// Operation records a request that changes desired state, and how it went.
type Operation struct {
	ID        OperationID     `json:"id"`
	Kind      string          `json:"kind"` // "bridge.create", "service.expose", ...
	Project   ProjectID       `json:"project"`
	Object    string          `json:"object,omitempty"` // id of what it changes
	Status    OperationStatus `json:"status"`
	Steps     []Step          `json:"steps"`
	Error     string          `json:"error"`
	ErrorKind Kind            `json:"error_kind,omitempty"`
	CreatedAt time.Time       `json:"created_at"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`

	Lanes []Lane      `json:"lanes,omitempty"` // of its boards
	Run   *CommandRun `json:"run,omitempty"`   // of a command
}

// Lane is when a board took those steps of Fig. 3 that each board takes by itself, 5 to 8, in the
// order of their numbers.
type Lane struct {
	BoardID BoardID    `json:"board_id"`
	Board   string     `json:"board"` // name
	Steps   []LaneStep `json:"steps"`
	Problem string     `json:"problem,omitempty"` // what keeps it from the next one
}

// LaneStep is one of them.
type LaneStep struct {
	Number int       `json:"number"`
	At     time.Time `json:"at"` // the conductor's clock
}

// MaxLanes bounds the boards of an operation whose steps are told one by one.
const MaxLanes = 64

// CommandRun is what an operation of the kind "command.run" has besides. Its steps
// are the states that it went through.
type CommandRun struct {
	Board     string          `json:"board"` // name
	BoardID   BoardID         `json:"board_id"`
	Command   string          `json:"command"`
	Params    json.RawMessage `json:"params,omitempty"`
	Key       string          `json:"key,omitempty"`        // idempotency key
	Result    json.RawMessage `json:"result,omitempty"`     // of one that succeeded
	ExpiresAt *time.Time      `json:"expires_at,omitempty"` // of one that is queued: it begins before it, or never
}

// OperationStatus of an operation.
type OperationStatus string

// The statuses of an operation. A command is not running but accepted, queued or
// started:
//
//	accepted --> started --> succeeded | failed | cancelled
//	queued --> accepted | expired | cancelled
const (
	OperationRunning   OperationStatus = "running"
	OperationSucceeded OperationStatus = "succeeded"
	OperationFailed    OperationStatus = "failed"

	OperationAccepted  OperationStatus = "accepted"  // its board has it
	OperationQueued    OperationStatus = "queued"    // it waits for its board
	OperationStarted   OperationStatus = "started"   // it runs
	OperationExpired   OperationStatus = "expired"   // it did not begin in time, and never will
	OperationCancelled OperationStatus = "cancelled" // somebody cancelled it
)

// Ended reports whether a status is the last one.
func (s OperationStatus) Ended() bool {
	switch s {
	case OperationSucceeded, OperationFailed, OperationExpired, OperationCancelled:
		return true
	}
	return false
}

// Step is one numbered step of the paper's Fig. 3. A step that several boards
// take is done when the last of them has taken it.
type Step struct {
	Number int       `json:"number"`
	Name   string    `json:"name"`
	At     time.Time `json:"at"`      // the conductor's clock
	TookMS float64   `json:"took_ms"` // since the step before
}

// StepName names the steps of Fig. 3 by number, 1 to 10.
var StepName = map[int]string{
	1:  "the user asks",
	2:  "the API puts the request on the queue",
	3:  "the conductor checks, places and reserves",
	4:  "the conductor wakes the agents over the queue",
	5:  "the WAMP agent tells the board",
	6:  "lightning-rod receives its desired state",
	7:  "lightning-rod opens the rtunnel and its device",
	8:  "the tunnel agent attaches its half and reports",
	9:  "the conductor sees both halves up, the API answers",
	10: "the user is told",
}

// Event is something that happened, as `s4t event watch` shows it.
type Event struct {
	ID      int64     `json:"id"` // grows; a stream can be resumed after one
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // "board.online", "port.up", "service.up", "operation.succeeded", ...
	Project ProjectID `json:"project"`
	Object  string    `json:"object"`           // id of what it happened to
	Name    string    `json:"name,omitempty"`   // its name
	Board   string    `json:"board,omitempty"`  // name of the board concerned
	Detail  string    `json:"detail,omitempty"` // one line for people
	Data    any       `json:"data,omitempty"`   // the object as it is now, where it is cheap to say
}

// AuditRecord says who did what to which object.
type AuditRecord struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	User    string    `json:"user"` // name; "board:NAME" for a board; empty where nobody was logged in
	Project ProjectID `json:"project"`
	Action  string    `json:"action"` // "bridge.create", "board.join", "stream.open", "login"
	Object  string    `json:"object,omitempty"`
	Name    string    `json:"name,omitempty"`
	Board   BoardID   `json:"board,omitempty"`
	Outcome string    `json:"outcome"` // "ok", or the kind of the error
	Detail  string    `json:"detail,omitempty"`
}
