package s4t

import "time"

// Bounds of fleets.
const (
	MaxFleetBoards = 5000 // members of one
	DefaultWithin  = 10   // kilometres, where a fleet by place does not say
	MaxWithin      = 20100
)

// Fleet is a set of boards of a project: those that are named, and those that
// have its labels and are at its place. Who is a member is found when it is asked
// for, so that boards come and go by themselves.
type Fleet struct {
	ID      FleetID   `json:"id"`
	Name    string    `json:"name"`
	Project ProjectID `json:"project"`

	Boards []FleetBoard `json:"boards"` // its members now, by name

	FleetRule
	CreatedAt time.Time `json:"created_at"`
}

// FleetRule says which boards are members. With Labels and Near both have to be
// met; without either nobody is a member who is not named.
type FleetRule struct {
	Named  []BoardID         `json:"named,omitempty"`  // members whatever their labels and place
	Labels map[string]string `json:"labels,omitempty"` // boards with all of them
	Near   *Location         `json:"near,omitempty"`   // boards at most Within from there; its altitude does not count
	Within float64           `json:"within_km,omitempty"`
}

// FleetBoard is a member of a fleet.
type FleetBoard struct {
	ID   BoardID `json:"id"`
	Name string  `json:"name"`
}

// Matches reports whether a board with these labels, at this place, is a member
// without being named.
func (r FleetRule) Matches(labels map[string]string, at *Location) bool {
	if len(r.Labels) == 0 && r.Near == nil {
		return false
	}
	for k, v := range r.Labels {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return r.Near == nil || at != nil && r.Near.Kilometres(*at) <= r.Within
}
