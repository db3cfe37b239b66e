package s4t

import "time"

// Bounds of fleet tokens.
const (
	MaxFleetTokens       = 20 // of one fleet
	DefaultFleetJoins    = 100
	MaxFleetTokenLife    = 30 * 24 * time.Hour
	DefaultFleetTokenFor = 24 * time.Hour
)

// FleetToken lets boards join that nobody has created: each becomes a board of the project, and a
// member of the fleet by name.
type FleetToken struct {
	ID        TokenID   `json:"id"`
	Fleet     FleetID   `json:"fleet"`
	FleetName string    `json:"fleet_name"`
	Project   ProjectID `json:"project"`
	User      string    `json:"user"`  // who made it
	Count     int       `json:"count"` // boards that may join with it
	Used      int       `json:"used"`  // that have; one that was deleted stays counted
	ExpiresAt time.Time `json:"expires_at"`
	CreatedAt time.Time `json:"created_at"`

	Join string `json:"join,omitempty"` // its join string, for who made it, once
}
