package wire

import "github.com/stack4things/s4t"

// Methods of the conductor: recordings of terminals.
const (
	MethodBoardRecording  = "session.recording" // RecordingPart -> Empty, for the WAMP agent
	MethodRecordingList   = "recording.list"    // ListRequest -> List[s4t.Recording], oldest first
	MethodRecordingRead   = "recording.read"    // RecordingRead -> RecordingText
	MethodRecordingDelete = "recording.delete"  // RefRequest -> Empty
)

// RecordingPart is more of a recording: whole lines of asciicast v2. One that is there already
// is taken again, and changes nothing.
type RecordingPart struct {
	Board  s4t.BoardID     `json:"board"`
	Epoch  int64           `json:"epoch"`
	ID     s4t.RecordingID `json:"id"`
	Offset int64           `json:"offset"` // bytes before it
	Data   string          `json:"data,omitempty"`
	Ended  bool            `json:"ended,omitempty"` // it is the last
}

// RecordingRead asks for some of a recording.
type RecordingRead struct {
	Caller Caller `json:"caller"`
	ID     string `json:"id"`
	Offset int64  `json:"offset,omitempty"` // 0, or the Next of the answer before
}

// RecordingText answers it.
type RecordingText struct {
	Data string `json:"data"`
	Next int64  `json:"next,omitempty"` // where the rest begins; 0: there is no more
}
