package apiclient

import (
	"context"
	"net/url"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// CreateBoard answers with the code and the join string, once.
func (c *Client) CreateBoard(ctx context.Context, req BoardCreate) (b s4t.Board, err error) {
	return b, c.do(ctx, "create board "+req.Name, "POST", path("boards"), req, &b)
}

// Boards lists those with all the labels and the status; empty: all.
func (c *Client) Boards(ctx context.Context, labels map[string]string, status s4t.BoardStatus) ([]s4t.Board, error) {
	return c.BoardList(labels, status, "").All(ctx)
}

// BoardList is the list behind [Client.Boards], of boards that the words of query find
// ([s4t.ParseBoardQuery]) where there are some.
func (c *Client) BoardList(labels map[string]string, status s4t.BoardStatus, query string) List[s4t.Board] {
	return c.FleetBoardList("", labels, status, query)
}

// FleetBoardList is that of the boards of a fleet.
func (c *Client) FleetBoardList(fleet string, labels map[string]string, status s4t.BoardStatus, query string) List[s4t.Board] {
	q := url.Values{}
	if fleet != "" {
		q.Set("fleet", fleet)
	}
	return c.boardList(q, labels, status, query)
}

// LeasedBoardList is [Client.BoardList] of the boards that are leased to the project now.
func (c *Client) LeasedBoardList(labels map[string]string, status s4t.BoardStatus, query string) List[s4t.Board] {
	return c.boardList(url.Values{"leased": {"true"}}, labels, status, query)
}

func (c *Client) boardList(q url.Values, labels map[string]string, status s4t.BoardStatus, query string) List[s4t.Board] {
	for k, v := range labels {
		q.Add("label", k+"="+v)
	}
	if status != "" {
		q.Set("status", string(status))
	}
	if query != "" {
		q.Set("q", query)
	}
	p := path("boards")
	if len(q) > 0 {
		p += "?" + q.Encode()
	}
	return List[s4t.Board]{c, "list boards", p}
}

// Board by name or id.
func (c *Client) Board(ctx context.Context, ref string) (b s4t.Board, err error) {
	return b, c.do(ctx, "show board "+ref, "GET", path("boards", ref), nil, &b)
}

// UpdateBoard changes what is not nil.
func (c *Client) UpdateBoard(ctx context.Context, ref string, req BoardUpdate) (b s4t.Board, err error) {
	return b, c.do(ctx, "update board "+ref, "PATCH", path("boards", ref), req, &b)
}

// DeleteBoard deletes a board with its ports and services.
func (c *Client) DeleteBoard(ctx context.Context, ref string) error {
	return c.do(ctx, "delete board "+ref, "DELETE", path("boards", ref), nil, nil)
}

// WaitBoard returns the board once it has that status. It is told by events,
// and asks again only when its stream of events had to be opened anew.
func (c *Client) WaitBoard(ctx context.Context, ref string, status s4t.BoardStatus) (s4t.Board, error) {
	what := "wait for board " + ref
	for {
		// Listen first, then look: what happens in between is an event.
		events, err := c.Events(ctx, EventsOptions{Once: true})
		if err != nil {
			return s4t.Board{}, err
		}
		board, err := c.Board(ctx, ref)
		if err != nil || board.Status == status {
			events.Close()
			return board, err
		}
		for e := range events.All() {
			if e.Object != string(board.ID) && e.Kind != EventReset {
				continue
			}
			if board, err = c.Board(ctx, string(board.ID)); err != nil || board.Status == status {
				events.Close()
				return board, err
			}
		}
		events.Close()
		if ctx.Err() != nil {
			return board, s4t.Errorf(s4t.Timeout, what, "look at `s4t doctor "+ref+"`, or give --timeout", "it is %s, not %s", board.Status, status)
		}
		pause(ctx, time.Second) // the cloud ended the stream: it restarts
	}
}

// DoctorBoard says what stands between a board and what it should do.
func (c *Client) DoctorBoard(ctx context.Context, ref string) (r wire.DoctorReport, err error) {
	return r, c.do(ctx, "examine board "+ref, "GET", path("boards", ref, "doctor"), nil, &r)
}

// BoardProfile returns what the owner of a board gives.
func (c *Client) BoardProfile(ctx context.Context, ref string) (p s4t.BoardProfile, err error) {
	return p, c.do(ctx, "show the profile of board "+ref, "GET", path("boards", ref, "profile"), nil, &p)
}

// BoardStatus returns how a board is, and was.
func (c *Client) BoardStatus(ctx context.Context, ref string) (h s4t.BoardHealth, err error) {
	return h, c.do(ctx, "show how board "+ref+" is", "GET", path("boards", ref, "status"), nil, &h)
}

// OutageList returns the outages of a board, newest first.
func (c *Client) OutageList(ref string) List[s4t.Outage] {
	return List[s4t.Outage]{c, "list the outages of board " + ref, path("boards", ref, "outages")}
}

// OpenStream asks for a ticket to a TCP service of a board.
func (c *Client) OpenStream(ctx context.Context, ref string, req StreamOpen) (g wire.StreamGrant, err error) {
	return g, c.do(ctx, "connect to board "+ref, "POST", path("boards", ref, "streams"), req, &g)
}
