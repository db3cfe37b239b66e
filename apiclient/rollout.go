package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// RolloutCreate is the body of POST /v1/fleets/{fleet}/rollouts.
type RolloutCreate struct {
	Plugin    string       `json:"plugin" minLength:"1" maxLength:"63" doc:"Name or id of a plugin of the project"`
	Version   string       `json:"version,omitempty" maxLength:"63" doc:"The newest by default"`
	Waves     string       `json:"waves,omitempty" maxLength:"255" doc:"How many boards have had their turn after each wave, as 1,10%,100%, which is the default"`
	MaxFailed string       `json:"max_failed,omitempty" maxLength:"8" doc:"It stops when more fail: 3, or 5% of the boards of the waves that have begun, which is the default"`
	Pause     *s4t.Seconds `json:"pause_seconds,omitempty" minimum:"0" maximum:"86400" doc:"Between two waves; a minute by default"`
}

// RolloutAbort is the body of POST /v1/rollouts/{rollout}/abort.
type RolloutAbort struct {
	Back bool `json:"back,omitempty" doc:"Boards that were changed get again the version that they had; where they had none the plugin is removed"`
}

// CreateRollout begins to bring a version of a plugin to the boards of a fleet.
func (c *Client) CreateRollout(ctx context.Context, fleet string, req RolloutCreate) (r s4t.Rollout, err error) {
	return r, c.do(ctx, "roll out plugin "+req.Plugin+" to fleet "+fleet, "POST", path("fleets", fleet, "rollouts"), req, &r)
}

// RolloutList is the list of rollouts, oldest first, without their boards.
func (c *Client) RolloutList() List[s4t.Rollout] {
	return List[s4t.Rollout]{c, "list rollouts", path("rollouts")}
}

// Rollout by id, with its boards.
func (c *Client) Rollout(ctx context.Context, id string) (r s4t.Rollout, err error) {
	return r, c.do(ctx, "show rollout "+id, "GET", path("rollouts", id), nil, &r)
}

// ResumeRollout goes on with a rollout that stopped: what failed is tried again. One that is paused
// goes on at once.
func (c *Client) ResumeRollout(ctx context.Context, id string) (r s4t.Rollout, err error) {
	return r, c.do(ctx, "resume rollout "+id, "POST", path("rollouts", id, "resume"), nil, &r)
}

// AbortRollout ends a rollout; back: its boards get again what they had.
func (c *Client) AbortRollout(ctx context.Context, id string, back bool) (r s4t.Rollout, err error) {
	return r, c.do(ctx, "abort rollout "+id, "POST", path("rollouts", id, "abort"), RolloutAbort{back}, &r)
}
