package wire

import "github.com/stack4things/s4t"

// Methods of the conductor: rollouts of plugins.
const (
	MethodRolloutCreate = "rollout.create" // RolloutCreate -> s4t.Rollout
	MethodRolloutList   = "rollout.list"   // ListRequest -> List[s4t.Rollout], without their boards
	MethodRolloutGet    = "rollout.get"    // RefRequest -> s4t.Rollout
	MethodRolloutResume = "rollout.resume" // RefRequest -> s4t.Rollout
	MethodRolloutAbort  = "rollout.abort"  // RolloutAbort -> s4t.Rollout
)

// RolloutCreate begins to bring a version of a plugin to the boards of a fleet.
type RolloutCreate struct {
	Caller    Caller       `json:"caller"`
	Fleet     string       `json:"fleet"`                   // name or id
	Plugin    string       `json:"plugin"`                  // name or id
	Version   string       `json:"version,omitempty"`       // empty: the newest
	Waves     string       `json:"waves,omitempty"`         // empty: s4t.DefaultWaves
	MaxFailed string       `json:"max_failed,omitempty"`    // empty: s4t.DefaultFailing
	Pause     *s4t.Seconds `json:"pause_seconds,omitempty"` // nil: s4t.DefaultPause
}

// RolloutAbort ends a rollout.
type RolloutAbort struct {
	Caller Caller `json:"caller"`
	Ref    string `json:"ref"`            // id
	Back   bool   `json:"back,omitempty"` // boards that were changed get again what they had
}
