package s4t

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of rollouts, and what one is where nobody says otherwise.
const (
	MaxWaves       = 20             // of one rollout
	MaxWavePause   = 24 * time.Hour // between two waves
	DefaultPause   = time.Minute
	DefaultWaves   = "1,10%,100%"
	DefaultFailing = "5%"
	// RolloutPatience is how long one board may take, from when it is told until the version
	// runs there: fetching the bundle over a slow line is part of it.
	RolloutPatience = 10 * time.Minute
	RolloutHistory  = 90 * 24 * time.Hour // how long one that is over is kept
	MaxRollouts     = 100                 // kept of one project that are over; older ones are forgotten
)

// RolloutID names a rollout for ever.
type RolloutID string

// Rollout brings one version of a plugin to the boards that a fleet had when it began, wave after
// wave, and stops by itself when too many of them fail.
type Rollout struct {
	ID         RolloutID `json:"id"`
	Fleet      FleetID   `json:"fleet"`
	FleetName  string    `json:"fleet_name"` // when it began
	Project    ProjectID `json:"project"`
	Plugin     PluginID  `json:"plugin"`
	PluginName string    `json:"plugin_name"`
	Version    string    `json:"version"`
	User       string    `json:"user"` // who began it

	MaxFailed string  `json:"max_failed"`    // as given: "5%", or "3"
	Pause     Seconds `json:"pause_seconds"` // between two waves

	Status RolloutStatus  `json:"status"`
	Reason string         `json:"reason,omitempty"` // why it stopped
	Waves  []RolloutWave  `json:"waves"`
	Boards []RolloutBoard `json:"boards,omitempty"` // by wave and name; lists leave them out

	GoesOn    *time.Time `json:"goes_on_at,omitempty"` // of one that is paused
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// RolloutStatus is where a rollout stands.
//
//	running <--> paused          a wave is over, and the next one comes by itself
//	running ---> stopped         too many failed; resume or abort it
//	running ---> succeeded
//	running, paused, stopped ---> aborted, back
type RolloutStatus string

// The statuses of a rollout.
const (
	RolloutRunning   RolloutStatus = "running"
	RolloutPaused    RolloutStatus = "paused"
	RolloutStopped   RolloutStatus = "stopped"
	RolloutSucceeded RolloutStatus = "succeeded"
	RolloutAborted   RolloutStatus = "aborted" // nothing more is started
	RolloutBack      RolloutStatus = "back"    // aborted, and its boards have again what they had
)

// Over reports whether nothing more comes of it by itself, nor by a resume.
func (s RolloutStatus) Over() bool {
	return s == RolloutSucceeded || s == RolloutAborted || s == RolloutBack
}

// RolloutWave is the boards that are changed together.
type RolloutWave struct {
	Number  int        `json:"number"` // from 1
	Size    string     `json:"size"`   // as given: "1", "10%"
	Boards  int        `json:"boards"`
	Done    int        `json:"done"`
	Failed  int        `json:"failed"`
	Status  WaveStatus `json:"status"`
	BeganAt *time.Time `json:"began_at,omitempty"`
	EndedAt *time.Time `json:"ended_at,omitempty"`
}

// WaveStatus is where a wave stands.
type WaveStatus string

// The statuses of a wave.
const (
	WaveWaiting WaveStatus = "waiting"
	WaveRunning WaveStatus = "running"
	WavePause   WaveStatus = "pause"  // it is over, and the pause after it is not
	WaveDone    WaveStatus = "done"   // with at most so many failures as are allowed
	WaveFailed  WaveStatus = "failed" // the rollout stopped in it
)

// RolloutBoard is a board of a rollout.
type RolloutBoard struct {
	ID     BoardID     `json:"id"`
	Name   string      `json:"name"`
	Wave   int         `json:"wave"`
	Status RolloutStep `json:"status"`
	Before string      `json:"before,omitempty"` // the version that it had; empty: none
	Error  string      `json:"error,omitempty"`
}

// RolloutStep is where a board of a rollout stands.
type RolloutStep string

// The statuses of a board of a rollout.
const (
	StepWaiting RolloutStep = "waiting" // for its wave, or away
	StepRunning RolloutStep = "running" // it was told
	StepDone    RolloutStep = "done"    // the version runs there
	StepFailed  RolloutStep = "failed"
	StepBack    RolloutStep = "back"    // it is to have again what it had
	StepSkipped RolloutStep = "skipped" // it was not changed
)

// Share is so many, or so many of a hundred.
type Share struct {
	N       int
	Percent bool
}

// ParseShare reads "3" or "5%".
func ParseShare(op, text string) (Share, error) {
	digits, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || percent && n > 100 || n > MaxFleetBoards || strings.HasPrefix(digits, "+") {
		return Share{}, Errorf(Invalid, op, "use a number of boards, or 0% to 100%", "%q is neither", Line(text, MaxName))
	}
	return Share{n, percent}, nil
}

// String is it as it is read.
func (s Share) String() string {
	if s.Percent {
		return fmt.Sprintf("%d%%", s.N)
	}
	return strconv.Itoa(s.N)
}

// AtMost is how many of n it is, rounded down.
func (s Share) AtMost(n int) int {
	if s.Percent {
		return n * s.N / 100
	}
	return s.N
}

// ParseWaves reads "1,10%,100%": how many boards have had their turn after each wave.
func ParseWaves(op, text string) ([]Share, error) {
	words := strings.Split(text, ",")
	if len(words) > MaxWaves {
		return nil, Errorf(Invalid, op, "use fewer", "%d waves are more than %d", len(words), MaxWaves)
	}
	var waves []Share
	for _, w := range words {
		s, err := ParseShare(op, w)
		if err != nil {
			return nil, err
		}
		if s.N == 0 {
			return nil, Errorf(Invalid, op, "use sizes like 1,10%,100%", "a wave of %v has no boards", s)
		}
		waves = append(waves, s)
	}
	return waves, nil
}

// WavesOf are the waves of a fleet of n boards by their sizes. A wave that would add no board is left
// out; what the last one leaves is one more, of 100%.
func WavesOf(sizes []Share, n int) []RolloutWave {
	var waves []RolloutWave
	had := 0
	for _, s := range append(sizes[:len(sizes):len(sizes)], Share{100, true}) {
		upTo := s.N
		if s.Percent {
			upTo = (n*s.N + 99) / 100
		}
		if upTo = min(upTo, n); upTo > had {
			waves = append(waves, RolloutWave{Number: len(waves) + 1, Size: s.String(), Boards: upTo - had, Status: WaveWaiting})
			had = upTo
		}
	}
	return waves
}
