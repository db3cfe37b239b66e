package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// transferRoutes are boards that get another owner.
func (a *API) transferRoutes() {
	register(a, guarded, "POST /v1/boards/{board}/transfer", "board.transfer", "Let another project claim a board", "The code is in this answer and in no other, and good for seven days; one that was made before is worth nothing any more. Needs the role manager.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
			Body  apiclient.BoardTransfer
		}) (*answered[s4t.Transfer], error) {
			return get[s4t.Transfer](ctx, a, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: callerOf(ctx), Ref: in.Board, To: in.Body.To})
		})
	register(a, guarded, "DELETE /v1/boards/{board}/transfer", "board.transfer_cancel", "Keep a board", "The code with which another project could claim it is worth nothing any more. Needs the role manager.",
		func(ctx context.Context, in *boardRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: callerOf(ctx), Ref: in.Board, Cancel: true})
		})
	register(a, guarded, "POST /v1/boards/claim", "board.claim", "Claim a board", "That its owner lets this project have. All that the owner before had on it ends: leases, services, networks, plugins; the board forgets what is left of that. Needs the role manager.",
		func(ctx context.Context, in *bodyOf[apiclient.BoardClaim]) (*output[s4t.Board], error) {
			return created(ctx, a, wire.MethodBoardClaim, wire.BoardClaim{Caller: callerOf(ctx), Code: in.Body.Code, Name: in.Body.Name}, func(b s4t.Board) string { return "/v1/boards/" + string(b.ID) })
		})
}
