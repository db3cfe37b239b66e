package wire

import "github.com/stack4things/s4t"

// Methods of the conductor: fleets.
const (
	MethodFleetCreate = "fleet.create" // FleetCreate -> s4t.Fleet
	MethodFleetList   = "fleet.list"   // ListRequest -> List[s4t.Fleet]
	MethodFleetGet    = "fleet.get"    // RefRequest -> s4t.Fleet
	MethodFleetUpdate = "fleet.update" // FleetUpdate -> s4t.Fleet
	MethodFleetDelete = "fleet.delete" // RefRequest -> Empty

	MethodFleetTokenCreate = "fleet.token_create" // FleetTokenCreate -> s4t.FleetToken, with the join string
	MethodFleetTokenList   = "fleet.token_list"   // FleetTokenList -> List[s4t.FleetToken]
	MethodFleetTokenRevoke = "fleet.token_revoke" // FleetTokenRevoke -> Empty
)

// FleetCreate makes a fleet.
type FleetCreate struct {
	Caller Caller            `json:"caller"`
	Name   string            `json:"name"`
	Boards []string          `json:"boards,omitempty"` // names or ids
	Labels map[string]string `json:"labels,omitempty"`
	Near   *s4t.Location     `json:"near,omitempty"`
	Within float64           `json:"within_km,omitempty"` // 0: s4t.DefaultWithin
}

// FleetUpdate changes what is not nil.
type FleetUpdate struct {
	Caller   Caller             `json:"caller"`
	Ref      string             `json:"ref"`
	Name     *string            `json:"name,omitempty"`
	Boards   *[]string          `json:"boards,omitempty"` // who is named, all of them
	Labels   *map[string]string `json:"labels,omitempty"` // the new set, whole
	Near     *s4t.Location      `json:"near,omitempty"`
	Within   *float64           `json:"within_km,omitempty"`
	Anywhere bool               `json:"anywhere,omitempty"` // the place does not count any more
}

// FleetTokenCreate makes a code with which many boards join a fleet.
type FleetTokenCreate struct {
	Caller  Caller      `json:"caller"`
	Fleet   string      `json:"fleet"`                     // name or id
	Count   int         `json:"count,omitempty"`           // 0: s4t.DefaultFleetJoins
	Expires s4t.Seconds `json:"expires_seconds,omitempty"` // from now; 0: s4t.DefaultFleetTokenFor
}

// FleetTokenList lists the tokens of a fleet.
type FleetTokenList struct {
	Caller Caller `json:"caller"`
	Fleet  string `json:"fleet"`
	Page   Page   `json:"page"`
}

// FleetTokenRevoke ends a token; boards that joined with it stay.
type FleetTokenRevoke struct {
	Caller Caller      `json:"caller"`
	Fleet  string      `json:"fleet"`
	Token  s4t.TokenID `json:"token"`
}
