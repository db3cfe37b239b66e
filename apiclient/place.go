package apiclient

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
)

// AreaSearch is the body of POST /v1/search/boards.
type AreaSearch struct {
	Area   map[string]any    `json:"area,omitempty" doc:"GeoJSON: a Polygon or MultiPolygon, or a Feature with one"`
	Labels map[string]string `json:"labels,omitempty" doc:"Boards with all of them"`
	Near   *s4t.Location     `json:"near,omitempty" doc:"Boards at most within_km from there, the nearest first"`
	Within float64           `json:"within_km,omitempty" minimum:"0" maximum:"20100" doc:"Kilometres, for near; 10 by default"`
	Pin    string            `json:"pin,omitempty" maxLength:"189" doc:"Boards with a pin whose name or label is like that, as gpio/*/17"`
	From   *time.Time        `json:"free_from,omitempty" doc:"Boards that are free from then on"`
	For    s4t.Seconds       `json:"free_for_seconds,omitempty" minimum:"0" doc:"Free for so long; two hours by default"`
}

// searchArea is SearchBoards with an area.
func (c *Client) searchArea(ctx context.Context, s BoardSearch) (found []s4t.FoundBoard, err error) {
	const what = "search boards"
	req := AreaSearch{Labels: s.Labels, Near: s.Near, Within: s.Within, Pin: s.Pin, For: s4t.Seconds(s.For / time.Second)}
	if err := json.Unmarshal(s.Area, &req.Area); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, what, "give a GeoJSON Polygon or MultiPolygon", "the area is no JSON object: %w", err)
	}
	if !s.From.IsZero() {
		req.From = &s.From
	}
	return found, c.do(ctx, what, "POST", path("search", "boards"), req, &found)
}

// Places lists where a board was, oldest first.
func (c *Client) Places(ctx context.Context, board string) (l []s4t.Place, err error) {
	return l, c.do(ctx, "list the places of board "+board, "GET", path("boards", board, "places"), nil, &l)
}
