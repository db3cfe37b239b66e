package wire

// Methods of the conductor: boards that get another owner, and where boards were.
const (
	MethodBoardTransfer = "board.transfer" // BoardTransfer -> s4t.Transfer (with Code)
	MethodBoardClaim    = "board.claim"    // BoardClaim -> s4t.Board
	MethodBoardPlaces   = "board.places"   // RefRequest -> List[s4t.Place], oldest first
)

// BoardTransfer lets another project claim a board, or no project any more.
type BoardTransfer struct {
	Caller Caller `json:"caller"`
	Ref    string `json:"ref"`
	To     string `json:"to,omitempty"`     // name or id of the project
	Cancel bool   `json:"cancel,omitempty"` // the code that was made is worth nothing any more
}

// BoardClaim takes over a board.
type BoardClaim struct {
	Caller Caller `json:"caller"`
	Code   string `json:"code"`
	Name   string `json:"name,omitempty"` // in the project; the one it had by default
}
