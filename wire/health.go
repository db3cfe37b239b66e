package wire

import (
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: how boards are.
const (
	MethodBoardHealth  = "session.health" // HealthReport -> HealthHeard, for the WAMP agent
	MethodHealthGet    = "health.get"     // RefRequest -> s4t.BoardHealth
	MethodHealthAll    = "health.all"     // HealthAsk -> HealthMetrics
	MethodOutageList   = "health.outages" // OutageList -> List[s4t.Outage], newest first
	MaxHealthReport    = 8 << 10          // bytes of JSON of a report
	MaxMetricsBoards   = 1000             // boards of one answer with metrics
	MaxOutagesOfStatus = 20               // in s4t.BoardHealth
)

// HealthReport is how a board is: it says so at the begin of its first session, each
// [s4t.HealthInterval] where something has changed, and for each point of the history unless the
// cloud answers that it need not.
type HealthReport struct {
	Board  s4t.BoardID `json:"board"`
	Epoch  int64       `json:"epoch"`
	Health s4t.Health  `json:"health"`
}

// HealthHeard answers a report.
type HealthHeard struct {
	Hold int `json:"hold_seconds,omitempty"` // the cloud takes the board to be so for so long in this session; 0, of an older cloud too: until the next point of the history
}

// OutageList asks for the outages of a board.
type OutageList struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"` // name or id
	Page   Page   `json:"page,omitzero"`
}

// HealthAsk asks how boards are, in figures: by name, those with all labels.
type HealthAsk struct {
	Caller  Caller            `json:"caller"`
	Project string            `json:"project,omitempty"` // name or id, for an admin; empty: every one that the caller may see
	Labels  map[string]string `json:"labels,omitempty"`
	Page    Page              `json:"page,omitzero"`
}

// HealthMetrics is a page of it.
type HealthMetrics struct {
	Boards []BoardMetrics `json:"boards"`
	Next   string         `json:"next,omitempty"` // ask After it for the next page; empty: this was the last
}

// BoardMetrics are the figures of a board.
type BoardMetrics struct {
	ID      s4t.BoardID     `json:"id"`
	Name    string          `json:"name"`
	Project s4t.ProjectID   `json:"project"`
	Status  s4t.BoardStatus `json:"status"`
	At      time.Time       `json:"at,omitzero"`
	Health  *s4t.Health     `json:"health,omitempty"` // nil: it never said
}
