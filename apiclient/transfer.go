package apiclient

import (
	"context"

	"github.com/stack4things/s4t"
)

// BoardTransfer is the body of POST /v1/boards/{board}/transfer.
type BoardTransfer struct {
	To string `json:"to" minLength:"1" maxLength:"63" doc:"Name or id of the project that may claim it"`
}

// BoardClaim is the body of POST /v1/boards/claim.
type BoardClaim struct {
	Code string `json:"code" minLength:"1" maxLength:"255" doc:"That the board's owner was given"`
	Name string `json:"name,omitempty" maxLength:"63" doc:"In the project; the one it had by default"`
}

// TransferBoard lets another project claim a board; the answer has the code for it.
func (c *Client) TransferBoard(ctx context.Context, board, to string) (t s4t.Transfer, err error) {
	return t, c.do(ctx, "transfer board "+board, "POST", path("boards", board, "transfer"), BoardTransfer{To: to}, &t)
}

// KeepBoard takes that back.
func (c *Client) KeepBoard(ctx context.Context, board string) error {
	return c.do(ctx, "keep board "+board, "DELETE", path("boards", board, "transfer"), nil, nil)
}

// ClaimBoard takes over a board that its owner lets the project have.
func (c *Client) ClaimBoard(ctx context.Context, req BoardClaim) (b s4t.Board, err error) {
	return b, c.do(ctx, "claim a board", "POST", path("boards", "claim"), req, &b)
}
