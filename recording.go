package s4t

import "time"

// Bounds of recordings of terminals.
const (
	MaxRecording      = 16 << 20            // bytes of one; its terminal ends there
	MaxRecordingPart  = 32 << 10            // bytes that a board sends at a time
	MinRecordingPart  = 16                  // and at least: a line has more
	MaxRecordings     = 500_000_000         // bytes of a project's; the oldest that have ended go
	RecordingOverhead = 4 << 10             // bytes that each counts for besides
	RecordingLifetime = 90 * 24 * time.Hour // of one, from its begin
	RecordingIdle     = 24 * time.Hour      // one that nothing was added to for so long has ended
)

// Recording is what a shell of a board wrote, with when it did: asciicast v2. What was typed is
// in it only where the shell showed it.
type Recording struct {
	ID        RecordingID `json:"id"`
	Project   ProjectID   `json:"project"`
	BoardID   BoardID     `json:"board_id"`
	Board     string      `json:"board"`            // its name then
	ShellOf   string      `json:"shell_of"`         // a user of the board
	User      string      `json:"user"`             // who opened the terminal
	Origin    string      `json:"origin,omitempty"` // of the page that did; empty: it was no page
	StartedAt time.Time   `json:"started_at"`
	EndedAt   *time.Time  `json:"ended_at"` // nil: it goes on
	Bytes     int64       `json:"bytes"`
}
