package s4t

import "time"

// Transfer is a board that its owner gives to another project, which claims it with the code.
type Transfer struct {
	Board     BoardID   `json:"board"`
	Name      string    `json:"name"`           // of the board
	To        ProjectID `json:"to"`             // the project that may claim it
	Code      string    `json:"code,omitempty"` // only in the answer that made it
	ExpiresAt time.Time `json:"expires_at"`     // of the code
	Leases    int       `json:"leases"`         // of the board that end with the claim
}
